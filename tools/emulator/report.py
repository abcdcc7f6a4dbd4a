"""The report of the emulator's benchmark."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench_report import machine, markdown_table

from emulator.alternation import Measured
from emulator.subjects import RIVALS, SUBJECTS, Subject

BUILD_MS, PEAK_MB, TIMES_CROSSSIM = 50.0, 300.0, 20.0
"""What is asked for."""

EXACT = ("planes-numpy", "planes-numba")

HEAD = (
    "subject", "images/s", "range", "times slower than float32 NumPy", "range", "build, ms",
    "peak, MB", "answers as `ideal`",
)  # fmt: skip

TEXT = """\
{model}. Every subject is a process of its own with one thread, one after the other in each of
{rounds} rounds, each just after a run of the float network in its own process; medians over the
rounds, and their range, in processor time. A batch is {images} images{fewer}; it is repeated until
a quarter of a second has passed. *Bit planes* are the preset `sram-bitplane`: arrays of 256 rows
with 8-bit converters, cells and columns that vary, every conversion of every plane; without read
noise where none is named. *Build* is writing the network into a chip, median of five; *peak* the
largest resident memory of the process, imports included. Rivals compute with the weights that the
8-bit codes stand for, and with their own idea of a tile: aihwkit's are 256 × 256 and know no
planes; CrossSim's are of 256 rows with a converter whose codes are counts of the least current of a
cell, ideal cells, inputs a bit a cycle where it says bit-serial.
"""


@dataclass(frozen=True)
class Run:
    """One run of the benchmark."""

    model: str
    images: int
    few: int
    """Images in a batch of what is bit-serial and not ours."""

    rounds: int
    found: Mapping[str, Measured]
    missing: Mapping[str, str]
    """By title: why."""

    crosssim: str | None
    """Its version."""


def report(run: Run) -> str:
    """Markdown."""
    titles = {one.name: one.title for one in SUBJECTS} | {one.name: one.title for one in RIVALS}
    rows = [_row(titles[name], measured) for name, measured in run.found.items()]
    serial = any(rival.bit_serial and rival.name in run.found for rival in RIVALS)
    fewer = f" ({run.few} for CrossSim's bit-serial cores)" if serial else ""
    text = TEXT.format(model=run.model, rounds=run.rounds, images=run.images, fewer=fewer)
    sections = [
        "# How fast the emulator is",
        machine("chip seed 1600"),
        textwrap.fill(text, 100, break_on_hyphens=False),
        markdown_table(HEAD, rows),
    ]
    if run.missing:
        sections.append(
            "\n".join(f"- {title}: left out, {why}." for title, why in run.missing.items())
        )
    sections += [
        "## What was asked for",
        markdown_table(("asked", "measured", "holds"), asked(run)),
    ]
    sections.append("Versions: " + "; ".join(_versions(run)) + ".")
    return "\n\n".join(sections) + "\n"


def _row(title: str, one: Measured) -> list[str]:
    return [
        title,
        _rate(one.rate),
        f"{_rate(min(one.rates))} to {_rate(max(one.rates))}",
        f"{one.factor:.2f}",
        f"{min(one.slower):.2f} to {max(one.slower):.2f}",
        f"{one.build_ms:,.1f}",
        f"{one.peak_mb:,.0f}",
        f"{one.agreement:.0%}",
    ]


def _rate(images_per_s: float) -> str:
    return f"{images_per_s:,.0f}" if images_per_s >= 100 else f"{images_per_s:.3g}"


def asked(run: Run) -> list[list[str]]:
    """What was asked for, what was measured, and whether it holds."""
    ours = [one for one in SUBJECTS if one.name in run.found]
    rows = [_limit(one, run.found[one.name]) for one in ours if one.limit is not None]
    chips = [run.found[one.name] for one in ours if one.device is not None]
    # Fitting a fast form runs the exact path on typical rows; that is no part of a chip's state.
    states = [run.found[one.name] for one in ours if one.device is not None and not one.fast]
    build_ms = max(one.build_ms for one in states)
    peak_mb = max(one.peak_mb for one in chips)
    rows.append(
        _line(
            f"a chip's state built in under {BUILD_MS:.0f} ms",
            f"{build_ms:.1f} at most",
            build_ms < BUILD_MS,
        )
    )
    rows.append(
        _line(f"peak memory under {PEAK_MB:.0f} MB", f"{peak_mb:.0f} at most", peak_mb < PEAK_MB)
    )
    exact = [run.found[one.name].factor for one in ours if one.name in EXACT]
    for rival in RIVALS:
        if rival.bit_serial and rival.name in run.found and exact:
            times = run.found[rival.name].factor / min(exact)
            what = f"exact planes at least {TIMES_CROSSSIM:.0f} times as fast as {rival.title}"
            rows.append(_line(what, f"{times:.1f} times", times >= TIMES_CROSSSIM))
    return rows


def _limit(subject: Subject, found: Measured) -> list[str]:
    assert subject.limit is not None
    what = f"{subject.title}: at most {subject.limit:g} times slower"
    return _line(what, f"{found.factor:.2f} times", found.factor <= subject.limit)


def _line(what: str, measured: str, holds: bool) -> list[str]:  # noqa: FBT001  # a column
    return [what, measured, "yes" if holds else "**no**"]


def _versions(run: Run) -> Sequence[str]:
    known: dict[str, set[str]] = {}
    for one in run.found.values():
        for name, version in one.versions.items():
            known.setdefault(name.lower(), set()).add(version)
    texts = [f"{name} {', '.join(sorted(versions))}" for name, versions in known.items()]
    return [*texts, f"CrossSim {run.crosssim}"] if run.crosssim else texts

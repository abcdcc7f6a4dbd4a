"""The picture of `bench_architectures`: the loss of every network before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

# As the demo's picture: rust and teal, which differ in lightness too, and a grey between them.
MARKS = (
    ("nothing", "as the chip computes it", "#c2410c", "o"),
    ("gain and offset", "grouped layers with gain and offset alone", "#71717a", "D"),
    ("calibrated", "calibrated", "#0f766e", "o"),
)


def draw(rows: Sequence[Any], cases: Sequence[str], path: Path) -> None:
    """Write the mean losses over the chips as an SVG or PNG file, smaller is better.

    Args:
        rows: of the benchmark.
        cases: their names, from top to bottom.
        path: the file; its name says which kind.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 -- the report can do without

    figure = Figure(figsize=(9, 1.2 + 0.3 * len(cases)), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(cases))
    means = {how: [_mean(rows, case, how) for case in cases] for how, *_ in MARKS}
    axes.hlines(places, means["calibrated"], means["nothing"], color="#e4e4e7", linewidth=2)
    for how, label, colour, mark in MARKS:
        axes.plot(means[how], places, mark, color=colour, label=label, markersize=6)
    axes.set_xscale("log")
    axes.set_yticks(places, cases, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("loss on samples that took no part (mean over chips; logarithmic)")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside upper right", ncols=len(MARKS), frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Software": None} if path.suffix == ".png" else {"Date": None})


def _mean(rows: Sequence[Any], case: str, how: str) -> float:
    """Not a number where this was not measured, which draws nothing."""
    found = [row.loss for row in rows if row.case == case and row.how == how]
    return float(np.mean(found)) if found else float("nan")

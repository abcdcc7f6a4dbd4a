"""Benchmark of the runtime onnxruntime: what surrogates cost in time, and what they repair.

    NPP_DATA=DIR python tools/bench_runtimes.py [--quick] [--part NAME ...] [--out FILE.md]

Packs MLPerf Tiny's ResNet-8 and keyword network with 96 references and 32 held-back samples.
Variants: single samples, one thread; all take turns in every round, so that ratios hold on a busy
machine where milliseconds do not. Accuracy: on samples that took no part, before and after one
calibration with 32 samples, all on the runtime.
"""

from __future__ import annotations

import argparse
import os

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"  # before NumPy is imported

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_report import machine, markdown_table
from runtimes.latency import latencies
from runtimes.memory import peak_megabytes
from runtimes.subjects import Subject, calibrated, classes, packed, scores, subjects
from runtimes.variants import PLAIN, Variant, variants

from agent.runtimes.onnx_session import imported
from calib.budget import Budget
from calib.factors import no_factors
from calib.schemes.weights import SCHEMES

ROUNDS, RUNS = 41, 15
TIMED_SCHEMES = ("int8", "int4", "int4-tensor")
METHODS = (("probe", None), ("sequential", None), ("probe", 0))
"""Each with a rank; None: what the bundle says, which is 8."""

Rows = list[list[str]]


def told(row: list[str]) -> list[str]:
    """The row, shown as progress."""
    print(f"  {row}", file=sys.stderr, flush=True)
    return row


def variant_rows(subject: Subject, *, quick: bool) -> Rows:
    """Time, accuracy, memory and bytes of each variant in each scheme."""
    rows, sample = [], subject.data.test_x[:1].astype(np.float32)
    for scheme in TIMED_SCHEMES:
        found = {one.name: one for one in variants(packed(subject, scheme))}
        sessions = {name: one.load() for name, one in found.items()}
        times = latencies(sessions, sample, PLAIN, 5 if quick else ROUNDS, RUNS)
        for name, one in found.items():
            each = times[name]
            row = [subject.name, scheme, name, f"{one.branches} + {one.folded}"]
            row += [f"{each.ratio:.2f} ({each.ratio_low:.2f} to {each.ratio_high:.2f})"]
            row += [f"{each.median_ms:.3f}", f"{each.p95_ms:.3f}"]
            row += [f"{one.scores.accuracy:.1%}", f"{one.scores.agreement:.1%}"]
            rows.append(told([*row, *_sizes(one, sample)]))
    return rows


def _sizes(one: Variant, sample: np.ndarray) -> list[str]:
    """Milliseconds to load, bytes of the model and the factors, and megabytes at most."""
    start = time.perf_counter()
    one.load()
    loading_ms = (time.perf_counter() - start) * 1e3
    peak = peak_megabytes(one.model, sample)
    return [f"{loading_ms:.1f}", f"{len(one.model):,}", f"{one.factor_bytes:,}", f"{peak:.1f}"]


def accuracy_rows(subject: Subject, **_options: bool) -> Rows:
    """Accuracy in each scheme before and after each method."""
    rows = []
    for scheme in SCHEMES:
        one = packed(subject, scheme)
        runtime = one.runtime()
        raw = scores(subject, classes(runtime, subject, no_factors(one.network.layers)))
        clean = scores(subject, subject.clean)
        for method, rank in METHODS:
            factors, done = calibrated(one, runtime, method, Budget(rank))
            mended = scores(subject, classes(runtime, subject, factors))
            said = method if rank is None else f"{method}, rank {rank}"
            shares = (clean.accuracy, raw.accuracy, mended.accuracy, raw.agreement)
            row = [subject.name, scheme, said, *(f"{share:.1%}" for share in shares)]
            accepted = "yes" if done.verdict.accepted else "no"
            rows.append(told([*row, f"{mended.agreement:.1%}", accepted]))
    return rows


PARTS: dict[str, tuple[Callable[..., Rows], tuple[str, ...]]] = {
    "variants": (
        variant_rows,
        (
            "network", "scheme", "variant", "branches beside + folded",
            "time, of plain integers (10 % to 90 %)", "median, ms", "p95, ms", "accuracy",
            "agreement", "loading, ms", "model, bytes", "factors, bytes", "peak resident, MB",
        ),
    ),
    "accuracy": (
        accuracy_rows,
        (
            "network", "scheme", "method", "float", "uncorrected", "corrected",
            "agreement before", "after", "accepted",
        ),
    ),
}  # fmt: skip


def main() -> None:
    """Print the report, or write it to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few images and rounds")
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    networks = subjects(Path(os.environ["NPP_DATA"]), quick=given.quick)
    sections = [
        "# The runtime onnxruntime",
        machine(f"onnxruntime {imported().__version__}; packing seed 0"),
    ]
    for name in given.part or PARTS:
        rows_of, head = PARTS[name]
        rows = [row for subject in networks for row in rows_of(subject, quick=given.quick)]
        sections += [f"## {name.capitalize()}", markdown_table(head, rows)]
    text = "\n\n".join([*sections, ""])
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()

"""Benchmark of the rules that choose samples: each against random choice, for each solver.

    NPP_DATA=DIR python tools/bench_selection.py [--quick] [--only CASE] [--results FILE.jsonl]
                                                 [--out FILE.md]

Each chip has its own bundle: 256 references and 32 held-back samples drawn from those that the case
has, so that differences between chips also cover the luck of which samples there are. Each rule
chooses 4, 8, 16 and 32 of the 256; random choice does so in three draws. All choices of one chip
are solved by each method and tested on the same samples, which took no part. Figures are those of
the new factors, whether or not the held-back samples would accept them. Results in the file are not
measured again. Needs scikit-learn, which brings the digits. One thread.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"  # before NumPy is imported
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from bench_selection_chips import CASES, Bench, Case, Floats, Row
from bench_selection_report import report
from numpy.typing import NDArray

from agent.gathering import planned
from agent.methods import GRADIENT_METHODS, fit
from calib.candidates import Candidates
from calib.factors import no_factors
from calib.selection import RULES, select

CHIP_SEEDS = range(1100, 1105)
"""Used for nothing but these figures; forms were chosen on 1200 to 1202."""

COUNTS = (4, 8, 16, 32)
DRAWS = 3
METHODS = ("probe", "sequential", "gradient")
GRADIENT_CHIPS, GRADIENT_COUNTS = 2, (8, 32)
"""Training takes longer: fewer chips, fewer counts."""


def choices(known: Candidates, count: int, seed: int) -> Iterator[tuple[str, NDArray[np.integer]]]:
    """Each rule's choice; random choice in several draws."""
    for rule in RULES:
        if rule == "all":
            continue
        for draw in range(DRAWS if rule == "random" else 1):
            generator = np.random.default_rng((seed, count, draw))
            chosen = select(rule, known, count, generator)
            name = f"random {draw}" if rule == "random" else rule
            yield name, np.array(sorted(one.index for one in chosen), np.intp)


def measured(
    bench: Bench, indices: NDArray[np.integer], methods: Sequence[str]
) -> Mapping[str, Row]:
    """The figures of one choice, by method."""
    plan = planned(bench.runtime, bench.network, indices, bench.network.budget)
    return {
        method: bench.figures(fit(method, bench.runtime, bench.network, indices, plan))
        for method in methods
    }


def methods_of(chip: int, count: int) -> tuple[str, ...]:
    """All methods, or those that do not train."""
    trained = chip < GRADIENT_CHIPS and count in GRADIENT_COUNTS
    return tuple(m for m in METHODS if trained or m not in GRADIENT_METHODS)


def predictions(bench: Bench, known: Candidates, seed: int) -> list[Row]:
    """How predictions go with what the chip does, uncorrected and corrected; what looking costs."""
    seconds = []
    for with_answers in (False, True):
        started_s = time.monotonic()
        bench.candidates(no_factors(bench.network.layers), with_answers=with_answers)
        seconds.append(time.monotonic() - started_s)
    chosen = select("random", known, 16, np.random.default_rng(seed))
    indices = np.array(sorted(one.index for one in chosen), np.intp)
    plan = planned(bench.runtime, bench.network, indices, bench.network.budget)
    factors = fit("probe", bench.runtime, bench.network, indices, plan)
    after = bench.candidates(factors, with_answers=True)
    return [
        {"look_s": seconds[0], "answers_s": seconds[1]},
        correlation_row(known, "uncorrected"),
        correlation_row(after, "corrected"),
    ]


def correlation_row(known: Candidates, state: str) -> Row:
    """How the prediction goes with the loss that the chip causes on the same samples."""
    losses = known.losses
    assert losses is not None
    return {
        "correlation": state,
        "pearson": pearson(known.rises, losses),
        "spearman": pearson(ranks(known.rises), ranks(losses)),
        "norm_spearman": pearson(ranks(known.error_norms), ranks(losses)),
        "margin_spearman": pearson(ranks(-known.sensitivity.margins), ranks(losses)),
        "loss": float(losses.mean()),
    }


def pearson(a: Floats, b: Floats) -> float:
    """The correlation of two series."""
    return float(np.corrcoef(a, b)[0, 1])


def ranks(values: Floats) -> Floats:
    """The place of each value in ascending order; equal ones share the mean of their places."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    return np.asarray((last - (sizes - 1) / 2)[group])


class Results:
    """Rows in a file of JSON lines, so that a run can be interrupted and goes on."""

    def __init__(self, path: Path | None) -> None:
        """Read what is there."""
        self.path = path
        there = path is not None and path.exists()
        self.rows: list[Row] = (
            [json.loads(line) for line in path.read_text().splitlines()] if path and there else []
        )

    def has(self, **keys: Any) -> bool:
        """Whether there is a row with these values."""
        return any(all(row.get(k) == v for k, v in keys.items()) for row in self.rows)

    def add(self, row: Row) -> None:
        """Keep a row."""
        self.rows.append(row)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def run_chip(case: Case, chip: int, seed: int, results: Results, *, quick: bool) -> None:
    """All rules, counts and methods on one chip."""
    where = {"case": case.name, "chip": seed}
    if results.has(**where, done=True):
        return
    bench = Bench.of(case, seed, 100 if quick else case.test_samples)
    nothing = no_factors(bench.network.layers)
    known = bench.candidates(nothing, with_answers=True)
    if not results.has(**where, correlation="corrected"):
        for row in predictions(bench, known, seed):
            results.add({**where, **row})
    for count in COUNTS[:2] if quick else COUNTS:
        for rule, indices in choices(known, count, seed):
            what = {**where, "samples": count, "rule": rule}
            missing = [m for m in methods_of(chip, count) if not results.has(**what, method=m)]
            for method, figures in measured(bench, indices, missing).items():
                results.add({**what, "method": method, **figures})
        print(f"  {case.name} chip {seed}: {count} samples done", file=sys.stderr, flush=True)
    results.add({**where, "done": True})


def main() -> None:
    """Measure what is missing and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one chip, two counts, 100 samples")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--results", type=Path, help="results kept here are not measured again")
    parser.add_argument("--out", type=Path, help="write the report here too")
    arguments = parser.parse_args()
    if "NPP_DATA" not in os.environ:
        sys.exit("set NPP_DATA to the folder of the MLPerf Tiny models and their data")
    results = Results(arguments.results)
    for case in CASES:
        for chip, seed in enumerate(CHIP_SEEDS[: 1 if arguments.quick else None]):
            if arguments.only in case.name:
                run_chip(case, chip, seed, results, quick=arguments.quick)
    chips = CHIP_SEEDS
    seeds = f"chip seeds {chips.start} to {chips.stop - 1}, which also draw the samples"
    words = {
        "draws": str(DRAWS),
        "chips": ", ".join(f"{case.name} on `{case.device}`" for case in CASES),
        "tests": ", ".join(f"{case.name} {case.test_samples}" for case in CASES),
    }
    text = report(results.rows, seeds, words)
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

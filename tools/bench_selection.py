"""Benchmark of the rules that choose samples: each against random choice, for each solver.

    NPP_DATA=DIR python tools/bench_selection.py [--quick] [--only CASE] [--methods NAMES]
        [--rules NAMES] [--counts NUMBERS] [--first-chip SEED] [--results FILE.jsonl]
        [--confirmation FILE.jsonl] [--out FILE.md]

Each chip has its own bundle: 256 references and 32 held-back samples drawn from those that the case
has, so that differences between chips also cover the luck of which samples there are. Each rule
chooses 4, 8, 16 and 32 of the 256; random choice does so in three draws. All choices of one chip
are solved by each method and tested on the same samples, which took no part. Figures are those of
the new factors, whether or not the held-back samples would accept them. Results in the file are not
measured again. Needs scikit-learn, which brings the digits. One thread.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from calib.decision import softplus
from calib.factors import Factors, no_factors
from calib.selection import RULES, select

Indices = NDArray[np.integer]
FIRST_CHIP, CHIPS = 1100, 5
"""Used for nothing but these figures; forms were chosen on 1200 to 1202."""

COUNTS = (4, 8, 16, 32)
DRAWS = 3
METHODS = ("probe", "sequential", "gradient")
GRADIENT_CHIPS, GRADIENT_COUNTS = 2, (8, 32)
"""Training takes longer: fewer chips, fewer counts."""


def choices(rules: Sequence[str]) -> list[tuple[str, int]]:
    """Each rule, and its draws."""
    return [(r, draw) for r in rules for draw in range(DRAWS if r == "random" else 1)]


def chosen(choice: tuple[str, int], known: Candidates, count: int, seed: int) -> Indices:
    """The samples that a rule chooses."""
    rule, draw = choice
    found = select(rule, known, count, np.random.default_rng((seed, count, draw)))
    return np.array(sorted(one.index for one in found), np.intp)


def measured(bench: Bench, indices: Indices, methods: Sequence[str]) -> Mapping[str, Row]:
    """The figures of one choice, by method."""
    plan = planned(bench.runtime, bench.network, indices, bench.network.budget)
    return {
        method: bench.figures(fit(method, bench.runtime, bench.network, indices, plan))
        for method in methods
    }


def in_full(chip: int, count: int, method: str) -> bool:
    """Whether a method runs on this chip with so many samples."""
    trained = chip < GRADIENT_CHIPS and count in GRADIENT_COUNTS
    return trained or method not in GRADIENT_METHODS


def predictions(bench: Bench, known: Candidates, seed: int) -> list[Row]:
    """How predictions go with what the chip does, uncorrected and corrected; what looking costs."""
    seconds = []
    for with_answers in (False, True):
        started_s = time.monotonic()
        bench.candidates(no_factors(bench.network.layers), with_answers=with_answers)
        seconds.append(time.monotonic() - started_s)
    indices = chosen(("random", 0), known, 16, seed)
    plan = planned(bench.runtime, bench.network, indices, bench.network.budget)
    factors = fit("probe", bench.runtime, bench.network, indices, plan)
    return [
        {"look_s": seconds[0], "answers_s": seconds[1]},
        correlation_row(bench, no_factors(bench.network.layers), "uncorrected"),
        correlation_row(bench, factors, "corrected"),
    ]


def correlation_row(bench: Bench, factors: Factors, state: str) -> Row:
    """How predictions go with what the chip really does to the same samples."""
    known = bench.candidates(factors, with_answers=True)
    margins, changes, losses = known.sensitivity.margins, known.sensitivity.changes, known.losses
    assert losses is not None, "answers were asked for"
    true = ranks(losses)
    return {
        "correlation": state,
        "loss": float(losses.mean()),
        "change_pearson": pearson(changes, bench.margin_changes(factors)),
        "pearson": pearson(known.rises, losses),
        "spearman": pearson(ranks(known.rises), true),
        "divergence_spearman": pearson(ranks(divergences(margins, changes)), true),
        "margin_spearman": pearson(ranks(-margins), true),
        "norm_spearman": pearson(ranks(known.error_norms), true),
    }


def divergences(margins: Floats, changes: Floats) -> Floats:
    """Of the two best classes' probabilities, where margins change so much, in nats."""
    before, after = margins.astype(np.float64), (margins + changes).astype(np.float64)
    surer = np.exp(-softplus(-before))  # the probability of the better of the two
    return surer * (softplus(-after) - softplus(-before)) + (1 - surer) * (
        softplus(after) - softplus(before)
    )


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
        self.path, self.rows = path, list[Row]()
        lines = path.read_text(encoding="utf-8").splitlines() if path and path.exists() else []
        for line in lines:
            with contextlib.suppress(json.JSONDecodeError):  # cut off when a run was stopped
                self.rows.append(json.loads(line))

    def has(self, **keys: Any) -> bool:
        """Whether there is a row with these values."""
        return any(all(row.get(k) == v for k, v in keys.items()) for row in self.rows)

    def add(self, row: Row) -> None:
        """Keep a row."""
        self.rows.append(row)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def run_chip(case: Case, seed: int, asked: Asked, results: Results) -> None:
    """What is missing of all rules, counts and methods on one chip."""
    where = {"case": case.name, "chip": seed}
    missing: dict[tuple[int, tuple[str, int]], list[str]] = defaultdict(list)
    for count, choice, method in itertools.product(asked.counts, asked.choices, asked.methods):
        what = {**where, "samples": count, "rule": choice[0], "draw": choice[1], "method": method}
        if in_full(seed - asked.seeds.start, count, method) and not results.has(**what):
            missing[count, choice].append(method)
    explained = results.has(**where, correlation="corrected")
    if not missing and explained:
        return
    bench = Bench.of(case, seed, min(asked.tests, case.test_samples))
    known = bench.candidates(no_factors(bench.network.layers), with_answers=True)
    if not explained:
        for row in predictions(bench, known, seed):
            results.add({**where, **row})
    for (count, choice), methods in missing.items():
        what = {**where, "samples": count, "rule": choice[0], "draw": choice[1]}
        for method, figures in measured(bench, chosen(choice, known, count, seed), methods).items():
            results.add({**what, "method": method, **figures})
    print(f"  {case.name} chip {seed} done", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Asked:
    """What a run measures."""

    seeds: range
    choices: Sequence[tuple[str, int]]
    counts: tuple[int, ...]
    tests: int
    methods: Sequence[str]


def main() -> None:
    """Measure what is missing and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one chip, two counts, 100 samples")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--methods", default=",".join(METHODS), help="these, separated by commas")
    names = [rule for rule in RULES if rule != "all"]
    parser.add_argument("--rules", default=",".join(names), help="these, separated by commas")
    counts = ",".join(map(str, COUNTS))
    parser.add_argument("--counts", default=counts, help="of samples, separated by commas")
    parser.add_argument("--first-chip", type=int, default=FIRST_CHIP, help="seed of the first chip")
    parser.add_argument("--confirmation", type=Path, help="results on other chips, for the report")
    parser.add_argument("--results", type=Path, help="results kept here are not measured again")
    parser.add_argument("--out", type=Path, help="write the report here too")
    arguments = parser.parse_args()
    if "NPP_DATA" not in os.environ:
        sys.exit("set NPP_DATA to the folder of the MLPerf Tiny models and their data")
    quick = arguments.quick
    asked = Asked(
        seeds=range(arguments.first_chip, arguments.first_chip + (1 if quick else CHIPS)),
        choices=choices(arguments.rules.split(",")),
        counts=COUNTS[:2] if quick else tuple(map(int, arguments.counts.split(","))),
        tests=100 if quick else 10**6,
        methods=arguments.methods.split(","),
    )
    results = Results(arguments.results)
    for case, seed in itertools.product(CASES, asked.seeds):
        if arguments.only in case.name:
            run_chip(case, seed, asked, results)
    seeds = f"chip seeds {asked.seeds.start} to {asked.seeds.stop - 1}, which also draw the samples"
    words = {
        "draws": str(DRAWS),
        "chips": ", ".join(f"{case.name} on `{case.device}`" for case in CASES),
        "tests": ", ".join(f"{case.name} {case.test_samples}" for case in CASES),
    }
    text = report(results.rows, seeds, words, Results(arguments.confirmation).rows)
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""The report of `bench_selection`: rules against random choice, what sensitivity predicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from bench_report import machine, markdown_table
from numpy.typing import NDArray

Row = dict[str, Any]
Floats = NDArray[np.floating]
Place = tuple[str, str, int]
"""Case, method, samples."""

FIGURES = ("agreement", "recovery", "kl")

INTRODUCTION = """\
`NPP_DATA=DIR python tools/bench_selection.py --results FILE.jsonl`

Each rule chooses some of 256 references, random choice does so in {draws} draws. Chips: {chips},
`int4-tensor` weights. Each chip has its own bundle with references drawn anew, so that a standard
error over chips covers the luck of which samples there are, too. `gradient` trains longer, so it
ran on the first two chips, with 8 and 32 samples. Agreement is the share of test samples with the
float network's answer, recovery the accuracy over the float network's, KL the divergence of the
class probabilities from the float network's in nats; test samples ({tests}) took no part. Figures
are those of the new factors, accepted or not.

Differences are paired: on each chip, the rule's figure less the mean of the random draws; then mean
and standard error over chips. KL is compared as a ratio (geometric means of draws and of chips):
below 1 is better than random. With two chips a standard error says little."""

RULES_TEXT = """\
`sensitivity`, `loss` (of the chip's answers, against the clean ones), `entropy` (of the chip's
answers), `error-norm` (local layer errors): the highest. `margin`: the smallest clean margin.
`coverage`: greedy k-centres over the clean inputs of the last layer. `sensitivity-coverage`: the
same, distances times sensitivity. `representative`: samples whose means and second moments, over
all layers, together match those of all references. No rule needs more than one run of the chip for
each candidate."""


class Figures:
    """All results, the draws of random choice averaged."""

    def __init__(self, rows: Sequence[Row]) -> None:
        """Group the rows."""
        grouped: dict[Place, dict[tuple[str, int], list[list[float]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        self.rules: list[str] = []
        for row in rows:
            if "method" not in row:
                continue
            rule = str(row["rule"])
            if rule not in self.rules:
                self.rules.append(rule)
            place = (row["case"], row["method"], row["samples"])
            grouped[place][rule, row["chip"]].append([row[name] for name in FIGURES])
        self.places = {
            place: {key: np.array(draws) for key, draws in found.items()}
            for place, found in sorted(grouped.items(), key=_in_order)
        }
        self.rules.sort(key=lambda rule: rule != "random")

    def differences(self, place: Place, rule: str, figure: int) -> dict[int, float]:
        """By chip, the rule's figure less random's mean; of KL both as logarithms.

        Logarithms first, then the mean of the draws: a rule no better than one draw comes out even.
        """
        found = self.places[place]
        differences = {}
        for name, chip in found:
            if name == rule and ("random", chip) in found:
                both = found[rule, chip][:, figure], found["random", chip][:, figure]
                ours, theirs = (np.log(x) if FIGURES[figure] == "kl" else x for x in both)
                differences[chip] = float(ours.mean() - theirs.mean())
        return differences

    @property
    def others(self) -> list[str]:
        """The rules that are compared with random choice."""
        return [rule for rule in self.rules if rule != "random"]


def _in_order(item: tuple[Place, Any]) -> tuple[str, int, int]:
    (case, method, samples), _ = item
    return case, ("probe", "sequential", "gradient").index(method), samples


def with_error(differences: Iterable[float], figure: str) -> str:
    """Mean and standard error: of KL as a ratio, else in points."""
    values = np.array(list(differences))
    if not len(values):
        return "–"
    mean = float(values.mean())
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan
    if figure == "kl":
        return f"{np.exp(mean):.2f} ± {np.exp(mean) * error:.2f}"
    return f"{100 * mean:+.1f} ± {100 * error:.1f}"


def random_cell(found: Mapping[tuple[str, int], Floats], figure: int) -> str:
    """Random's mean over chips, and how far one draw lies from another on the same chip."""
    draws = [values[:, figure] for (rule, _), values in found.items() if rule == "random"]
    mean = np.mean([one.mean() for one in draws])
    spread = np.sqrt(np.mean([one.var(ddof=1) if len(one) > 1 else np.nan for one in draws]))
    return f"{mean:.4f} (draws ± {spread:.4f})"


def detail(figures: Figures, name: str) -> str:
    """A table of one figure: a row for each case, method and count, a column for each rule."""
    at = FIGURES.index(name)
    rows = [
        [
            *(str(part) for part in place),
            random_cell(found, at),
            *(
                with_error(figures.differences(place, rule, at).values(), name)
                for rule in figures.others
            ),
        ]
        for place, found in figures.places.items()
    ]
    return markdown_table(("model", "method", "samples", *figures.rules), rows)


def summary(figures: Figures, name: str) -> str:
    """The same over all models: chips of all models count alike."""
    at = FIGURES.index(name)
    wanted = sorted(
        {place[1:] for place in figures.places}, key=lambda key: _in_order((("", *key), None))
    )
    rows = []
    for method, count in wanted:
        places = [place for place in figures.places if place[1:] == (method, count)]
        cells = [
            with_error([v for p in places for v in figures.differences(p, rule, at).values()], name)
            for rule in figures.others
        ]
        rows.append([method, str(count), *cells])
    rows.append(["**both closed forms**", "**all**", *overall(figures, at)])
    return markdown_table(("method", "samples", *figures.others), rows)


def overall(figures: Figures, at: int) -> list[str]:
    """Of each rule: the mean over counts and closed forms on each chip, then over all chips."""
    cells = []
    for rule in figures.others:
        chips: dict[tuple[str, int], list[float]] = defaultdict(list)
        for place in figures.places:
            if place[1] != "gradient":
                for chip, difference in figures.differences(place, rule, at).items():
                    chips[place[0], chip].append(difference)
        cells.append(with_error([float(np.mean(some)) for some in chips.values()], FIGURES[at]))
    return cells


CORRELATIONS = {
    "change_pearson": "change of the margin, Pearson",
    "pearson": "sensitivity, Pearson",
    "spearman": "sensitivity, Spearman",
    "divergence_spearman": "predicted divergence, Spearman",
    "margin_spearman": "small clean margin, Spearman",
    "norm_spearman": "error norm, Spearman",
}


def correlations(rows: Sequence[Row]) -> str:
    """How well what is known before goes with the loss that the chip really causes."""
    cells = [
        [
            str(row["case"]),
            str(row["chip"]),
            str(row["correlation"]),
            f"{row['loss']:.3g}",
            *(f"{row[key]:.2f}" for key in CORRELATIONS),
        ]
        for row in rows
        if "correlation" in row
    ]
    cells.sort(key=lambda line: (line[0], line[2] != "uncorrected", line[1]))
    return markdown_table(("model", "chip", "chip is", "mean KL", *CORRELATIONS.values()), cells)


def costs(rows: Sequence[Row]) -> str:
    """Seconds of looking at all candidates, by model."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if "look_s" in row:
            found[row["case"]].append(row)
    cells = [
        [case, *(f"{np.median([row[key] for row in some]):.2f}" for key in ("look_s", "answers_s"))]
        for case, some in found.items()
    ]
    return markdown_table(
        ("model", "sensitivities of 256, s", "with the chip's answers (loss, entropy), s"), cells
    )


def report(
    rows: Sequence[Row], seeds: str, words: Mapping[str, str], confirmation: Sequence[Row]
) -> str:
    """The whole report as Markdown."""
    figures = Figures(rows)
    parts = ["# Choosing samples", machine(seeds), INTRODUCTION.format(**words), RULES_TEXT]
    parts += ["## All models: agreement, difference from random in points"]
    parts += [summary(figures, "agreement")]
    parts += ["## All models: KL over random's", summary(figures, "kl")]
    parts += confirmed(confirmation) if confirmation else []
    parts += ["## What sensitivity predicts", CORRELATION_TEXT, correlations(rows)]
    parts += ["## What looking costs", COST_TEXT, costs(rows)]
    for name, unit in (("agreement", "points"), ("recovery", "points"), ("kl", "ratios")):
        parts += [
            f"## Each model: {name}, differences from random in {unit}",
            detail(figures, name),
        ]
    return "\n\n".join(parts) + "\n"


def confirmed(rows: Sequence[Row]) -> list[str]:
    """The rule that did best, on chips that had no part in finding it."""
    figures = Figures(rows)
    seeds = sorted({chip for found in figures.places.values() for _, chip in found})
    cases = ", ".join(sorted({place[0] for place in figures.places}))
    text = (
        f"Chips {seeds[0]} to {seeds[-1]} of {cases}, which had no part in finding out which rule "
        "does best: agreement, difference from random in points; then KL over random's."
    )
    return [
        "## On other chips",
        text,
        summary(figures, "agreement"),
        summary(figures, "kl"),
    ]


CORRELATION_TEXT = """\
Over the 256 candidates of a chip, uncorrected, and corrected with 16 random samples by `probe`:
the predicted change of the margin with the true one, then what is known before with the loss (KL)
that the chip really causes. Sensitivity is the predicted rise of a logistic loss: below zero where
a decision gets surer, while the divergence rises there too. The predicted divergence is that of the
two best classes, from the same predicted change of the margin."""

COST_TEXT = """\
References in memory. Where layers can only be tapped, the answers come with the same run and cost
nothing."""

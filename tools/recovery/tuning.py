"""The search of learning rates: on other chips, judged by samples that neither train nor test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from recovery.cases import CASES, TUNING_CHIPS, Case
from recovery.methods import Method, training
from recovery.recipes import RATES, RECIPES, SAMPLES, Recipe
from recovery.repetition import measured
from recovery.results import Key, Record, Results, key_of
from recovery.samples import split
from recovery.subject import Material, Subject, buffered, material

TUNING = "tuning"
TUNED_BUFFER = 100
"""Another choice of samples than any that is published."""

JUDGES = 500
TUNED_ON = {
    "resnet8_float.tflite": (CASES[0], CASES[1]),
    "kws_float.tflite": (CASES[3], CASES[3]),
}
"""By model, the case of each tuning chip."""


def tune(directory: Path, results: Results) -> Iterator[Record]:
    """Train every recipe with every rate on the tuning chips; what is done is not done again."""
    for cases in TUNED_ON.values():
        for case, chip in zip(cases, TUNING_CHIPS, strict=True):
            subject = Subject(buffered(unused(material(directory, case)), TUNED_BUFFER), chip)
            for recipe in RECIPES:
                for rate in RATES:
                    method = _with_rate(recipe, case, rate)
                    named = {"kind": TUNING, "case": case.name, "chip": chip}
                    key = key_of({**named, "buffer": TUNED_BUFFER, "method": method.name})
                    if key not in results.read():
                        record = measured(subject, method, TUNING)
                        results.add(record)
                        yield record


def unused(given: Material) -> Material:
    """The same, tested on samples of the pool that the tuning buffer leaves."""
    _, rest = split(given.pool, TUNED_BUFFER)
    return replace(given, test=rest[:JUDGES])


def _with_rate(recipe: Recipe, case: Case, rate: float) -> Method:
    changed = replace(recipe, rates={case.model: rate})
    run = training(changed, SAMPLES)
    return Method(f"{recipe.name}@{rate:g}", recipe.title, run, trained=True)


def loss_of(recipe: Recipe, found: Sequence[Record]) -> float:
    """What a rate is judged by: accuracy lost where labels taught, else KL, geometric mean."""
    if recipe.by_labels:
        return 1 - float(np.mean([float(one["recovery"]) for one in found]))
    return float(np.exp(np.mean([np.log(float(one["divergence"])) for one in found])))


def tried(records: Mapping[Key, Record], recipe: Recipe, model: str, rate: float) -> list[Record]:
    """What the tuning chips of a model gave with one rate."""
    names = {case.name for case in TUNED_ON[model]}
    wanted = f"{recipe.name}@{rate:g}"
    return [
        one
        for (kind, case, _, _, method), one in records.items()
        if kind == TUNING and case in names and method == wanted
    ]


def best_rate(records: Mapping[Key, Record], recipe: Recipe, model: str) -> float:
    """The rate of the least loss among those tried."""
    losses = {
        rate: loss_of(recipe, found)
        for rate in RATES
        if (found := tried(records, recipe, model, rate))
    }
    return min(losses, key=losses.__getitem__)

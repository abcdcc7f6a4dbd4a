"""The search of learning rates: on other chips, judged by samples that neither train nor test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from recovery.cases import CASES, TUNING_CHIPS, Case
from recovery.methods import Method, training
from recovery.recipes import RATES, RECIPES, SAMPLES, Recipe
from recovery.repetition import measured
from recovery.results import Record, Results, key_of
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
    tried = replace(recipe, rates={case.model: rate})
    return Method(f"{recipe.name}@{rate:g}", recipe.title, training(tried, SAMPLES), trained=True)


def best_rates(records: Iterator[Record]) -> Mapping[tuple[str, str], float]:
    """By recipe and model, the rate of the least mean logarithm of KL over the tuning chips."""
    models = {case.name: model for model, cases in TUNED_ON.items() for case in cases}
    found: dict[tuple[str, str], dict[float, list[float]]] = {}
    for record in records:
        name, rate = str(record["method"]).split("@")
        by_rate = found.setdefault((name, models[str(record["case"])]), {})
        by_rate.setdefault(float(rate), []).append(float(np.log(record["divergence"])))
    return {
        key: min(by_rate, key=lambda rate: float(np.mean(by_rate[rate])))
        for key, by_rate in found.items()
    }

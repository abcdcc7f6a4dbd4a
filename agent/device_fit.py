"""A fitted device as JSON holds it, and as the TOML file that `install --chip` takes."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import numpy as np

from agent.measurements_file import Measurements
from device_models.fitting.generic_fit import GenericFit
from device_models.parameters import describe
from device_models.toml_file import annotated_toml

_G_MAX = {
    "given": "as given",
    "largest-target": "the largest target",
    "relative": "unknown, conductances are relative",
}


def fit_document(read: Measurements, fit: GenericFit) -> dict[str, Any]:
    """Every figure of a fit."""
    cells = read.data.cells
    return {
        "rows": len(read.data.targets),
        "cells": None if cells is None else int(cells.max()) + 1,
        "programmed_cells": len(fit.first.targets),
        "ages": _ages(read),
        "first_age_s": fit.first.age_s,
        "age_zero_s": fit.age_zero_s,
        "g_max_us": read.g_max_us,
        "g_max_from": read.g_max_from,
        "kind": fit.model.kind,
        "parameters": [
            {
                "name": entry.name,
                "value": entry.value,
                "standard_error": fit.errors.get(entry.name),
                "unit": entry.unit,
            }
            for entry in describe(fit.model)
        ],
        "candidates": _candidates(fit),
        "targets": [asdict(one) for one in fit.bins],
        "drift": _drift(fit),
        "warnings": list(fit.warnings),
        "untold": list(fit.untold),
    }


def _ages(read: Measurements) -> int:
    """How many different times there are."""
    return len(np.unique(read.data.time_s))


def _candidates(fit: GenericFit) -> list[dict[str, Any]]:
    best = fit.candidates[0].log_likelihood
    return [
        {
            "name": one.name,
            "deviation": one.deviation,
            "standard_error": one.standard_error,
            "log_likelihood": one.log_likelihood,
            "aic_above_best": 2 * (best - one.log_likelihood),
            "distance": seen.distance,
            "chance": seen.chance,
            "possible": one.possible,
        }
        for one, seen in zip(fit.candidates, fit.distances, strict=True)
    ]


def _drift(fit: GenericFit) -> dict[str, Any] | None:
    drift = fit.drift
    if drift is None:
        return None
    return {
        "start_s": drift.start_s,
        "start_from": drift.start_from,
        "mean": drift.mean,
        "mean_error": drift.mean_error,
        "deviation": drift.deviation,
        "deviation_error": drift.deviation_error,
        "cells": None if drift.slopes is None else len(drift.slopes.exponents),
        "scatter": drift.slopes.noise
        if drift.slopes is not None and drift.slopes.freedom
        else None,
    }


def described(name: str, read: Measurements, fit: GenericFit) -> str:
    """The device as TOML, with where it comes from in comments."""
    g_max = _G_MAX[read.g_max_from]
    if read.g_max_us is not None:
        g_max = f"{read.g_max_us:g} uS, {g_max}"
    lines = [
        f"fitted to {name}: {len(read.data.targets)} rows, {len(fit.first.targets)} cells at first",
        f"G_max is {g_max}; age 0 is {_age_zero(fit)}",
        *(f"warning: {sentence}" for sentence in fit.warnings),
        *(f"not told: {sentence}" for sentence in fit.untold),
        "standard errors: " + _errors(fit),
    ]
    head = "\n".join(f"# {_plain(line)}" for line in lines)
    return f"{head}\n\n{annotated_toml(fit.model)}"


def _age_zero(fit: GenericFit) -> str:
    if fit.age_zero_s < fit.first.age_s:
        return "programming, to which all cells were taken back by the fitted power law"
    return f"the first reading, {fit.first.age_s:g} s after programming"


def _errors(fit: GenericFit) -> str:
    known = [
        f"{spec.name} {error:.2g}"
        for spec in fields(fit.model)
        if (error := fit.errors.get(spec.name)) is not None
    ]
    return ", ".join(known)


def _plain(line: str) -> str:
    """A line that stays a comment, whatever a file is called."""
    return "".join(character if character.isprintable() else "?" for character in line)

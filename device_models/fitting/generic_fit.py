"""Measured cells become a generic memory: `fit_generic`, its figures, and what they cannot tell."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from device_models.fitting.cells import (
    CellMeasurements,
    Programmed,
    Readings,
    check_programmed,
    programmed,
    read_noise,
    readings,
)
from device_models.fitting.drift import DriftFit, fit_drift, taken_back
from device_models.fitting.goodness import Bin, Distance, bins, departures, distance
from device_models.fitting.law_checks import law_departures
from device_models.fitting.shapes import Candidate, candidates
from device_models.fitting.untold import what_is_untold
from device_models.memories.generic import GenericMemory

DIGITS = 6


@dataclass(frozen=True)
class GenericFit:
    """The generic memory that measured cells are most like."""

    model: GenericMemory
    errors: dict[str, float | None]
    """Standard error of each number in the model; None: not estimated."""

    candidates: tuple[Candidate, ...]
    """The likeliest first."""

    distances: tuple[Distance, ...]
    """Of each candidate."""

    bins: tuple[Bin, ...]
    first: Programmed
    """What cells held at age 0: as first read, or taken back to when they were programmed."""

    age_zero_s: float
    """When, from programming on, age 0 of the model is."""

    readings: Readings
    drift: DriftFit | None
    reading: tuple[float, float] | None
    """Standard deviation of one reading of a cell, of G_max, and its standard error."""

    warnings: tuple[str, ...]
    """How the cells depart from the model."""

    untold: tuple[str, ...]
    """What these data cannot tell, and what was assumed instead."""


def fit_generic(data: CellMeasurements, start_s: float | None = None) -> GenericFit:
    """Fit every generic kind and keep the likeliest.

    Args:
        data: what was measured.
        start_s: t0 of the drift's power law from programming on, if it is known.

    Raises:
        DeviceModelError: too few cells, one target alone, no deviation, or parameters that no
            generic memory has.
    """
    found = readings(data)
    first = programmed(data, found)
    reading = read_noise(found)
    noise = reading[0] if reading else 0.0
    shapes = candidates(first, noise)
    fresh = _fresh(shapes[0], data)
    drift = fit_drift(
        data,
        found,
        first,
        noise,
        start_s,
        lambda g: np.square(g) + np.square(fresh.deviation_of(g)),
    )
    age_zero_s = first.age_s
    if drift is not None and start_s is not None and age_zero_s:
        first, age_zero_s = taken_back(first, drift, start_s), 0.0
        check_programmed(first, "cells or rows whose fading is known")
        drift = replace(drift, start_s=start_s)
        shapes = candidates(first, noise)
    model, errors = _completed(_fresh(shapes[0], data), shapes[0], drift, reading)
    distances = tuple(distance(one) for one in shapes)
    by_target = bins(first, model, noise)
    return GenericFit(
        model=model,
        errors=errors,
        candidates=shapes,
        distances=distances,
        bins=by_target,
        first=first,
        age_zero_s=age_zero_s,
        readings=found,
        drift=drift,
        reading=reading,
        warnings=departures(by_target, distances[0], shapes[0].name) + law_departures(drift),
        untold=what_is_untold(data, first, drift, reading),
    )


def _fresh(best: Candidate, data: CellMeasurements) -> GenericMemory:
    """The memory just programmed."""
    return GenericMemory(
        best.distribution,
        best.dependence,
        rounded(best.deviation),
        rounded(float(data.targets.min())),
    )


def _completed(
    fresh: GenericMemory,
    best: Candidate,
    drift: DriftFit | None,
    reading: tuple[float, float] | None,
) -> tuple[GenericMemory, dict[str, float | None]]:
    """The memory with drift and noise, and the standard errors of its numbers."""
    errors: dict[str, float | None] = {"deviation": best.standard_error, "g_min": None}
    model = fresh
    if reading is not None:
        # a weight is the difference of two cells, in parts of the range from G_min to G_max
        pair = math.sqrt(2) / (1 - fresh.g_min)
        model = replace(model, read_noise=rounded(reading[0] * pair))
        errors["read_noise"] = reading[1] * pair
    if drift is None:
        return model, errors
    errors |= {"drift_mean": drift.mean_error, "drift_deviation": drift.deviation_error}
    errors["drift_start_s"] = None
    if not drift.is_certain:
        return model, errors
    return replace(
        model,
        drift_start_s=rounded(min(max(drift.start_s, 1e-6), 1e9)),
        drift_mean=rounded(drift.mean),
        drift_deviation=rounded(drift.deviation),
    ), errors


def rounded(value: float) -> float:
    """As many digits as anybody needs."""
    return float(f"{value:.{DIGITS}g}")

"""Measured cells become a generic memory: `fit_generic`, its figures, and what they cannot tell."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from device_models.cell_measurements import (
    CellMeasurements,
    Programmed,
    Readings,
    check_programmed,
    programmed,
    read_noise,
    readings,
)
from device_models.drift_fit import DriftFit, fit_drift, taken_back
from device_models.error_shapes import Candidate, candidates
from device_models.generic import GenericMemory
from device_models.goodness import Bin, Distance, bins, departures, distance
from device_models.law_checks import law_departures

DIGITS = 6
CERTAIN = 2.0
"""Standard errors above which drift is told from none."""


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
        warnings=(
            *departures(by_target, distances[0], shapes[0].name),
            *(() if drift is None else law_departures(drift)),
        ),
        untold=_untold(data, first, drift, reading),
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
    if not drifts(drift):
        return model, errors
    return replace(
        model,
        drift_start_s=rounded(min(max(drift.start_s, 1e-6), 1e9)),
        drift_mean=rounded(drift.mean),
        drift_deviation=rounded(drift.deviation),
    ), errors


def drifts(drift: DriftFit) -> bool:
    """Whether the fitted drift can be told from none."""
    return drift.mean > CERTAIN * drift.mean_error or (
        drift.mean > 0 and drift.deviation > CERTAIN * drift.deviation_error
    )


def rounded(value: float) -> float:
    """As many digits as anybody needs."""
    return float(f"{value:.{DIGITS}g}")


def _untold(
    data: CellMeasurements,
    first: Programmed,
    drift: DriftFit | None,
    reading: tuple[float, float] | None,
) -> tuple[str, ...]:
    said = []
    if reading is None:
        why = "no cell is named" if data.cells is None else "no cell was read twice at one age"
        said.append(
            f"{why}, so noise of reading cannot be told: it counts as error of programming, and "
            "read_noise is 0"
        )
    if drift is None:
        named = (
            "one age" if data.cells is None else "one age, or too few cells above a tenth of G_max"
        )
        said.append(f"there are readings at {named}, so drift cannot be told: there is none")
    else:
        said += _untold_of(drift)
    if data.cells is None and drift is not None:
        said.append(
            "no cell is named, so the exponents' deviation rests on how the spread of all grows, "
            "which few rows tell badly; a column `device` would tell it"
        )
    if first.without_law:
        said.append(
            f"{first.without_law} cells, most of them asked for less than a tenth of G_max, could "
            "not be taken back to programming and say nothing of it"
        )
    if drift is not None and drift.start_from == "given" and data.cells is None and first.age_s:
        said.append(
            "no cell is named, so all were taken back to programming by the mean exponent: what "
            "the exponents' spread had done before the first reading counts as error of programming"
        )
    if first.left_out:
        said.append(
            f"{first.left_out} cells were first read more than twice earlier or later than the "
            "others and say nothing of programming"
        )
    if drift is not None and drift.start_from == "first-reading":
        said.append(
            f"what cells did in the {first.age_s:g} s before they were first read: age 0 of the "
            "model is the first reading, and t0 that time; give t0 from programming on to have "
            "them taken back to it"
        )
    said.append("temperature is not in these data: the model knows none")
    return tuple(said)


def _untold_of(drift: DriftFit) -> list[str]:
    said = []
    if not drifts(drift):
        said.append(
            f"no drift can be told from none: exponent {drift.signed_mean:.2g}, standard error "
            f"{drift.mean_error:.2g}"
        )
    if drift.deviation > drift.mean / 2 > 0:
        said.append(
            "many exponents lie near 0, where mean and deviation are hard to tell apart: their "
            "true errors may be half as large again as the standard errors"
        )
    if drift.start_from == "fitted":
        said.append("t0 was fitted; the standard errors of the exponents hold it fixed")
    if drift.start_from == "assumed":
        said.append(
            f"two ages cannot tell where the power law starts: t0 = {drift.start_s:g} s is assumed"
        )
    if drift.slopes is not None and not drift.slopes.variances.any():
        said.append(
            "two readings of a cell cannot tell noise from drift: the deviation of nu holds both"
        )
    return said

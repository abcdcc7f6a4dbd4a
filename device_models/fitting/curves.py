"""What a fitted device and the measured cells look like side by side: figures for a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from device_models.fitting.cells import SAME_AGE, Floats, ages
from device_models.fitting.generic_fit import GenericFit
from device_models.fitting.slopes import LEAST_TARGET

_GRID = 400
_DRAWS = 20_000
_STEPS = 100


@dataclass(frozen=True)
class Change:
    """How conductances, relative to what they began with, go on."""

    start_s: float
    """t0 of the ages here."""

    from_programming_s: float
    """When these ages begin."""

    age_s: Floats
    mean: Floats
    spread: Floats
    """Standard deviation over cells."""

    cells: tuple[int, ...]
    own: bool
    """Relative to each cell's own first reading; else to its target."""

    curve_age_s: Floats
    curve_mean: Floats
    curve_spread: Floats
    """The same of the fitted memory, with the noise of reading."""


def quantiles(fit: GenericFit) -> tuple[Floats, Floats]:
    """Deviations in units of their fitted spread, sorted: as fitted, and as measured."""
    first = fit.first
    noise = fit.reading[0] if fit.reading else 0.0
    own = fit.model.deviation_of(first.targets)
    spread = np.hypot(own, noise / np.sqrt(first.reads))
    told = spread > 0
    seen = np.sort((first.held - first.targets)[told] / spread[told])
    places = (np.arange(len(seen)) + 0.5) / len(seen)
    if fit.model.distribution == "normal":
        return np.array([NormalDist().inv_cdf(place) for place in places]), seen
    generator = np.random.default_rng(0)  # a uniform error softened by reading has no short form
    share = np.resize(own[told] / spread[told], _DRAWS)
    drawn = share * generator.uniform(-math.sqrt(3), math.sqrt(3), _DRAWS)
    drawn += np.sqrt(1 - share**2) * generator.standard_normal(_DRAWS)
    return (np.quantile(drawn, places) if noise else math.sqrt(3) * (2 * places - 1)), seen


def change(fit: GenericFit) -> Change | None:
    """The course of time; None where readings are of one age alone."""
    found, noise = fit.readings, fit.reading[0] if fit.reading else 0.0
    if fit.drift is None:
        return None
    own = fit.drift.slopes is not None
    rows = np.flatnonzero(found.targets >= LEAST_TARGET)
    began = np.maximum.accumulate(
        np.where(np.diff(found.cell, prepend=-1) > 0, np.arange(len(found.cell)), 0)
    )
    whole = np.where(own, found.means[began], found.targets)
    rows = rows[whole[rows] > 0]
    order = rows[np.argsort(found.time_s[rows], kind="stable")]
    group = ages(found.time_s[order])
    parts = [order[group == one] for one in range(int(group[-1]) + 1)]
    parts = [part for part in parts if len(part) >= 2]
    ratios = [found.means[part] / whole[part] for part in parts]
    times = np.array([float(found.time_s[part].mean()) for part in parts])
    # cells of names begin with their first reading, others with what they were asked for
    origin_s = fit.first.age_s if own else fit.age_zero_s
    start_s = _start_s(fit) + origin_s - fit.age_zero_s
    since = np.maximum(times - origin_s, 0)
    since[0] = since[0] if times[0] > SAME_AGE * origin_s else 0.0
    passed = np.linspace(0, math.log1p(float(since[-1]) / start_s), _STEPS)
    moments = np.array([_moments(fit, float(one)) for one in passed])
    relative = np.square(noise / whole[order]).mean()
    before = 0.0 if own else float(_programming(fit, found.targets[order]))
    mean, square = moments[:, 0], moments[:, 1]
    variance = square * (1 + before) - np.square(mean) + relative * (1 + own * np.square(mean))
    return Change(
        age_s=since,
        mean=np.array([ratio.mean() for ratio in ratios]),
        spread=np.array([ratio.std() for ratio in ratios]),
        cells=tuple(len(part) for part in parts),
        own=own,
        start_s=start_s,
        from_programming_s=origin_s,
        curve_age_s=start_s * np.expm1(passed),
        curve_mean=mean,
        curve_spread=np.sqrt(np.maximum(variance, 0)),
    )


def _programming(fit: GenericFit, targets: Floats) -> float:
    """Mean squared error of programming, relative to the targets."""
    return float(np.square(fit.model.deviation_of(targets) / targets).mean())


def _start_s(fit: GenericFit) -> float:
    """t0, also where there is too little drift for the model to keep it."""
    return (
        fit.model.drift_start_s if fit.model.drift_mean or fit.drift is None else fit.drift.start_s
    )


def _moments(fit: GenericFit, passed: float) -> tuple[float, float]:
    """First two moments of exp(-nu L): of what is left of a conductance after L = passed."""
    model = fit.model
    places = (np.arange(_GRID) + 0.5) / _GRID
    normal = np.array([NormalDist().inv_cdf(place) for place in places])
    exponents = np.abs(model.drift_mean + model.drift_deviation * normal)
    left = np.exp(-np.minimum(exponents * passed, 300.0))
    return float(left.mean()), float(np.square(left).mean())

"""What a fitted device and the measured cells look like side by side: figures for a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from device_models.cell_measurements import SAME_AGE, Floats, ages
from device_models.cell_slopes import LEAST_TARGET
from device_models.generic_fit import GenericFit

_GRID = 400
_DRAWS = 20_000


@dataclass(frozen=True)
class Change:
    """How conductances, relative to what they began with, go on; all by age since the first."""

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
    since = np.maximum(times - fit.first.age_s, 0)
    since[0] = since[0] if times[0] > SAME_AGE * fit.first.age_s else 0.0
    curve = _curve_ages(fit, float(since[-1]))
    moments = np.array([_moments(fit, float(age_s)) for age_s in curve])
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
        curve_age_s=curve,
        curve_mean=mean,
        curve_spread=np.sqrt(np.maximum(variance, 0)),
    )


def _curve_ages(fit: GenericFit, latest_s: float) -> Floats:
    """Ages at even steps of ln(t + t0)."""
    assert fit.drift is not None
    top = math.log1p(latest_s / fit.drift.start_s)
    found: Floats = fit.drift.start_s * np.expm1(np.linspace(0, top, 100))
    return found


def _programming(fit: GenericFit, targets: Floats) -> float:
    """Mean squared error of programming, relative to the targets."""
    return float(np.square(fit.model.deviation_of(targets) / targets).mean())


def _moments(fit: GenericFit, age_s: float) -> tuple[float, float]:
    """First two moments of what is left of a conductance at an age: of exp(-nu L)."""
    model = fit.model
    places = (np.arange(_GRID) + 0.5) / _GRID
    normal = np.array([NormalDist().inv_cdf(place) for place in places])
    exponents = np.abs(model.drift_mean + model.drift_deviation * normal)
    left = np.exp(-np.minimum(exponents * math.log1p(age_s / model.drift_start_s), 300.0))
    return float(left.mean()), float(np.square(left).mean())

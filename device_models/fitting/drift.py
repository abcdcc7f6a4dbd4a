"""The power law of time that cells follow, from readings at several ages.

    ln G(t) = ln G(0) - nu L,   L = ln((t + t0) / t0),   nu = |mean + deviation · ε|

With cells named, each one's exponent is the slope of a straight line; what reading adds to the
spread of the slopes is taken off, and mean and deviation are those of the folded normal
distribution with the exponents' first two moments. Without, they follow from how the first two
moments of all conductances change, see `device_models.fitting.moments`.

Ages count from the first reading here. Standard errors are those of resampled cells, or rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.fitting.cells import CellMeasurements, Floats, Programmed, Readings
from device_models.fitting.golden import lowest
from device_models.fitting.moments import MomentSeries, moment_series
from device_models.fitting.slopes import Slopes, slopes

ASSUMED_START_S = 1.0
"""t0 where programming itself was read and two ages cannot tell it."""

LEAST_START_S = 1e-6
"""Of a generic memory."""

MOST_FADED = 3.0
"""No cell is taken back by more than e to this."""

RESAMPLINGS = 200

CERTAIN = 2.0
"""Standard errors above which drift is told from none."""


@dataclass(frozen=True)
class DriftFit:
    """The fitted power law."""

    start_s: float
    """t0, of ages that count from the first reading."""

    start_from: str
    """How it is known: given, first-reading, fitted or assumed."""

    mean: float
    mean_error: float
    deviation: float
    deviation_error: float

    slopes: Slopes | None
    """Of the cells, where they are named."""

    signed_mean: float
    """Mean exponent before it was held at 0 or above."""

    @property
    def is_certain(self) -> bool:
        """Whether it can be told from none."""
        return self.mean > CERTAIN * self.mean_error or (
            self.mean > 0 and self.deviation > CERTAIN * self.deviation_error
        )


def fit_drift(  # noqa: PLR0913, PLR0917  # what is known of the cells, each once
    data: CellMeasurements,
    found: Readings,
    first: Programmed,
    noise: float,
    start_s: float | None,
    second_moment: Callable[[Floats], Floats],
) -> DriftFit | None:
    """Fit the power law; None where readings at one age alone tell nothing of it.

    Args:
        data: all readings.
        found: the same, with repetitions taken together.
        first: what cells held at first.
        noise: standard deviation of one reading; 0 where unknown.
        start_s: t0 from programming on, if it is known.
        second_moment: E[P²] of cells just programmed, by target; used where cells are not named.
    """
    if data.cells is not None:
        return _by_cells(found, first, noise, start_s)
    series = moment_series(found, first.age_s, second_moment)
    return None if series is None else _by_moments(series, first.age_s, start_s)


def _start(
    given_s: float | None, age_s: float, latest_s: float, loss: Callable[[float], float] | None
) -> tuple[float, str]:
    """t0 for ages from the first reading on, and how it is known."""
    if given_s is not None:
        return given_s + age_s, "given"
    if age_s > 0:
        return age_s, "first-reading"
    if loss is None:
        return ASSUMED_START_S, "assumed"
    high = math.log(max(latest_s, 1e-5))
    return math.exp(lowest(lambda at: loss(math.exp(at)), high - 20, high)), "fitted"


def _by_cells(
    found: Readings, first: Programmed, noise: float, start_s: float | None
) -> DriftFit | None:
    latest_s = float(found.time_s.max())

    def of(t0: float) -> Slopes | None:
        return slopes(found, first.age_s, t0, noise)

    trial = of(max(ASSUMED_START_S, first.age_s))
    if trial is None:
        return None

    def loss(t0: float) -> float:
        fitted = of(t0)
        assert fitted is not None  # the same cells as in the trial
        return fitted.scatter

    t0, start_from = _start(start_s, first.age_s, latest_s, loss if trial.freedom else None)
    fitted = of(t0)
    assert fitted is not None  # the same
    exponents, variances = fitted.exponents, fitted.variances

    def estimate(rows: NDArray[np.intp]) -> tuple[float, float]:
        mean = float(exponents[rows].mean())
        own = float((np.square(exponents[rows]) - variances[rows]).mean())
        return folded(mean, own)

    everything = np.arange(len(exponents))
    mean, deviation = estimate(everything)
    generator = np.random.default_rng(len(exponents))
    draws = [
        estimate(generator.integers(len(exponents), size=len(exponents)))
        for _ in range(RESAMPLINGS)
    ]
    errors = np.std(np.array(draws), axis=0)
    signed = float(exponents.mean())
    return DriftFit(
        t0, start_from, mean, float(errors[0]), deviation, float(errors[1]), fitted, signed
    )


def folded(mean: float, square: float) -> tuple[float, float]:
    """Mean and deviation of a normal figure whose absolute value has these first two moments."""
    if mean <= 0:
        return 0.0, 0.0
    if square <= mean * mean:
        return mean, 0.0
    size, wanted = math.sqrt(square), mean / math.sqrt(square)
    low, high = 0.0, math.pi / 2
    for _ in range(50):
        angle = (low + high) / 2
        low, high = (angle, high) if _folded_mean(angle) > wanted else (low, angle)
    return size * math.cos(low), size * math.sin(low)


def _folded_mean(angle: float) -> float:
    """E|cos(angle) + sin(angle) ε|, from 1 at 0 to √(2/π) at a right angle."""
    mean, deviation = math.cos(angle), math.sin(angle)
    if deviation == 0:
        return mean
    ratio = min(mean / deviation, 30.0)
    peak = deviation * math.sqrt(2 / math.pi) * math.exp(-ratio * ratio / 2)
    return peak + mean * math.erf(ratio / math.sqrt(2))


def _by_moments(series: MomentSeries, age_s: float, start_s: float | None) -> DriftFit:
    def loss(t0: float) -> float:
        return series.estimate(series.groups, t0)[2]

    several = len(series.groups) > 2
    t0, start_from = _start(start_s, age_s, float(series.since_s.max()), loss if several else None)
    signed, variance, _ = series.estimate(series.groups, t0)
    generator = np.random.default_rng(len(series.found.means))
    draws = []
    for _ in range(RESAMPLINGS):
        one, own, _ = series.estimate(series.resampled(generator), t0)
        draws.append(folded(one, one * one + own))
    errors = np.std(np.array(draws), axis=0)
    mean, deviation = folded(signed, signed * signed + variance)
    return DriftFit(
        t0,
        start_from,
        mean,
        float(errors[0]),
        deviation,
        float(errors[1]),
        None,
        signed,
    )


def taken_back(first: Programmed, drift: DriftFit, start_s: float) -> Programmed:
    """What cells held when they were programmed, by the law that they follow.

    Where cells are named, those without an exponent of their own are left out, but for cells asked
    for 0; else all take the mean exponent.

    Args:
        first: what they held when they were first read.
        drift: the fitted law.
        start_s: t0 from programming on.
    """
    exponents = np.full(len(first.held), max(drift.signed_mean, 0.0))
    kept = np.ones(len(first.held), bool)
    if drift.slopes is not None:
        known = drift.slopes.cells
        at = np.minimum(np.searchsorted(known, first.cell), len(known) - 1)
        own = known[at] == first.cell
        exponents = np.where(own, drift.slopes.exponents[at], exponents)
        kept = own | (first.targets == 0)
    faded = exponents * np.log1p(first.time_s / max(start_s, LEAST_START_S))
    held = first.held * np.exp(np.clip(faded, -MOST_FADED, MOST_FADED))
    return Programmed(
        cell=first.cell[kept],
        targets=first.targets[kept],
        held=held[kept],
        time_s=first.time_s[kept],
        reads=first.reads[kept],
        age_s=first.age_s,
        left_out=first.left_out,
        without_law=len(kept) - int(kept.sum()),
    )

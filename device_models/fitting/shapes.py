"""The shapes that an error of programming can have in the generic memory, fitted by likelihood.

A cell asked for g holds g + s h(g) e, with h(g) = 1, g or 1/g, e normal or uniform with a
standard deviation of 1; its mean of n readings deviates by a normal error of read noise / √n
besides. Each of the six shapes has the one parameter s, found by maximum likelihood, so that
Akaike's and Bayes's criteria order them as the likelihood does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.errors import DeviceModelError
from device_models.fitting.cells import Floats, Programmed
from device_models.fitting.golden import lowest
from device_models.memories.generic import DEPENDENCES, DISTRIBUTIONS, GenericMemory

EXACT_AT_ZERO = 0.1
"""Cells asked for 0 are exact if they deviate by less than this part of what all cells do."""

FEWEST_AT_ZERO = 3
SIGNIFICANT = 4.0
"""Standard errors."""

_TAIL = 20.0
_SQRT_PI, _SQRT_2, _SQRT_3 = math.sqrt(math.pi), math.sqrt(2), math.sqrt(3)
_each_erfc = np.frompyfunc(math.erfc, 1, 1)


@dataclass(frozen=True)
class Candidate:
    """One shape, fitted."""

    distribution: str
    dependence: str
    deviation: float
    """s, of G_max; of the cell itself where proportional."""

    standard_error: float
    log_likelihood: float
    """-inf: ruled out."""

    levels: Floats
    """[cells]: the part of the fitted distribution below what was measured, sorted, 0 to 1."""

    @property
    def name(self) -> str:
        """As in the presets."""
        return f"{self.distribution}-{self.dependence}"

    @property
    def possible(self) -> bool:
        """Whether cells asked for 0 allow it."""
        return math.isfinite(self.log_likelihood)


@dataclass(frozen=True)
class _Errors:
    """Deviations and what multiplies s in each, of cells whose deviation tells s."""

    deviations: Floats
    shape: Floats
    reading: Floats
    """Standard deviation of what reading adds."""


def candidates(cells: Programmed, noise: float) -> tuple[Candidate, ...]:
    """All six shapes, the likeliest first; those that cannot be come last.

    Args:
        cells: what was asked for and held.
        noise: standard deviation of one reading, of G_max; 0 where unknown.

    Raises:
        DeviceModelError: no cell with a target above 0 deviates.
    """
    deviations = cells.held - cells.targets
    active = cells.targets > 0
    if not deviations[active].any():
        raise DeviceModelError("no cell with a target above 0 deviates; these are no measurements")
    exact = _exact_at_zero(cells, deviations, noise)
    found = []
    for dependence in DEPENDENCES:
        told = active | (exact is False and dependence == "independent")
        shape = GenericMemory("normal", dependence, 1.0).deviation_of(cells.targets[told])
        errors = _Errors(deviations[told], shape, noise / np.sqrt(cells.reads[told]))
        ruled_out = exact is (dependence == "independent")
        found += [
            _fitted(distribution, dependence, errors, ruled_out=ruled_out)
            for distribution in DISTRIBUTIONS
        ]
    return tuple(sorted(found, key=lambda one: -one.log_likelihood))


def _exact_at_zero(cells: Programmed, deviations: Floats, noise: float) -> bool | None:
    """Whether cells asked for 0 hold 0, but for reading; None where there are too few to tell."""
    idle = cells.targets == 0
    count = int(idle.sum())
    if count < FEWEST_AT_ZERO or idle.all():
        return None
    read = float((noise**2 / cells.reads[idle]).mean())
    own = _rms(deviations[idle]) ** 2 - read
    uncertain = SIGNIFICANT * math.sqrt(2 / count) * read
    return own < max((EXACT_AT_ZERO * _rms(deviations[~idle])) ** 2, uncertain)


def _rms(values: Floats) -> float:
    return math.sqrt(float(np.square(values).mean()))


def _fitted(distribution: str, dependence: str, errors: _Errors, *, ruled_out: bool) -> Candidate:
    fit = _fit_normal if distribution == "normal" else _fit_uniform
    deviation, standard_error, likelihood, levels = fit(errors)
    return Candidate(
        distribution,
        dependence,
        deviation,
        standard_error,
        -math.inf if ruled_out else likelihood,
        np.sort(levels),
    )


def _fit_normal(errors: _Errors) -> tuple[float, float, float, Floats]:
    """s, its standard error, the log-likelihood, and the levels."""
    scaled = errors.deviations / errors.shape
    top = _rms(scaled)

    def sigma(s: float) -> Floats:
        return np.hypot(s * errors.shape, errors.reading)

    def loss(s: float) -> float:
        spread = sigma(s)
        return float((np.log(spread) + np.square(errors.deviations / spread) / 2).sum())

    if errors.reading.any():
        top = math.exp(lowest(lambda at: loss(math.exp(at)), math.log(top) - 7, math.log(top) + 1))
    spread = sigma(top)
    # Fisher's information of s, from the part of the variance that is the cells' own
    part = np.square(top * errors.shape / spread)
    standard_error = top / math.sqrt(2 * float(np.square(part).sum()))
    likelihood = -loss(top) - len(scaled) * math.log(2 * math.pi) / 2
    return top, standard_error, likelihood, normal_levels(errors.deviations / spread)


def normal_levels(standard: Floats) -> Floats:
    """The normal distribution function."""
    levels: Floats = _erfc(-standard / _SQRT_2) / 2
    return levels


def _erfc(values: Floats) -> Floats:
    found: Floats = np.asarray(_each_erfc(values), np.float64)
    return found


def _fit_uniform(errors: _Errors) -> tuple[float, float, float, Floats]:
    """The same; the distribution reaches s √3 to either side, and reading softens its edges."""
    scaled = np.abs(errors.deviations / errors.shape)
    count = len(scaled)
    reach = float(scaled.max())
    if not errors.reading.any():
        likelihood = -count * math.log(2 * reach) - float(np.log(errors.shape).sum())
        wide = reach * (count + 1) / count  # the largest of n falls short by this, on average
        levels = (errors.deviations / (errors.shape * wide) + 1) / 2
        return wide / _SQRT_3, _edge_error(wide, count), likelihood, levels

    def loss(at: float) -> float:
        return -float(_log_softened(errors, math.exp(at)).sum())

    wide = math.exp(lowest(loss, math.log(reach) - 3, math.log(reach) + 1))
    levels = _softened_levels(errors, wide)
    middle = math.log(wide)
    step = 0.05  # a curvature over a few per cent: where an edge is sharp, its own error is larger
    curvature = (loss(middle - step) - 2 * loss(middle) + loss(middle + step)) / step**2
    sharp = _edge_error(wide, count)
    error = max(wide / _SQRT_3 / math.sqrt(curvature), sharp) if curvature > 0 else sharp
    return wide / _SQRT_3, error, -loss(middle), levels


def _edge_error(reach: float, count: int) -> float:
    """Standard error of s from the largest of n uniform errors, without reading noise."""
    return reach / _SQRT_3 / math.sqrt(count * (count + 2))


@np.errstate(under="ignore")  # densities far outside are next to nothing
def _log_softened(errors: _Errors, reach: float) -> Floats:
    """Log-density of a uniform error of ± reach · shape, with a normal one of reading added."""
    edge = reach * errors.shape
    width = errors.reading * _SQRT_2
    outside = (np.abs(errors.deviations) - edge) / width
    far = (np.abs(errors.deviations) + edge) / width
    near = np.minimum(outside, _TAIL)
    inside = _erfc(near) - _erfc(np.maximum(far, near))
    log_inside = np.log(np.maximum(inside, 1e-300))
    tail = np.maximum(outside, _TAIL)
    log_tail = -np.square(tail) - np.log(tail * _SQRT_PI)
    found: Floats = np.where(outside < _TAIL, log_inside, log_tail) - np.log(4 * edge)
    return found


@np.errstate(under="ignore")  # the same
def _softened_levels(errors: _Errors, reach: float) -> Floats:
    """Its distribution function."""
    edge = reach * errors.shape

    def integral(x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of the normal distribution function up to x."""
        density = np.exp(-np.square(x) / 2) / math.sqrt(2 * math.pi)
        total: NDArray[np.float64] = x * normal_levels(x) + density
        return total

    high = integral((errors.deviations + edge) / errors.reading)
    low = integral((errors.deviations - edge) / errors.reading)
    levels: Floats = np.clip((high - low) * errors.reading / (2 * edge), 0, 1)
    return levels

"""How well a fitted shape describes measured cells: in words and figures, target by target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from device_models.fitting.cells import Floats, Programmed
from device_models.fitting.shapes import Candidate, normal_levels
from device_models.memories.generic import GenericMemory

MOST_LEVELS = 16
"""Up to so many targets, each is looked at by itself."""

MOST_BINS = 10
FEWEST_IN_BIN = 10

SIMULATIONS = 199
MOST_SIMULATED = 2000
"""Cells of a simulated fit; a Kolmogorov distance scales with the root of their number."""

SPREAD_FACTOR = 1.25
BIAS_PART = 0.25
DISTANCE = 0.05
SIGNIFICANT = 4.0
"""Standard errors. A departure is told if it is both certain and large enough to matter."""


@dataclass(frozen=True)
class Bin:
    """Cells of about one target."""

    target: float
    cells: int
    bias: float
    """Mean deviation from the targets, of G_max."""

    seen: float
    """Standard deviation of the deviations about their mean, of G_max."""

    fitted: float
    """What the fitted shape says of it, with the noise of reading."""


@dataclass(frozen=True)
class Distance:
    """Kolmogorov's distance between measured cells and a fitted shape."""

    distance: float
    chance: float
    """Of one at least as large if the shape were true, by simulated fits; 1/200 at least."""


def distance(candidate: Candidate) -> Distance:
    """Kolmogorov's distance; the scale was fitted, so simulated fits tell how large it may be."""
    found = _distance(candidate.levels)
    simulated = _simulated(candidate.distribution, min(len(candidate.levels), MOST_SIMULATED))
    shrink = math.sqrt(max(len(candidate.levels) / MOST_SIMULATED, 1.0))
    larger = sum(one / shrink >= found for one in simulated)
    return Distance(found, (larger + 1) / (SIMULATIONS + 1))


def _distance(levels: Floats) -> float:
    steps = np.arange(len(levels) + 1) / len(levels)
    return float(max((steps[1:] - levels).max(), (levels - steps[:-1]).max()))


@cache
def _simulated(distribution: str, count: int) -> tuple[float, ...]:
    generator = np.random.default_rng(count)
    found = []
    for _ in range(SIMULATIONS):
        if distribution == "normal":
            drawn = generator.standard_normal(count)
            levels = normal_levels(drawn / math.sqrt(float(np.square(drawn).mean())))
        else:
            drawn = generator.uniform(-1, 1, count)
            levels = (drawn / (np.abs(drawn).max() * (count + 1) / count) + 1) / 2
        found.append(_distance(np.sort(levels)))
    return tuple(found)


def bins(cells: Programmed, model: GenericMemory, noise: float) -> tuple[Bin, ...]:
    """Cells by target: level by level where there are few, else in parts of equal size."""
    order = np.argsort(cells.targets, kind="stable")
    levels, starts = np.unique(cells.targets[order], return_index=True)
    if len(levels) > MOST_LEVELS:
        count = max(min(len(order) // FEWEST_IN_BIN, MOST_BINS), 1)
        starts = np.linspace(0, len(order), count, endpoint=False).astype(np.intp)
    found = []
    for rows in np.split(order, starts[1:]):
        deviations = (cells.held - cells.targets)[rows]
        own = model.deviation_of(cells.targets[rows])
        fitted = np.square(own) + noise**2 / cells.reads[rows]
        found.append(
            Bin(
                target=float(cells.targets[rows].mean()),
                cells=len(rows),
                bias=float(deviations.mean()),
                seen=float(deviations.std(ddof=1)) if len(rows) > 1 else 0.0,
                fitted=math.sqrt(float(fitted.mean())),
            )
        )
    return tuple(found)


def departures(found: tuple[Bin, ...], best: Distance, name: str) -> tuple[str, ...]:
    """A sentence for each way in which cells depart from the fitted shape."""
    said = []
    wrong = [one for one in found if _spread_departs(one)]
    if wrong:
        ratios = [one.seen / one.fitted if one.fitted else math.inf for one in wrong]
        said.append(
            f"the spread is {_range(ratios)} times what {name} says, at targets of "
            f"{_range([one.target for one in wrong])} of G_max: it depends on the target in "
            "another way than any generic kind has; describe a kind of your own"
        )
    off = [one for one in found if _bias_departs(one)]
    if off:
        said.append(
            f"cells miss their targets on average, by {_range([one.bias for one in off])} of "
            f"G_max at targets of {_range([one.target for one in off])}; the generic kinds have "
            "no such bias and take it for spread (if cells faded before they were first read, "
            "give t0 from programming on)"
        )
    if best.distance > DISTANCE and best.chance <= 0.01:
        said.append(
            f"the deviations are not distributed as {name} says: Kolmogorov distance "
            f"{best.distance:.3f}, chance {best.chance:.3f} or less if they were"
        )
    return tuple(said)


def _spread_departs(one: Bin) -> bool:
    if one.cells < FEWEST_IN_BIN or one.seen == one.fitted:
        return False
    if not (one.seen and one.fitted):
        return one.cells >= FEWEST_IN_BIN
    log_ratio = abs(math.log(one.seen / one.fitted))
    certain = SIGNIFICANT / math.sqrt(2 * (one.cells - 1))
    return log_ratio > math.log(SPREAD_FACTOR) and log_ratio > certain


def _bias_departs(one: Bin) -> bool:
    if one.cells < FEWEST_IN_BIN:
        return False
    certain = SIGNIFICANT * one.seen / math.sqrt(one.cells)
    return abs(one.bias) > max(BIAS_PART * one.fitted, certain)


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"

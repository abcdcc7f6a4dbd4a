"""What was measured on cells: a target, a conductance and an age a row, and what follows at once.

Age 0 of a fitted model is the first reading, where nothing is known of what came before. A power
law loses nothing by that: seen from a time T after its start, one with t0 is one with t0 + T.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.errors import DeviceModelError

Floats = NDArray[np.float64]

FEWEST_CELLS = 20
"""With so many, the standard error of a deviation is 16 % of it."""

SAME_READING = 1.01
"""Readings of one cell whose times differ by less than this factor repeat each other."""

SAME_AGE = 1.1
"""The same for readings that name no cell."""

NEAR_FIRST = 2.0
"""A cell first read within this factor of the median cell tells what programming left."""


@dataclass(frozen=True)
class CellMeasurements:
    """Readings of single cells; conductances are parts of G_max."""

    targets: Floats
    """[n], 0 to 1."""

    measured: Floats
    """[n]"""

    time_s: Floats
    """[n], since programming."""

    cells: NDArray[np.intp] | None
    """[n]: which cell, from 0 on; None: every row may be another one."""

    def __post_init__(self) -> None:
        """Refuse what no device can be fitted to."""
        for name in ("targets", "measured", "time_s"):
            values = getattr(self, name)
            if values.shape != self.targets.shape or not np.isfinite(values).all():
                raise DeviceModelError(f"{name}: needed is one finite number for each reading")
        if self.targets.size and (self.targets.min() < 0 or self.targets.max() > 1):
            raise DeviceModelError(
                f"targets from {self.targets.min():g} to {self.targets.max():g} of G_max; "
                "give targets from 0 to 1"
            )
        if self.time_s.size and self.time_s.min() < 0:
            raise DeviceModelError(f"a time of {self.time_s.min():g} s: give at least 0")


@dataclass(frozen=True)
class Readings:
    """Repeated readings of one cell at one age, taken together; sorted by cell, then by time."""

    cell: NDArray[np.intp]
    targets: Floats
    means: Floats
    time_s: Floats
    counts: NDArray[np.intp]

    squares: float
    """Sum of squared deviations from the means, over all readings."""

    @property
    def freedom(self) -> int:
        """Readings that repeat another one."""
        return int((self.counts - 1).sum())


@dataclass(frozen=True)
class Programmed:
    """What cells held when they were first read."""

    cell: NDArray[np.intp]
    targets: Floats
    held: Floats
    time_s: Floats
    reads: NDArray[np.intp]
    """How many readings `held` is the mean of."""

    age_s: float
    """When, after programming: the median."""

    left_out: int
    """Cells that were first read at another age."""

    without_law: int = 0
    """Cells that could not be taken back to age 0, because nothing tells how they faded."""


def readings(data: CellMeasurements) -> Readings:
    """Readings by cell and age; without cells, each row by itself."""
    if data.cells is None:
        order = np.argsort(data.time_s, kind="stable")
        ones = np.ones(len(order), np.intp)
        rows = np.arange(len(order))
        columns = (data.targets[order], data.measured[order], data.time_s[order])
        return Readings(rows, *columns, ones, 0.0)
    order = np.lexsort((data.time_s, data.cells))
    cells, times, measured = data.cells[order], data.time_s[order], data.measured[order]
    starts = np.flatnonzero(_begins(cells, times, SAME_READING))
    counts = np.diff(np.append(starts, len(order)))
    means = np.add.reduceat(measured, starts) / counts
    squares = float(np.square(measured - np.repeat(means, counts)).sum())
    at = np.add.reduceat(times, starts) / counts
    return Readings(cells[starts], data.targets[order][starts], means, at, counts, squares)


def ages(time_s: Floats) -> NDArray[np.intp]:
    """Which age, from 0 on, each of some sorted times belongs to."""
    begins = _begins(np.zeros(len(time_s), np.intp), time_s, SAME_AGE)
    return np.cumsum(begins).astype(np.intp) - 1


def _begins(cells: NDArray[np.intp], time_s: Floats, factor: float) -> NDArray[np.bool_]:
    """Where another cell begins, or a time more than a factor above the group's first."""
    begins = np.zeros(len(time_s), bool)
    cell, start = -1, 0.0
    for row, (here, time) in enumerate(zip(cells.tolist(), time_s.tolist(), strict=True)):
        if here != cell or time > start * factor:
            begins[row] = True
            cell, start = here, time
    return begins


def programmed(data: CellMeasurements, found: Readings) -> Programmed:
    """What cells held at the first age.

    Raises:
        DeviceModelError: too few cells, or all of one target, or none deviates.
    """
    first = np.flatnonzero(np.diff(found.cell, prepend=-1)) if data.cells is not None else None
    if first is None:
        near = ages(found.time_s) == 0
        rows, age_s = np.flatnonzero(near), float(np.median(found.time_s[near]))
        left_out = 0
    else:
        age_s = float(np.median(found.time_s[first]))
        times = found.time_s[first]
        rows = first[(times <= age_s * NEAR_FIRST) & (times * NEAR_FIRST >= age_s)]
        left_out = len(first) - len(rows)
    result = Programmed(
        cell=found.cell[rows],
        targets=found.targets[rows],
        held=found.means[rows],
        time_s=found.time_s[rows],
        reads=found.counts[rows],
        age_s=age_s,
        left_out=left_out,
    )
    check_programmed(result, "rows" if first is None else "cells")
    return result


def check_programmed(found: Programmed, what: str) -> None:
    """Refuse what tells no error of programming.

    Raises:
        DeviceModelError: too few cells, or all of one target, or none deviates.
    """
    if len(found.targets) < FEWEST_CELLS:
        raise DeviceModelError(
            f"{len(found.targets)} {what} at the first age, about {found.age_s:g} s; a fit takes "
            f"at least {FEWEST_CELLS}: measure more cells at one age"
        )
    if len(np.unique(found.targets)) < 2:
        raise DeviceModelError(
            f"all {what} have the target {found.targets[0]:g} of G_max; from one target nobody "
            "can tell how the error depends on it: measure at least two"
        )
    if np.array_equal(found.targets, found.held):
        raise DeviceModelError(
            "every measured conductance equals its target; these are no measurements"
        )


def read_noise(found: Readings) -> tuple[float, float] | None:
    """Standard deviation of one reading and its standard error; None where none is repeated."""
    if not found.freedom:
        return None
    noise = math.sqrt(found.squares / found.freedom)
    return noise, noise / math.sqrt(2 * found.freedom)

"""The straight line that each cell's conductance follows on double-logarithmic axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.fitting.cells import NEAR_FIRST, Floats, Readings

LEAST_TARGET = 0.1
"""Cells asked for less, of G_max, do not take part: a logarithm makes their noise large."""

FEWEST_CELLS = 8


@dataclass(frozen=True)
class Slopes:
    """Exponents of cells, and what is left beside the lines."""

    cells: NDArray[np.intp]
    targets: Floats
    exponents: Floats
    """nu of each cell: how fast ln G falls with ln((t + t0) / t0)."""

    variances: Floats
    """[cells]: of the exponents, by noise of reading or, better, by the scatter about the lines."""

    logarithms: Floats
    """[readings of these cells]: ln((t + t0) / t0)."""

    rests: Floats
    """[readings of these cells]: of ln G beside the line."""

    freedom: int
    """Readings beyond two for each cell."""

    noise: float
    """Standard deviation of a reading, of G_max, from the scatter; 0 where there is none."""

    @property
    def scatter(self) -> float:
        """Sum of squares of what is left."""
        return float(np.square(self.rests).sum())


def slopes(found: Readings, first_s: float, start_s: float, noise: float) -> Slopes | None:
    """Fit a line to every cell that was read at two ages or more.

    Args:
        found: readings by cell and age.
        first_s: the age from which ages count.
        start_s: t0 of these ages.
        noise: standard deviation of a reading, of G_max.

    Returns:
        The lines; None where fewer than 8 cells tell one.
    """
    rows = _usable(found, first_s)
    cell, index = np.unique(found.cell[rows], return_inverse=True)
    if len(cell) < FEWEST_CELLS:
        return None
    g, count = found.means[rows], found.counts[rows]
    x = np.log1p((found.time_s[rows] - first_s) / start_s)
    y = np.log(g)
    size = np.bincount(index)

    def mean(values: NDArray[np.float64]) -> Floats:
        found_means: Floats = (np.bincount(index, values) / size)[index]
        return found_means

    from_middle, above = x - mean(x), y - mean(y)
    extent = np.bincount(index, np.square(from_middle))
    slope = np.bincount(index, from_middle * above) / extent
    rests = above - slope[index] * from_middle
    freedom = len(rows) - 2 * len(cell)
    scatter = float((np.square(rests * g) * count).sum())
    seen = float(np.sqrt(scatter / freedom)) if freedom else 0.0
    error = np.square((seen or noise) / g) / count
    variances = np.bincount(index, np.square(from_middle) * error) / np.square(extent)
    targets = np.bincount(index, found.targets[rows]) / size
    return Slopes(cell, targets, -slope, variances, x, rests, freedom, seen)


def _usable(found: Readings, first_s: float) -> NDArray[np.intp]:
    """Readings of cells that were asked for enough, stayed above 0, and were read twice or more."""
    cells = int(found.cell[-1]) + 1
    near = found.time_s * NEAR_FIRST >= first_s
    size = np.bincount(found.cell[near], minlength=cells)
    lost = np.bincount(found.cell, found.means <= 0, minlength=cells) > 0
    kept = (size >= 2) & ~lost
    return np.flatnonzero(near & kept[found.cell] & (found.targets >= LEAST_TARGET))

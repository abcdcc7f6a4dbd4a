"""How the first two moments of all conductances change with age, where cells have no names.

    ln E[G] changes by -mean L + deviation² L²/2         ln E[G²] by -2 mean L + 2 deviation² L²

with L = ln((t + t0) / t0), for exponents that are normal and independent of the error of
programming: E[exp(-nu L)] is that of a lognormal figure. Each age is compared with the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.fitting.cells import Floats, Readings, ages

FEWEST_READINGS = 8
"""Of an age; others are left out."""

_FADED = 1e-12
"""A mean below this, relative to the targets, counts as this."""

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class MomentSeries:
    """Readings by age, the first age first."""

    groups: tuple[Rows, ...]
    since_s: Floats
    """[ages]: from the first one on."""

    found: Readings
    squares: Floats
    """[readings]: E[P²] of a cell just programmed to its target."""

    def changes(self, groups: Sequence[Rows]) -> tuple[Floats, Floats]:
        """Logarithms of both moments, over those of the first age."""
        means, targets = self.found.means, self.found.targets
        first = [max(means[rows].sum() / targets[rows].sum(), _FADED) for rows in groups]
        second = [np.square(means[rows]).sum() / self.squares[rows].sum() for rows in groups]
        one, two = np.log(first), np.log(np.maximum(second, _FADED))
        return one - one[0], two - two[0]

    def estimate(self, groups: Sequence[Rows], start_s: float) -> tuple[float, float, float]:
        """Mean and variance of the exponents, and the squares that the mean's changes leave."""
        passed = np.log1p(self.since_s / start_s)
        one, two = self.changes(groups)
        variance = max(float((two - 2 * one) @ passed**2 / (passed**4).sum()), 0.0)
        bent = one - variance * passed**2 / 2
        mean = -float(bent @ passed / (passed**2).sum())
        return mean, variance, float(np.square(bent + mean * passed).sum())

    def resampled(self, generator: np.random.Generator) -> list[Rows]:
        """Each age's readings drawn anew."""
        return [rows[generator.integers(len(rows), size=len(rows))] for rows in self.groups]


def moment_series(
    found: Readings, first_s: float, second_moment: Callable[[Floats], Floats]
) -> MomentSeries | None:
    """Readings by age; None where there are fewer than two ages with enough of them."""
    age = ages(found.time_s)
    groups = [np.flatnonzero(age == one) for one in range(int(age[-1]) + 1)]
    groups = [
        rows for rows in groups if len(rows) >= FEWEST_READINGS and (found.targets[rows] > 0).any()
    ]
    if len(groups) < 2:
        return None
    since_s = np.array([found.time_s[rows].mean() for rows in groups]) - first_s
    since_s[0] = 0.0
    return MomentSeries(tuple(groups), since_s, found, second_moment(found.targets))

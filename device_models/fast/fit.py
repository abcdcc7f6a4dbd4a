"""How a fast form is found: from what the exact path makes of typical inputs.

Let W be the nominal weights, ΔW the chip's own deviation from them, y the exact result without the
zero point. Per output the least squares of

    y - x·W  ≈  α (x·W) + β (x·ΔW) + γ s + c,      s how busy the row is (`array`)

say what the converters do to the mean (Bussgang: any non-linearity is a gain and an uncorrelated
rest). β is the share of the deviations that rounding lets through: near 0 where they are small
beside a step, 1 where they are large. The rest is rounding: its covariance over outputs, and how it
grows with s. What repeated reads differ by is read noise.

Nothing says beforehand that this describes a layer. So it is found on three quarters of the typical
rows and held against the exact path on the last quarter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_models.fast.array import Spread, heights_of

FEATURES = 4
LEAST_ROWS = 96
_RIDGE = 1e-6


@dataclass(frozen=True)
class Rows:
    """Typical rows and what the exact path made of them; all [groups, n, m] but the sums."""

    nominal: NDArray[np.float64]
    deviation: NDArray[np.float64]
    """What the cells' deviations, undisturbed, would add."""

    sums: NDArray[np.float64]
    """[groups, n]: s, in parts of its mean over all typical rows."""

    exact: NDArray[np.float64]
    """Mean of the reads."""

    reading: NDArray[np.float64]
    """Variance of one read."""

    reads: int

    def part(self, rows: slice) -> Rows:
        """Some of the rows."""
        return Rows(
            self.nominal[:, rows],
            self.deviation[:, rows],
            self.sums[:, rows],
            self.exact[:, rows],
            self.reading[:, rows],
            self.reads,
        )

    @property
    def count(self) -> int:
        """How many rows."""
        return int(self.sums.shape[1])

    def features(self) -> NDArray[np.float64]:
        """What the mean is made of: [groups, m, n, 4]."""
        sums = np.broadcast_to(self.sums[:, :, None], self.nominal.shape)
        stacked = np.stack([self.nominal, self.deviation, sums, np.ones_like(sums)], axis=-1)
        return stacked.swapaxes(1, 2)


@dataclass(frozen=True)
class Fit:
    """The statistics of a layer."""

    shares: NDArray[np.float64]
    """[groups, m, 4]: α, β, γ, c."""

    rounding: Spread | None
    reading: Spread | None

    def mean(self, rows: Rows) -> NDArray[np.float64]:
        """What it expects of rows: [groups, n, m]."""
        added = np.matmul(rows.features(), self.shares[..., None])[..., 0]
        found: NDArray[np.float64] = rows.nominal + added.swapaxes(1, 2)
        return found


def fit(rows: Rows) -> Fit:
    """Find the statistics of a layer."""
    features = rows.features()
    wanted = (rows.exact - rows.nominal).swapaxes(1, 2)
    shares = _least_squares(features, wanted)
    rest = wanted - np.matmul(features, shares[..., None])[..., 0]
    rest = rest.swapaxes(1, 2) * np.sqrt(rows.count / (rows.count - FEATURES))
    slope = _slope(rows.reading, rows.sums)
    sigma = np.sqrt(rows.reading.mean(axis=1, keepdims=True)).astype(np.float32)
    reading = Spread(sigma, slope) if sigma.any() else None
    return Fit(shares, _rounding(rest, rows), reading)


def _rounding(rest: NDArray[np.float64], rows: Rows) -> Spread | None:
    """The spread of the rests [groups, n, m] that is not read noise."""
    slope = _slope(np.square(rest) - rows.reading / rows.reads, rows.sums)
    outputs = rest.shape[2]
    covariance = np.matmul(rest.swapaxes(1, 2), rest)
    itself = np.eye(outputs, dtype=bool)
    covariance *= np.where(itself, 1.0, rows.count / (rows.count + outputs))  # the rest is chance
    covariance[:, itself] -= rows.reading.sum(axis=1) / rows.reads
    covariance /= np.square(heights_of(slope, rows.sums), dtype=np.float64).sum(axis=1)[
        :, None, None
    ]
    size, axes = np.linalg.eigh(covariance)
    root = np.sqrt(np.maximum(size, 0))
    mixing = np.matmul(axes * root[:, None], axes.swapaxes(1, 2)).astype(np.float32)
    return Spread(mixing, slope) if mixing.any() else None


def _least_squares(features: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[Any]:
    """Shares [groups, m, 4] of features [groups, m, n, 4] in what is wanted [groups, m, n]."""
    size = np.sqrt(np.mean(np.square(features), axis=2))
    size[size == 0] = 1
    scaled = features / size[:, :, None]
    gram = np.matmul(scaled.swapaxes(2, 3), scaled)
    gram += _RIDGE * features.shape[2] * np.eye(FEATURES)
    right = np.matmul(scaled.swapaxes(2, 3), wanted[..., None])
    found: NDArray[Any] = np.linalg.solve(gram, right)[..., 0] / size
    return found


def _slope(squares: NDArray[np.float64], sums: NDArray[np.float64]) -> float:
    """How squared deviations [groups, n, m] grow with s [groups, n], in parts of their mean."""
    rows = squares.sum(axis=2)
    busy = sums - sums.mean(axis=1, keepdims=True)
    mean = np.maximum(rows.mean(axis=1, keepdims=True), 0)
    least = 1e-12 * float(np.square(mean).sum())
    spread = float((np.square(busy) * np.square(mean)).sum())
    return float((busy * rows * mean).sum()) / spread if spread > least else 0.0

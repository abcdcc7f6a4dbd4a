"""What the solver needs to know of a layer's rows, gathered block by block.

For rows x [d] that a layer was given, outputs z [m] that its main path made of them and outputs y
[m] that it should have made: means, covariances, and linear maps from x to y and to z. Maps start
from what is known (the weights that the codes stand for, the float weights where they are kept);
only the deviation from them is a ridge regression, so that few rows suffice: what they do not show
is taken to be as it should be. Memory is O((d + m)²) for each layer, whatever the number of rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calib.errors import SolveError

Float64 = NDArray[np.float64]
Rows = NDArray[np.floating]
REGRESSION_RIDGE = 1e-2
"""Of the deviations on x, relative to x's mean variance."""

COVARIANCE_FLOOR = 1e-3
"""Added to x's variances, relative to their mean: samples to come differ from those seen."""


TRACE_PROBES = 8
"""Vectors of random signs that estimate the trace of a matrix (M. Hutchinson, Communications in
Statistics 18, 1989), for what a few more right-hand sides cost."""


@dataclass(frozen=True)
class LayerStatistics:
    """Centred statistics of one layer: what linear maps of x explain, and the rest."""

    rows: int
    """How many were seen."""

    freedom: float
    """Effective degrees of freedom of the maps: the trace of the matrix that takes what was seen
    to what is explained (Hastie et al., The Elements of Statistical Learning, sec. 7.6)."""

    mean_x: Float64
    mean_y: Float64
    mean_z: Float64
    covariance_x: Float64
    """[d, d], its floor included."""

    map_y: Float64
    """[d, m]"""

    map_z: Float64
    explained_yy: Float64
    explained_yz: Float64
    explained_zz: Float64
    rest_yy: Float64
    rest_yz: Float64
    rest_zz: Float64
    """[m, m] each."""


@dataclass
class CovarianceSums:
    """Accumulates blocks of rows [n, size], for their mean and covariance."""

    size: int
    count: int = 0
    _shift: Float64 | None = None
    _sum: Float64 = field(init=False)
    _gram: Float64 = field(init=False)

    def __post_init__(self) -> None:
        """Start from nothing."""
        self._sum, self._gram = np.zeros(self.size), np.zeros((self.size, self.size))

    def add(self, rows: Rows) -> None:
        """Add rows."""
        if self._shift is None:
            self._shift = rows.mean(axis=0, dtype=np.float64)
        centred = rows - self._shift  # so that centring later cancels no digits
        self._gram += centred.T @ centred
        self._sum += centred.sum(axis=0)
        self.count += len(rows)

    def mean(self) -> Float64:
        """Of all rows: [size]."""
        return self._sum / self.count + (0.0 if self._shift is None else self._shift)

    def covariance(self) -> Float64:
        """Of all rows: [size, size]."""
        mean = self._sum / self.count
        return self._gram / self.count - np.outer(mean, mean)


@dataclass
class LayerSums:
    """Accumulates blocks of rows of one layer.

    Args:
        known_y: the map from x to y that is expected, [d, m]; d is 0 where x is not looked at.
        known_z: the same from x to z.
    """

    known_y: Float64
    known_z: Float64
    _sums: CovarianceSums = field(init=False)

    def __post_init__(self) -> None:
        """Start from nothing."""
        self._sums = CovarianceSums(self.inputs + 2 * self.outputs)

    @property
    def inputs(self) -> int:
        """Length d of the rows x that are looked at."""
        return int(self.known_y.shape[0])

    @property
    def outputs(self) -> int:
        """Length m of the rows y and z."""
        return int(self.known_y.shape[1])

    def add(self, x: Rows, z: Rows, y: Rows) -> None:
        """Add rows x [n, d], z [n, m], y [n, m].

        Raises:
            SolveError: something is not finite.
        """
        x = x[:, : self.inputs]
        rows = np.concatenate([x, y - x @ self.known_y, z - x @ self.known_z], axis=1)
        if not np.isfinite(rows).all():
            raise SolveError("a layer's inputs or outputs are not finite: the chip has failed")
        self._sums.add(rows)

    def statistics(self, inputs: CovarianceSums | None = None) -> LayerStatistics:
        """The statistics of all rows added.

        Args:
            inputs: covariance of more rows x than were run on the chip, where there are such.

        Raises:
            SolveError: no rows were added.
        """
        if not self._sums.count:
            raise SolveError("there are no rows to fit a layer to; choose at least one sample")
        mean, covariance = self._sums.mean(), self._sums.covariance()
        d = self.inputs
        gram, cross = covariance[:d, :d].copy(), covariance[:d, d:]
        deviations = np.zeros_like(cross)
        freedom = 0.0
        if d:
            variance = float(np.trace(gram)) / d
            penalty = REGRESSION_RIDGE * variance if variance > 0 else 1.0
            signs = np.random.default_rng(0).choice([-1.0, 1.0], (d, TRACE_PROBES))
            solved = np.linalg.solve(gram + penalty * np.eye(d), np.hstack([cross, signs]))
            deviations[:] = solved[:, : cross.shape[1]]
            seen = gram @ signs
            freedom = float(np.vdot(seen, solved[:, cross.shape[1] :])) / TRACE_PROBES
            if inputs is not None:
                gram[:] = inputs.covariance()
            gram[np.diag_indices(d)] += COVARIANCE_FLOOR * variance
        explained = deviations.T @ cross
        left = deviations.T @ covariance[:d, :d] @ deviations - explained - explained.T
        return self._split(mean, gram, deviations, covariance[d:, d:] + left, freedom)

    def _split(
        self, mean: Float64, gram: Float64, deviations: Float64, rest: Float64, freedom: float
    ) -> LayerStatistics:
        d, m = self.inputs, self.outputs
        known = np.concatenate([self.known_y, self.known_z], axis=1)
        maps = known + deviations
        explained = maps.T @ gram @ maps
        means = mean[d:] + mean[:d] @ known
        return LayerStatistics(
            rows=self._sums.count,
            freedom=min(max(freedom, 0.0), float(min(d, self._sums.count - 1))),
            mean_x=mean[:d],
            mean_y=means[:m],
            mean_z=means[m:],
            covariance_x=gram,
            map_y=maps[:, :m],
            map_z=maps[:, m:],
            explained_yy=explained[:m, :m],
            explained_yz=explained[:m, m:],
            explained_zz=explained[m:, m:],
            rest_yy=rest[:m, :m],
            rest_yz=rest[:m, m:],
            rest_zz=rest[m:, m:],
        )

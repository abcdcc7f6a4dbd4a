"""What the solver needs to know of a layer's rows, gathered block by block.

For rows x [d] that a layer was given, outputs z [m] that its main path made of them and outputs y
[m] that it should have made: means, centred covariances of y and z, and their ridge regressions on
x. Either d×d sums are kept (primal) or the rows themselves (dual), whichever is smaller, so that
memory is O(min(n, d)²) and n·d at most where n < d.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calib.errors import SolveError

Float64 = NDArray[np.float64]
Rows = NDArray[np.floating]


@dataclass(frozen=True)
class LayerStatistics:
    """Centred statistics of one layer; `Explained` is what a linear map of x can reach."""

    mean_x: Float64
    mean_y: Float64
    mean_z: Float64
    map_y: Float64
    """Ridge regression of y on x: [d, m]."""

    map_z: Float64
    explained_yy: Float64
    explained_yz: Float64
    explained_zz: Float64
    rest_yy: Float64
    rest_yz: Float64
    rest_zz: Float64
    """Covariances [m, m], explained by x and the rest."""


@dataclass
class LayerSums:
    """Accumulates blocks of rows of one layer.

    Args:
        inputs: d; 0 where no low-rank part is wanted and x is not looked at.
        outputs: m.
        expected_rows: how many rows will come; decides between primal and dual.
    """

    inputs: int
    outputs: int
    expected_rows: int
    _blocks: list[tuple[Rows, Rows]] = field(default_factory=list)
    _gram: Float64 | None = None
    _shift: Rows | None = None
    _sum: Float64 | None = None
    _count: int = 0

    @property
    def primal(self) -> bool:
        """Whether the d×d sums are kept instead of the rows."""
        return self.expected_rows >= self.inputs + 2 * self.outputs

    def add(self, x: Rows, z: Rows, y: Rows) -> None:
        """Add rows x [n, d], z [n, m], y [n, m].

        Raises:
            SolveError: something is not finite.
        """
        both = np.concatenate([y, z], axis=1)
        if not (np.isfinite(x).all() and np.isfinite(both).all()):
            raise SolveError("a layer's inputs or outputs are not finite; measure the chip")
        self._count += len(x)
        if not self.primal:
            self._blocks.append((np.array(x[:, : self.inputs], np.float32), both))
            return
        self._add_sums(np.concatenate([x[:, : self.inputs], both], axis=1))

    def _add_sums(self, rows: Rows) -> None:
        if self._shift is None or self._gram is None or self._sum is None:
            self._shift = rows.mean(axis=0)
            self._gram = np.zeros((rows.shape[1], rows.shape[1]))
            self._sum = np.zeros(rows.shape[1])
        rows = rows - self._shift  # so that centring later cancels no digits
        self._gram += rows.T @ rows
        self._sum += rows.sum(axis=0, dtype=np.float64)

    def statistics(self, ridge: float) -> LayerStatistics:
        """The statistics of all rows added.

        Args:
            ridge: regularisation of the regressions on x, relative to x's mean variance.

        Raises:
            SolveError: fewer than two rows were added.
        """
        if self._count < 2:
            raise SolveError(f"{self._count} rows cannot be fitted; give more samples")
        return self._primal(ridge) if self.primal else self._dual(ridge)

    def _primal(self, ridge: float) -> LayerStatistics:
        assert self._gram is not None
        assert self._sum is not None
        assert self._shift is not None
        mean = self._sum / self._count
        covariance = self._gram / self._count - np.outer(mean, mean)
        d = self.inputs
        cross = covariance[:d, d:]
        maps = np.zeros_like(cross)
        if d:
            gram = covariance[:d, :d]
            gram[np.diag_indices(d)] += _penalty(np.trace(gram) / d, ridge)
            maps = np.linalg.solve(gram, cross)
        return self._split(mean + self._shift, maps, maps.T @ cross, covariance[d:, d:])

    def _dual(self, ridge: float) -> LayerStatistics:
        x = np.concatenate([block[0] for block in self._blocks]).astype(np.float64)
        both = np.concatenate([block[1] for block in self._blocks]).astype(np.float64)
        mean = np.concatenate([x.mean(axis=0), both.mean(axis=0)])
        x -= mean[: self.inputs]
        both -= mean[self.inputs :]
        kernel = x @ x.T
        n = self._count
        variance = np.trace(kernel) / (n * max(self.inputs, 1))
        kernel[np.diag_indices(n)] += n * _penalty(variance, ridge)
        maps = x.T @ np.linalg.solve(kernel, both)
        return self._split(mean, maps, maps.T @ (x.T @ both) / n, both.T @ both / n)

    def _split(
        self, mean: Float64, maps: Float64, explained: Float64, total: Float64
    ) -> LayerStatistics:
        d, m = self.inputs, self.outputs
        explained = (explained + explained.T) / 2
        rest = total - explained
        return LayerStatistics(
            mean_x=mean[:d],
            mean_y=mean[d : d + m],
            mean_z=mean[d + m :],
            map_y=maps[:, :m],
            map_z=maps[:, m:],
            explained_yy=explained[:m, :m],
            explained_yz=explained[:m, m:],
            explained_zz=explained[m:, m:],
            rest_yy=rest[:m, :m],
            rest_yz=rest[:m, m:],
            rest_zz=rest[m:, m:],
        )


def _penalty(variance: float, ridge: float) -> float:
    """The ridge in x's own units; 1 where x does not vary at all, so that nothing is singular."""
    return ridge * variance if variance > 0 else 1.0

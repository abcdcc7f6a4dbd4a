"""What the solver needs to know of a layer's rows, gathered block by block.

For rows x [d] that a layer was given, outputs z [m] that its main path made of them and outputs y
[m] that it should have made: means, covariances, and linear maps from x to y and to z. Maps start
from what is known (the weights that the codes stand for, the float weights where they are kept);
only the deviation from them is a ridge regression (`calib.ridge`), so that few rows suffice: what
they do not show is taken to be as it should be.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from calib.errors import SolveError
from calib.ridge import UNIT_RANGE, Regression, regression
from calib.row_sums import LARGEST_GRAM, Covariance, Float64, RowCovariance, Rows, RowSums

REGRESSION_RIDGE = 1e-2
"""Of the deviations on x of layers with groups, relative to x's mean variance."""

COVARIANCE_FLOOR = 1e-3
"""Added to x's variances, relative to their mean: samples to come differ from those seen."""


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
    covariance_x: Covariance
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
class LayerSums:
    """Accumulates blocks of rows of one layer.

    Args:
        known_y: the map from x to y that is expected, [d, m]; d is 0 where x is not looked at.
        known_z: the same from x to z.
    """

    known_y: Rows
    known_z: Rows
    _sums: RowSums = field(init=False)

    def __post_init__(self) -> None:
        """Start from nothing."""
        self._sums = RowSums(self.inputs, 2 * self.outputs, double=True)

    @property
    def inputs(self) -> int:
        """Length d of the rows x that are looked at."""
        return int(self.known_y.shape[0])

    @property
    def outputs(self) -> int:
        """Length m of the rows y and z."""
        return int(self.known_y.shape[1])

    @property
    def count(self) -> int:
        """How many rows were added."""
        return self._sums.count

    @np.errstate(under="ignore")  # next to others, such a number is zero
    def add(self, x: Rows, z: Rows, y: Rows) -> None:
        """Add rows x [n, d], z [n, m], y [n, m].

        Raises:
            SolveError: something is not finite.
        """
        x = x[:, : self.inputs]
        known_y, known_z = (known.astype(x.dtype, copy=False) for known in self._known())
        rows = np.concatenate([x, y - x @ known_y, z - x @ known_z], axis=1)
        if not np.isfinite(rows).all():
            raise SolveError("a layer's inputs or outputs are not finite: the chip has failed")
        self._sums.add(rows)

    def _known(self) -> tuple[Rows, Rows]:
        return self.known_y, self.known_z

    @np.errstate(under="ignore")
    def statistics(self, inputs: RowSums | None = None) -> LayerStatistics:
        """The statistics of all rows added.

        Args:
            inputs: of more rows x than were run on the chip, where there are such: they say how
                inputs vary, and about which mean.

        Raises:
            SolveError: no rows were added.
        """
        if not self._sums.count:
            raise SolveError("there are no rows to fit a layer to; choose at least one sample")
        m = self.outputs
        found = regression(self._sums, np.concatenate([np.eye(m), -np.eye(m)]))
        covariance = _with_floor(self._sums if inputs is None else inputs)
        maps = found.coefficients
        for at, known in zip((slice(0, m), slice(m, None)), self._known(), strict=True):
            maps[:, at] += known
        return self._split(found, maps, covariance, self._means(maps, inputs))

    def _means(self, maps: Float64, inputs: RowSums | None) -> tuple[Float64, Float64]:
        """Of x [d], and of y and z side by side [2 m]."""
        seen = self._sums.mean()
        x, deviations = seen[: self.inputs], seen[self.inputs :]
        known = np.concatenate([x @ known for known in self._known()])
        centre = x if inputs is None else inputs.mean()[: self.inputs]
        return centre, deviations + known + (centre - x) @ maps

    def _split(
        self,
        found: Regression,
        maps: Float64,
        covariance: Covariance,
        means: tuple[Float64, Float64],
    ) -> LayerStatistics:
        d, m, rows = self.inputs, self.outputs, self._sums.count
        explained = maps.T @ (covariance @ maps)
        return LayerStatistics(
            rows=rows,
            freedom=min(max(found.freedom, 0.0), float(min(d, rows - 1))),
            mean_x=means[0],
            mean_y=means[1][:m],
            mean_z=means[1][m:],
            covariance_x=covariance,
            map_y=maps[:, :m],
            map_z=maps[:, m:],
            explained_yy=explained[:m, :m],
            explained_yz=explained[:m, m:],
            explained_zz=explained[m:, m:],
            rest_yy=found.rest[:m, :m],
            rest_yz=found.rest[:m, m:],
            rest_zz=found.rest[m:, m:],
        )


def _with_floor(sums: RowSums) -> Covariance:
    """The covariance of rows x and its floor: less for inputs that vary by far less than others."""
    variances = sums.variances()
    mean = float(variances.mean()) if len(variances) else 0.0
    floor = COVARIANCE_FLOOR * np.minimum(mean, UNIT_RANGE * variances)
    if sums.size > LARGEST_GRAM:
        return RowCovariance(sums.rows()[:, : sums.size], floor)
    covariance = sums.covariance()
    covariance[np.diag_indices(sums.size)] += floor
    return covariance

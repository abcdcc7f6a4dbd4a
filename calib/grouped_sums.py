"""What the solver needs to know of a grouped layer's rows: `calib.sums`, group by group.

Each group is a small layer of its own, with its own rows x [d], outputs z and references y [m]. All
groups are computed at once: the first axis of every array is the group.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from calib.errors import SolveError
from calib.row_sums import Float64, Rows
from calib.sums import COVARIANCE_FLOOR, REGRESSION_RIDGE


@dataclass(frozen=True)
class GroupedStatistics:
    """Centred statistics of each group: what linear maps of its x explain, and the rest.

    The parts are those of `calib.sums.LayerStatistics`, each with the groups in front.
    """

    rows: int
    freedom: Float64
    mean_x: Float64
    mean_y: Float64
    mean_z: Float64
    covariance_x: Float64
    map_y: Float64
    map_z: Float64
    explained_yy: Float64
    explained_yz: Float64
    explained_zz: Float64
    rest_yy: Float64
    rest_yz: Float64
    rest_zz: Float64


@dataclass
class GroupedCovariance:
    """Accumulates blocks of rows [n, groups · size], for each group's mean and covariance."""

    groups: int
    size: int
    count: int = 0
    _shift: Float64 | None = None
    _sum: Float64 = field(init=False)
    _gram: Float64 = field(init=False)

    def __post_init__(self) -> None:
        """Start from nothing."""
        self._sum = np.zeros((self.groups, self.size))
        self._gram = np.zeros((self.groups, self.size, self.size))

    def add(self, rows: Rows) -> None:
        """Add rows."""
        apart = rows.reshape(len(rows), self.groups, self.size)
        if self._shift is None:
            self._shift = apart.mean(axis=0, dtype=np.float64)
        centred = (apart - self._shift).swapaxes(0, 1)  # later centring cancels no digits
        self._gram += centred.swapaxes(1, 2) @ centred
        self._sum += centred.sum(axis=1)
        self.count += len(rows)

    def mean(self) -> Float64:
        """Of all rows: [groups, size]."""
        return self._sum / self.count + (0.0 if self._shift is None else self._shift)

    def covariance(self) -> Float64:
        """Of all rows: [groups, size, size]."""
        mean = self._sum / self.count
        return self._gram / self.count - mean[:, :, None] * mean[:, None, :]


@dataclass
class GroupedSums:
    """Accumulates blocks of rows of one grouped layer.

    Args:
        known_y: the maps from x to y that are expected, [groups, d, m].
        known_z: the same from x to z.
    """

    known_y: Float64
    known_z: Float64
    _sums: GroupedCovariance = field(init=False)

    def __post_init__(self) -> None:
        """Start from nothing."""
        groups, d, m = self.known_y.shape
        self._sums = GroupedCovariance(groups, d + 2 * m)

    @property
    def count(self) -> int:
        """How many rows were added."""
        return self._sums.count

    def add(self, x: Rows, z: Rows, y: Rows) -> None:
        """Add rows x [n, groups · d], z and y [n, groups · m].

        Raises:
            SolveError: something is not finite.
        """
        if not all(np.isfinite(part).all() for part in (x, y, z)):
            raise SolveError("a layer's inputs or outputs are not finite: the chip has failed")
        groups, d, m = self.known_y.shape
        apart = x.reshape(-1, groups, d).swapaxes(0, 1).astype(np.float64)
        given = [part.reshape(-1, groups, m).swapaxes(0, 1) for part in (y, z)]
        deviations = [
            part - apart @ known
            for part, known in zip(given, (self.known_y, self.known_z), strict=True)
        ]
        rows = np.concatenate([apart, *deviations], axis=2).swapaxes(0, 1)
        self._sums.add(rows.reshape(len(x), -1))

    def statistics(self, inputs: GroupedCovariance | None = None) -> GroupedStatistics:
        """The statistics of all rows added.

        Args:
            inputs: covariance of more rows x than were run on the chip, where there are such.

        Raises:
            SolveError: no rows were added.
        """
        if not self._sums.count:
            raise SolveError("there are no rows to fit a layer to; choose at least one sample")
        d = self.known_y.shape[1]
        mean, covariance = self._sums.mean(), self._sums.covariance()
        seen, cross = covariance[:, :d, :d], covariance[:, :d, d:]
        variance = np.trace(seen, axis1=1, axis2=2) / d
        penalty = np.where(variance > 0, REGRESSION_RIDGE * variance, 1.0)[:, None, None]
        solved = np.linalg.solve(seen + penalty * np.eye(d), np.concatenate([cross, seen], axis=2))
        deviations, freedom = solved[:, :, :-d], np.trace(solved[:, :, -d:], axis1=1, axis2=2)
        gram = seen if inputs is None else inputs.covariance()
        gram = gram + COVARIANCE_FLOOR * variance[:, None, None] * np.eye(d)
        explained = deviations.swapaxes(1, 2) @ cross
        left = deviations.swapaxes(1, 2) @ seen @ deviations - explained - explained.swapaxes(1, 2)
        return self._split(mean, gram, deviations, covariance[:, d:, d:] + left, freedom)

    def _split(
        self, mean: Float64, gram: Float64, deviations: Float64, rest: Float64, freedom: Float64
    ) -> GroupedStatistics:
        _, d, m = self.known_y.shape
        known = np.concatenate([self.known_y, self.known_z], axis=2)
        maps = known + deviations
        explained = maps.swapaxes(1, 2) @ gram @ maps
        means = mean[:, d:] + np.einsum("gd,gdk->gk", mean[:, :d], known)
        return GroupedStatistics(
            rows=self._sums.count,
            freedom=np.clip(freedom, 0.0, min(d, self._sums.count - 1)),
            mean_x=mean[:, :d],
            mean_y=means[:, :m],
            mean_z=means[:, m:],
            covariance_x=gram,
            map_y=maps[:, :, :m],
            map_z=maps[:, :, m:],
            explained_yy=explained[:, :m, :m],
            explained_yz=explained[:, :m, m:],
            explained_zz=explained[:, m:, m:],
            rest_yy=rest[:, :m, :m],
            rest_yz=rest[:, :m, m:],
            rest_zz=rest[:, m:, m:],
        )

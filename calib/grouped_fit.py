"""The closed form for layers with groups: each group is a small layer with an A and a B of its own.

What `calib.reduced_rank` does for a dense layer is done for all groups at once; a component of the
layer is one of each group. Of a depthwise layer, one output a group, the first component is all
there is: a correction of every tap of each channel's kernel. The gain is 1, or that of the
regression of y on z, whichever leaves less beside the low-rank part, group by group. What a group
cannot tell from noise (`calib.worth`) it does not get.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.factors import Surrogate
from calib.graph.linear import LinearLayer
from calib.grouped_sums import GroupedStatistics
from calib.read_noise import ReadNoise
from calib.reduced_rank import Metric, Solution, explained, unexplained
from calib.rounding import least_squares_b, rounded_rows
from calib.row_sums import Float64
from calib.worth import component_worth


@dataclass(frozen=True)
class SolvedGroups:
    """A grouped layer's statistics and best components; what `SolvedLayer` has, groups in front."""

    layer: LinearLayer
    noise: ReadNoise
    statistics: GroupedStatistics
    metric: Metric
    """Of each group: what its outputs mean together with those of others is left out."""

    solution: Solution
    worth: Float64
    """[k]: the error that the k-th components of all groups take away on samples to come."""

    def surrogate(self, bits: tuple[int, ...]) -> Surrogate:
        """The surrogate with each group's first components, rounded to these bits."""
        rank = len(bits)
        s, gain = self.statistics, self.solution.gain
        wanted = s.map_y - s.map_z * gain[:, None, :]
        a = (wanted @ self.metric.full @ self.solution.directions[..., :rank]).swapaxes(1, 2)
        a = rounded_rows(np.ldexp(a, -_exponents(a, axis=2)), s.covariance_x, bits)
        b = least_squares_b(s.covariance_x, wanted, a)
        size = _exponents(b, axis=1)  # B's columns share a scale: all groups' parts of one size
        a, b = np.ldexp(a, size.swapaxes(1, 2)), np.ldexp(b, -size)
        offset = s.mean_y - gain * s.mean_z - np.einsum("gmr,grd,gd->gm", b, a, s.mean_x)
        with np.errstate(under="ignore"):  # next to others, such a number is zero
            return Surrogate(
                gain=gain.reshape(-1).astype(np.float32),
                offset=offset.reshape(-1).astype(np.float32),
                a=a.reshape(-1, self.layer.inputs).astype(np.float32),
                b=b.reshape(self.layer.outputs, rank).astype(np.float32),
                bits=bits,
            )

    def beside(self, rank: int, _lost: float) -> SolvedGroups:
        """The same for the rank that it gets: where that is 0, the gain has more to do."""
        if rank:
            return self
        return replace(self, solution=solve_groups(self.statistics, self.metric, 0))


def _exponents(values: Float64, axis: int) -> NDArray[Any]:
    """Powers of two that bring the largest value along an axis to between 1/2 and 1."""
    _, powers = np.frexp(np.abs(values).max(axis=axis, initial=0.0, keepdims=True))
    return np.asarray(powers)


def solved_groups(
    layer: LinearLayer,
    noise: ReadNoise,
    statistics: GroupedStatistics,
    metric: Metric,
    rank: float,
) -> SolvedGroups:
    """Solve a layer's groups, gains as they are best beside low-rank parts of the given rank.

    Args:
        layer: the layer.
        noise: its read noise.
        statistics: of its rows.
        metric: of all its outputs.
        rank: of every group.
    """
    apart = grouped_metric(metric, layer.groups)
    solution = solve_groups(statistics, apart, int(min(rank, layer.outputs)))
    worth = component_worth(statistics, apart, solution)
    kept = np.where(worth[:, None, :] > 0, solution.directions, 0.0)
    solution = replace(solution, directions=kept)
    return SolvedGroups(layer, noise, statistics, apart, solution, worth.sum(axis=0))


def grouped_metric(metric: Metric, groups: int) -> Metric:
    """Each group's own block of a metric: [groups, m, m]."""
    outputs = len(metric.half) // groups
    whole = metric.full.reshape(groups, outputs, groups, outputs)
    blocks = whole[np.arange(groups), :, np.arange(groups)]
    values, vectors = np.linalg.eigh(blocks)
    roots = np.sqrt(np.maximum(values, np.finfo(np.float64).tiny))[:, None, :]
    turned = vectors.swapaxes(1, 2)
    return Metric((vectors * roots) @ turned, (vectors / roots) @ turned, metric.weight)


def solve_groups(s: GroupedStatistics, metric: Metric, rank: int) -> Solution:
    """The better of two gains for low-rank parts of the given rank, and all components at it."""
    most = min(s.map_y.shape[1:])
    rank = min(rank, most)
    starts = [
        _components(s, metric, gain) for gain in (np.ones_like(s.mean_y), _regression_gain(s))
    ]
    remaining = [
        values[:, rank:].sum(axis=1) + np.einsum("gij,gji->g", metric.full, unexplained(s, gain))
        for gain, values, _ in starts
    ]
    second = remaining[1] < remaining[0]
    gain, values, vectors = (
        np.where(second.reshape(-1, *(1,) * (one.ndim - 1)), other, one)
        for one, other in zip(*starts, strict=True)
    )
    directions = metric.inverse_half @ vectors[..., :most]
    return Solution(gain, values[:, :most], directions)


def _components(
    s: GroupedStatistics, metric: Metric, gain: Float64
) -> tuple[Float64, Float64, Float64]:
    """The gain, the error [groups, m] that each component explains, and their directions."""
    values, vectors = np.linalg.eigh(metric.half @ explained(s, gain) @ metric.half)
    return gain, np.maximum(values[:, ::-1], 0.0), vectors[..., ::-1]


def _regression_gain(s: GroupedStatistics) -> Float64:
    """Of y on z, output by output; 1 where z does not vary."""
    zz, yz = (
        np.diagonal(part, axis1=1, axis2=2)
        for part in (s.explained_zz + s.rest_zz, s.explained_yz + s.rest_yz)
    )
    ridge = 1e-6 * zz.mean() + np.finfo(np.float64).tiny
    return np.asarray((yz + ridge) / (zz + ridge))

"""The closed form: gain, offset and low-rank factors of one layer.

Wanted are g and the rank-r map B A that minimise, over the rows of a layer,

    E ‖ H^½ (y − g ⊙ z − B A x − c) ‖²,

H being the layer's output metric: how much an error of its outputs matters to the network's
answer. For a fixed g this is a reduced-rank regression (Izenman 1975, J. Multivariate Anal. 5) of
y − g ⊙ z on x, solved by the leading eigenvectors of the m×m covariance that x explains; for fixed
eigenvectors g is a linear least squares problem. Both alternate, from g = 1 (right for an error of
low rank) and from the regression of y on z (right for an array that fades), and the best of all
visited points is kept: never worse than either start.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from calib.factors import Surrogate
from calib.grouped_sums import GroupedStatistics
from calib.row_sums import Float64
from calib.sums import LayerStatistics

ROUNDS = 3
MORE_ROUNDS = 1
"""From a gain that was found already."""

LARGEST_DETOUR = 2.0
"""How much more error a gain may leave without its components than the better start leaves: beyond,
it turns the main path off and lets components do its work."""

SLACK = 1e-9
"""Relative errors that are alike: of such gains the one is best that needs components least."""

SMALLEST_POWER = 1e-4
"""Of a main path's output beside the reference's, relative: with less its gain tends to 1."""


@dataclass(frozen=True)
class Metric:
    """A layer's output metric H, scaled to mean 1: its square root and the inverse, [m, m]."""

    half: Float64
    inverse_half: Float64
    weight: float
    """What H was divided by: how much the layer matters beside the others."""

    @cached_property
    def full(self) -> Float64:
        """H itself."""
        return self.half @ self.half


def metric_from(columns: NDArray[np.floating], floor: float) -> Metric:
    """The metric H = columns columnsᵀ, scaled to mean 1, plus a floor on its diagonal.

    Args:
        columns: [m, k], such as sampled or leading gradients of the network's answer.
        floor: relative; keeps outputs that never mattered from being given away freely.
    """
    outputs = len(columns)
    matrix = columns.astype(np.float64) @ columns.T.astype(np.float64)
    mean = np.trace(matrix) / outputs
    matrix = matrix / mean if mean > 0 else np.zeros_like(matrix)
    values, vectors = np.linalg.eigh(matrix + floor * np.eye(outputs))
    roots = np.sqrt(np.maximum(values, floor))
    return Metric((vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T, float(mean))


@dataclass(frozen=True)
class _Head:
    """The components that there will be."""

    rank: int
    lost: float
    """The share of them that rounding will lose."""


@dataclass(frozen=True)
class _Point:
    """One visited solution: its gain, its components and what remains beyond its rank."""

    gain: Float64
    values: Float64
    """[m]: error that each component explains, largest first."""

    vectors: Float64
    """[m, m]: the components' directions, as columns."""

    remaining: float
    """Error beside components of the rank, what rounding loses of them included."""

    alone: float
    """Error without any component."""


@dataclass(frozen=True)
class Solution:
    """What is best for one layer: a gain, and components in the order of their worth."""

    gain: Float64
    values: Float64
    """[k]: error that each component takes away, as the metric weighs it; largest first."""

    directions: Float64
    """[m, k]: B of each component."""

    debt: float = 0.0
    """Error that the gain adds where there are no components: they only take it away again."""


def solve_layer(
    statistics: LayerStatistics,
    metric: Metric,
    rank: int,
    lost: float = 0.0,
    begin: Float64 | None = None,
) -> Solution:
    """The best gain for a low-rank part of the given rank, and all components at that gain.

    Args:
        statistics: of the layer's rows.
        metric: the layer's output metric.
        rank: 0 for gain and offset alone.
        lost: the share of the low-rank part that rounding will lose, so that the gain is not left
            to be whatever the low-rank part can make up for.
        begin: a gain that was best beside much the same, to go on from instead of from both starts.
    """
    most = min(statistics.map_y.shape)
    starts = (np.ones(len(statistics.mean_y)), _regression_gain(statistics))
    gains, rounds = (starts, ROUNDS) if begin is None else ((begin,), MORE_ROUNDS)
    head = _Head(min(rank, most), lost)
    ways = [_alternate(statistics, metric, head, gain, rounds) for gain in gains]
    far = LARGEST_DETOUR * max(
        min(_alone(statistics, metric, gain) for gain in starts), 0.0
    )  # rounding may make nothing negative
    near = [point for way in ways for point in way if point is way[0] or point.alone <= far]
    least = min(point.remaining for point in near)
    alike = [point for point in near if point.remaining <= least + SLACK * abs(far)]
    best = min(alike, key=lambda point: point.alone)
    directions = metric.inverse_half @ best.vectors[:, :most]
    debt = max(best.alone - far / LARGEST_DETOUR, 0.0)
    return Solution(best.gain, best.values[:most], directions, debt)


def _alternate(
    s: LayerStatistics, metric: Metric, head: _Head, gain: Float64, rounds: int
) -> list[_Point]:
    points = [_low_rank(s, metric, head, gain)]
    for _ in range(rounds):
        gain = _best_gain(s, metric, points[-1].vectors[:, : head.rank], head.lost)
        points.append(_low_rank(s, metric, head, gain))
    return points


def _alone(s: LayerStatistics, metric: Metric, gain: Float64) -> float:
    """The error without any component."""
    return float(np.einsum("ij,ji->", metric.full, explained(s, gain) + unexplained(s, gain)))


def _with_gain(yy: Float64, yz: Float64, zz: Float64, gain: Float64) -> Float64:
    """The covariance of y − g ⊙ z; of many layers at once, if all have the same axes in front."""
    cross = yz * gain[..., None, :]
    return yy - cross - cross.swapaxes(-1, -2) + zz * (gain[..., :, None] * gain[..., None, :])


def unexplained(s: LayerStatistics | GroupedStatistics, gain: Float64) -> Float64:
    """The covariance [m, m] of what no linear map of x explains in y − g ⊙ z."""
    return _with_gain(s.rest_yy, s.rest_yz, s.rest_zz, gain)


def explained(s: LayerStatistics | GroupedStatistics, gain: Float64) -> Float64:
    """The covariance [m, m] of what linear maps of x explain in y − g ⊙ z."""
    return _with_gain(s.explained_yy, s.explained_yz, s.explained_zz, gain)


def _low_rank(s: LayerStatistics, metric: Metric, head: _Head, gain: Float64) -> _Point:
    residual, rest = explained(s, gain), unexplained(s, gain)
    values, vectors = np.linalg.eigh(metric.half @ residual @ metric.half)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    beyond_x = float(np.einsum("ij,ji->", metric.full, rest))
    first, rest_of = float(values[: head.rank].sum()), float(values[head.rank :].sum())
    remaining, alone = (beyond_x + rest_of + part * first for part in (head.lost, 1.0))
    return _Point(gain, values, vectors, remaining, alone)


def _best_gain(s: LayerStatistics, metric: Metric, vectors: Float64, lost: float) -> Float64:
    """The gain of least error once all of `vectors` but what is lost is taken care of."""
    full = metric.full
    project = metric.half @ vectors
    open_part = full - (1 - lost) * (project @ project.T)
    matrix = open_part * s.explained_zz + full * s.rest_zz
    wanted = np.einsum("ij,ji->i", open_part, s.explained_yz) + np.einsum(
        "ij,ji->i", full, s.rest_yz
    )
    return _towards_one(matrix, wanted, np.diag(full) * np.diag(s.explained_yy + s.rest_yy))


def _regression_gain(s: LayerStatistics) -> Float64:
    zz = np.diag(s.explained_zz + s.rest_zz)
    yz, yy = np.diag(s.explained_yz + s.rest_yz), np.diag(s.explained_yy + s.rest_yy)
    return _towards_one(np.diag(zz), yz.copy(), yy)


def _towards_one(matrix: Float64, wanted: Float64, powers: Float64) -> Float64:
    """Solve for a gain; where nothing decides, it is 1.

    Args:
        matrix: [m, m], what squares and products of gains cost.
        wanted: [m], what gains bring.
        powers: [m], of the reference outputs: far weaker ones of the main path are no signal.
    """
    own = np.diag(matrix)
    ridge = np.maximum(SMALLEST_POWER * powers - own, 1e-6 * np.maximum(own, 0.0))
    regular = matrix + np.diag(ridge)
    roots = np.sqrt(np.maximum(np.diag(regular), 0.0))
    roots = np.where(roots > 0, roots, 1.0)  # an output without any power keeps its gain
    standard = regular / np.outer(roots, roots)
    standard[np.diag_indices(len(own))] += np.finfo(np.float64).eps
    return np.ones(len(own)) + np.linalg.solve(standard, (wanted - matrix.sum(1)) / roots) / roots


def surrogate_of(
    statistics: LayerStatistics, metric: Metric, solution: Solution, rank: int, inputs: int
) -> Surrogate:
    """The surrogate with the solution's first components.

    Args:
        statistics: of the layer's rows.
        metric: the layer's output metric.
        solution: from `solve_layer`.
        rank: how many components; at most as many as there are.
        inputs: of the layer, also where the statistics did not look at them.
    """
    wanted = statistics.map_y - statistics.map_z * solution.gain
    b = solution.directions[:, :rank]
    a = (wanted @ (metric.full @ b)).T
    return with_offset(statistics, solution.gain, a.reshape(-1, inputs), b)


@np.errstate(under="ignore")  # next to its row's largest, such a number is zero
def with_offset(s: LayerStatistics, gain: Float64, a: Float64, b: Float64) -> Surrogate:
    """The surrogate whose offset brings the mean of the corrected outputs to the reference's.

    Rows of A are brought to sizes near 1, by powers of two: what lies on a grid stays on it.
    """
    offset = s.mean_y - gain * s.mean_z
    if len(s.mean_x):
        offset = offset - b @ (a @ s.mean_x)
    _, exponents = np.frexp(np.abs(a).max(axis=1, initial=0.0))
    return Surrogate(
        gain=gain.astype(np.float32),
        offset=offset.astype(np.float32),
        a=np.ldexp(a, -exponents[:, None]).astype(np.float32),
        b=np.ldexp(b, exponents).astype(np.float32),
    )

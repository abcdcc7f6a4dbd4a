"""Grouped layers: each group is solved as a layer of its own would be."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.errors import SolveError
from calib.factors import Surrogate
from calib.grouped_fit import SolvedGroups, grouped_metric, solve_groups, solved_groups
from calib.grouped_sums import GroupedCovariance, GroupedStatistics, GroupedSums
from calib.layer_fit import LayerFit
from calib.precision import PRECISIONS
from calib.reduced_rank import metric_from
from calib.sums import REGRESSION_RIDGE
from tests.small_networks import classifier, packed

Array = np.ndarray[Any, Any]
SEEDS = st.integers(0, 2**32 - 1)
PARTS = tuple(GroupedStatistics.__dataclass_fields__)


def drawn(seed: int, groups: int, d: int, m: int, n: int = 40) -> tuple[Array, ...]:
    """Rows x, z, y, the groups side by side, and maps that are known of them."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, groups * d)) @ generator.standard_normal((groups * d,) * 2)
    z, y = generator.standard_normal((2, n, groups * m))
    known_y, known_z = generator.standard_normal((2, groups, d, m))
    return x + 3, z, y, known_y, known_z


def in_group(rows: Array, group: int, groups: int) -> Array:
    return rows.reshape(len(rows), groups, -1)[:, group]


@given(seed=SEEDS, groups=st.integers(1, 4), d=st.integers(1, 5), m=st.integers(1, 3))
def test_statistics_are_those_of_each_group_alone(seed: int, groups: int, d: int, m: int) -> None:
    x, z, y, known_y, known_z = drawn(seed, groups, d, m)
    more = drawn(seed + 1, groups, d, m)[0]
    sums, covariance = GroupedSums(known_y, known_z), GroupedCovariance(groups, d)
    for block in (slice(0, 7), slice(7, 40)):
        sums.add(x[block], z[block], y[block])
        covariance.add(more[block])
    for inputs in (None, covariance):
        found = sums.statistics(inputs)
        for group in range(groups):
            one = slice(group, group + 1)
            alone, alone_inputs = GroupedSums(known_y[one], known_z[one]), GroupedCovariance(1, d)
            alone.add(*(in_group(rows, group, groups) for rows in (x, z, y)))
            alone_inputs.add(in_group(more, group, groups))
            expected = alone.statistics(alone_inputs if inputs else None)
            for part in set(PARTS) - {"rows"}:
                wanted = getattr(expected, part)[0]
                size = np.abs(wanted).max() + 1
                np.testing.assert_allclose(getattr(found, part)[group], wanted, atol=1e-8 * size)
        assert found.rows == 40
        assert ((found.freedom >= 0) & (found.freedom <= d)).all()


@given(seed=SEEDS, d=st.integers(1, 5), m=st.integers(1, 3))
def test_maps_are_the_known_ones_and_a_ridge_regression_of_what_deviates(
    seed: int, d: int, m: int
) -> None:
    x, z, y, known_y, known_z = drawn(seed, 1, d, m)
    sums = GroupedSums(known_y, known_z)
    sums.add(x, z, y)
    found, centred = sums.statistics(), x - x.mean(axis=0)
    added = np.sqrt(len(x) * REGRESSION_RIDGE * x.var(axis=0).mean()) * np.eye(d)
    for mapped, known, out in ((found.map_y, known_y, y), (found.map_z, known_z, z)):
        deviations = out - x @ known[0]
        wanted = np.concatenate([deviations - deviations.mean(axis=0), np.zeros((d, m))])
        expected = known[0] + np.linalg.lstsq(np.concatenate([centred, added]), wanted)[0]
        np.testing.assert_allclose(mapped[0], expected, atol=1e-6)


@cache
def empty_fit() -> LayerFit:
    """Of a depthwise layer of 6 channels with 3 by 3 taps."""
    network = packed(classifier(groups=6), scheme="int4")
    return LayerFit.of(network, network.layers[1], exact=False)


def solved(x: Array, z: Array, y: Array, known: Array, rank: int) -> SolvedGroups:
    """A layer of 6 groups solved from rows alone; its weights are those of the references."""
    sums = GroupedSums(known, known)
    sums.add(x, z, y)
    fit = empty_fit()
    return solved_groups(fit.layer, fit.noise, sums.statistics(), metric_from(np.eye(6), 0.1), rank)


def depthwise_rows(seed: int, n: int = 200) -> tuple[Array, Array, Array]:
    """Rows of 6 groups of 9 taps, kernels, and what these make of them."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, 6, 9))
    kernels = generator.standard_normal((6, 9, 1))
    return x.reshape(n, -1), kernels, np.einsum("ngd,gdm->ngm", x, kernels)[..., 0]


def corrected(surrogate: Surrogate, x: Array, z: Array) -> Array:
    return surrogate.apply(z.astype(np.float32), x.reshape(len(x), 6, 9).astype(np.float32))


@pytest.mark.parametrize(
    ("bits", "left"), [(16, 0.02), (8, 0.03), (6, 0.05), (5, 0.08), (4, 0.12), (3, 0.25)]
)
def test_a_depthwise_error_of_every_tap_goes_with_one_component(bits: int, left: float) -> None:
    x, kernels, y = depthwise_rows(0)
    off = kernels * np.random.default_rng(1).normal(1, 0.3, kernels.shape)
    z = np.einsum("ngd,gdm->ngm", x.reshape(-1, 6, 9), off)[..., 0] + 0.5
    one = solved(x, z, y, kernels, rank=1)
    errors = {
        rank: np.linalg.norm(corrected(one.beside(rank, 0.0).surrogate((bits,) * rank), x, z) - y)
        for rank in (0, 1)
    }
    assert errors[0] < np.linalg.norm(z - y)
    assert errors[1] < left * errors[0] + 1e-3


def test_a_fading_array_needs_no_component() -> None:
    x, kernels, y = depthwise_rows(0)
    fade = np.linspace(0.5, 0.9, 6)
    found = solved(x, fade * y, y, kernels, rank=0).surrogate(())
    np.testing.assert_allclose(found.gain, 1 / fade, rtol=0.02)  # the ridge holds back a little
    assert found.rank == 0


def test_what_is_nothing_but_noise_gets_nothing() -> None:
    x, kernels, y = depthwise_rows(0, n=40)
    one = solved(x, y + np.random.default_rng(2).normal(0, 0.1, y.shape), y, kernels, rank=1)
    assert one.worth[0] < 0.05 * one.solution.values.sum()
    silent = one.surrogate((16,)).by_group[1]
    assert (np.abs(silent).max(axis=(1, 2)) == 0).sum() >= 4


@given(seed=SEEDS, rank=st.integers(0, 3))
def test_no_group_is_worse_than_with_gain_one_or_the_fitted_gain(seed: int, rank: int) -> None:
    x, z, y, known_y, known_z = drawn(seed, groups=3, d=4, m=3)
    sums = GroupedSums(known_y, known_z)
    sums.add(x, z, y)
    metric = grouped_metric(
        metric_from(np.random.default_rng(seed).standard_normal((9, 5)), 0.1), 3
    )
    statistics = sums.statistics()
    found = solve_groups(statistics, metric, rank)
    varying, together = (
        np.diagonal(part, axis1=1, axis2=2)
        for part in (
            statistics.explained_zz + statistics.rest_zz,
            statistics.explained_yz + statistics.rest_yz,
        )
    )
    for group in range(3):
        half = metric.half[group]
        left = [
            remaining(statistics, half, group, gain, rank)
            for gain in (found.gain[group], np.ones(3), together[group] / varying[group])
        ]
        assert left[0] <= min(left[1:]) * (1 + 1e-4)
        tail = left[0] - beyond(statistics, half, group, found.gain[group])
        assert found.values[group, rank:].sum() == pytest.approx(tail, rel=1e-6, abs=1e-9 * left[0])


def beyond(s: GroupedStatistics, half: Array, group: int, gain: Array) -> float:
    """What no map of x explains in y - g z, as the metric weighs it."""
    turn = np.diag(gain)
    rest = s.rest_yy[group] - s.rest_yz[group] @ turn - turn @ s.rest_yz[group].T
    return float(np.trace(half @ (rest + turn @ s.rest_zz[group] @ turn) @ half))


def remaining(s: GroupedStatistics, half: Array, group: int, gain: Array, rank: int) -> float:
    """What a gain leaves of one group beside the best low-rank part: singular values of the map."""
    root = np.linalg.cholesky(s.covariance_x[group])
    wanted = root.T @ (s.map_y[group] - s.map_z[group] * gain) @ half
    tail = np.linalg.svd(wanted, compute_uv=False)[rank:]
    return float((tail**2).sum()) + beyond(s, half, group, gain)


@given(
    seed=SEEDS,
    exponent=st.integers(-12, 12),
    rows=st.integers(1, 12),
    bits=st.sampled_from(PRECISIONS),
)
def test_odd_rows_give_finite_factors(seed: int, exponent: int, rows: int, bits: int) -> None:
    """Dead channels, constant ones, one row, tiny and huge scales: nothing is raised."""
    x, kernels, y = depthwise_rows(seed, n=rows)
    scale = 10.0**exponent
    x = x.reshape(rows, 6, 9)
    x[:, 0], x[:, 1] = 0, 1
    z = np.einsum("ngd,gdm->ngm", x, kernels * 0.8)[..., 0]
    found = solved(scale * x.reshape(rows, -1), scale * z, scale * y, kernels, 1).surrogate((bits,))
    for part in (found.gain, found.offset, found.a, found.b):
        assert np.isfinite(part).all()


def test_a_surrogate_with_groups_corrects_each_group_by_itself() -> None:
    generator = np.random.default_rng(0)
    groups, rank, d, m = 3, 2, 4, 2
    a, b = (
        generator.standard_normal((groups * rank, d)),
        generator.standard_normal((groups * m, rank)),
    )
    one = Surrogate(np.ones(groups * m), np.zeros(groups * m), a, b)  # type: ignore[arg-type]  # wide
    rows, main = (
        generator.standard_normal((5, groups, d)),
        generator.standard_normal((5, groups * m)),
    )
    found = one.apply(main, rows)  # type: ignore[arg-type]  # wide
    assert (one.rank, one.groups) == (rank, groups)
    for group in range(groups):
        low = rows[:, group] @ a[group * rank : (group + 1) * rank].T
        outputs = slice(group * m, (group + 1) * m)
        expected = main[:, outputs] + low @ b[outputs].T
        np.testing.assert_allclose(found[:, outputs], expected, rtol=1e-12)


def test_rows_that_are_not_finite_are_refused() -> None:
    sums = GroupedSums(np.zeros((2, 3, 1)), np.zeros((2, 3, 1)))
    with pytest.raises(SolveError, match="the chip has failed"):
        sums.add(np.ones((4, 6)), np.full((4, 2), np.nan), np.ones((4, 2)))
    with pytest.raises(SolveError, match="choose at least one sample"):
        sums.statistics()

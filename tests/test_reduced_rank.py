"""The closed form against truncated SVDs and brute force."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.reduced_rank import Metric, metric_from, solve_layer, surrogate_of
from tests.layer_rows import (
    Array,
    corrected,
    exact_statistics,
    layer,
    loss,
    low_rank_error,
    plain_metric,
    solved,
    some_metric,
)

SEEDS = st.integers(0, 2**32 - 1)


def best_at_gain(x: Array, z: Array, y: Array, gain: Array, metric: Metric, rank: int) -> float:
    """The least loss at a gain: Eckart and Young for the rows that x can reach, by SVD."""
    target = y - gain * z
    xc, tc = x - x.mean(axis=0), target - target.mean(axis=0)
    reached = xc @ np.linalg.lstsq(xc, tc, rcond=None)[0]
    tail = np.linalg.svd(reached @ metric.half, compute_uv=False)[rank:]
    return loss(tc - reached, metric) + float((tail**2).sum()) / len(x)


def regression_gain(z: Array, y: Array) -> Array:
    zc, yc = z - z.mean(axis=0), y - y.mean(axis=0)
    return np.asarray((zc * yc).sum(axis=0) / (zc**2).sum(axis=0))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rank", [0, 1, 3, 6])
def test_without_a_main_path_it_is_the_truncated_svd_of_the_whitened_map(
    rank: int, *, weighted: bool
) -> None:
    x, y = layer(1)
    metric = some_metric(6, 2) if weighted else plain_metric(6)
    statistics = exact_statistics(x, np.zeros_like(y), y)
    root = np.linalg.cholesky(statistics.covariance_x)
    u, s, vt = np.linalg.svd(root.T @ statistics.map_y @ metric.half)
    whitened = (u[:, :rank] * s[:rank]) @ vt[:rank]
    expected = np.linalg.solve(root.T, whitened) @ metric.inverse_half
    found = solved(x, np.zeros_like(y), y, metric, rank)
    assert found.rank == rank
    np.testing.assert_array_equal(found.gain, np.ones(6))
    np.testing.assert_allclose(found.b @ found.a, expected.T, rtol=1e-4, atol=1e-4)


def test_values_are_what_each_component_takes_away() -> None:
    x, y = layer(3)
    metric = some_metric(6, 1)
    statistics = exact_statistics(x, np.zeros_like(y), y)
    solution = solve_layer(statistics, metric, 2)
    assert (np.diff(solution.values) <= 0).all()
    losses = [
        loss(y - corrected(surrogate_of(statistics, metric, solution, r, 9), x, 0 * y), metric)
        for r in range(7)
    ]
    np.testing.assert_allclose(-np.diff(losses), solution.values, rtol=1e-4, atol=1e-5)


def test_full_rank_removes_any_linear_error() -> None:
    x, y = layer(4)
    z = 0.6 * y + low_rank_error(x, 6, 6, 5)
    found = solved(x, z, y, some_metric(6, 2), 6)
    np.testing.assert_allclose(corrected(found, x, z), y, atol=1e-3)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_rank_r_removes_an_error_of_rank_r_and_leaves_the_gain_alone(rank: int) -> None:
    x, y = layer(6)
    z = y - low_rank_error(x, 6, rank, 7)
    found = solved(x, z, y, some_metric(6, 3), rank)
    np.testing.assert_allclose(corrected(found, x, z), y, atol=1e-3)
    np.testing.assert_allclose(found.gain, 1, atol=1e-3)


@pytest.mark.parametrize("fading", [0.7, np.array([0.5, 0.6, 0.7, 0.8, 0.9, 1.1])])
def test_an_array_that_fades_needs_the_gain_alone(fading: Any) -> None:
    x, y = layer(8)
    z = (y - 1) * fading + 1
    found = solved(x, z, y, some_metric(6, 4), 0)
    assert found.rank == 0
    np.testing.assert_allclose(found.gain, np.broadcast_to(1 / fading, 6), rtol=1e-4)
    np.testing.assert_allclose(corrected(found, x, z), y, atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_fading_and_an_error_of_low_rank_together_get_far_below_either_alone(seed: int) -> None:
    x, y = layer(seed, n=300, d=24, m=16)
    z = 0.7 * (y - 0.2 * low_rank_error(x, 16, 2, seed + 1))
    metric = some_metric(16, seed)
    found = loss(y - corrected(solved(x, z, y, metric, 2), x, z), metric)
    starts = (np.ones(16), regression_gain(z, y))
    assert found < 0.2 * min(best_at_gain(x, z, y, gain, metric, 2) for gain in starts)


@given(seed=SEEDS, rank=st.integers(0, 8), noise=st.sampled_from([0.0, 0.1, 2.0]))
def test_never_worse_than_either_start(seed: int, rank: int, noise: float) -> None:
    generator = np.random.default_rng(seed)
    x, y = layer(seed, n=40)
    z = y * generator.uniform(-0.5, 2, 6) + low_rank_error(x, 6, 3, seed)
    z += noise * generator.standard_normal(z.shape)
    metric = some_metric(6, seed)
    found = loss(y - corrected(solved(x, z, y, metric, rank), x, z), metric)
    for gain in (np.ones(6), regression_gain(z, y)):
        assert found <= best_at_gain(x, z, y, gain, metric, rank) * (1 + 1e-4) + 1e-6


@given(seed=SEEDS, rank=st.integers(0, 6))
def test_the_offset_brings_the_means_together(seed: int, rank: int) -> None:
    x, y = layer(seed)
    z = 0.8 * y + low_rank_error(x, 6, 4, seed) + 3
    found = corrected(solved(x, z, y, some_metric(6, seed), rank), x, z)
    np.testing.assert_allclose(found.mean(axis=0), y.mean(axis=0), atol=1e-3)


def test_the_metric_is_the_columns_outer_product_of_mean_one_with_a_floor() -> None:
    columns = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float16)
    metric = metric_from(columns, 0.25)
    outer = columns.astype(np.float64) @ columns.T.astype(np.float64)
    np.testing.assert_allclose(metric.weight, np.trace(outer) / 5)
    np.testing.assert_allclose(metric.full, outer / metric.weight + 0.25 * np.eye(5), atol=1e-12)
    np.testing.assert_allclose(metric.half @ metric.half, metric.full, atol=1e-12)
    np.testing.assert_allclose(metric.half @ metric.inverse_half, np.eye(5), atol=1e-12)


@pytest.mark.parametrize("size", [0.0, 6e-8, 1.0])
def test_the_floor_keeps_outputs_that_never_mattered_finite(size: float) -> None:
    columns = np.zeros((4, 2), np.float16)
    columns[0, 0] = size
    metric = metric_from(columns, 0.1)
    assert np.isfinite(metric.inverse_half).all()
    x, y = layer(1, m=4)
    z = y - low_rank_error(x, 4, 2, 1)
    found = solved(x, z, y, metric, 2)
    np.testing.assert_allclose(corrected(found, x, z), y, atol=1e-3)


def test_noise_that_x_does_not_explain_does_not_buy_components() -> None:
    x, y = layer(9, n=2000)
    noise = np.random.default_rng(0).standard_normal(y.shape)
    statistics = exact_statistics(x, y + noise, y)
    solution = solve_layer(statistics, plain_metric(6), 0)
    without_noise = replace(statistics, rest_zz=np.zeros((6, 6)), rest_yz=np.zeros((6, 6)))
    np.testing.assert_allclose(solve_layer(without_noise, plain_metric(6), 0).gain, 1, atol=0.05)
    assert (solution.gain < 1).all()

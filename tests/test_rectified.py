"""The Gaussian behind clipped values: its clipped values have the moments that were asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.rectified import behind, clipped_moments, correlation_behind

SIZES = st.integers(-12, 12).map(lambda power: 10.0**power)


@pytest.mark.parametrize("a", [-2.9, -1.0, 0.0, 0.3, 2.0, 5.9, 30.0])
def test_the_moments_of_clipped_values_are_those_of_drawn_ones(a: float) -> None:
    drawn = np.maximum(a + np.random.default_rng(0).standard_normal(400_000), 0)
    mean, deviation = clipped_moments(np.array([a]))
    error = 5 * drawn.std() / np.sqrt(len(drawn))
    assert mean[0] == pytest.approx(drawn.mean(), abs=error)
    assert deviation[0] == pytest.approx(drawn.std(), rel=0.05 if a < -2 else 0.01)


@given(place=st.floats(-2.9, 5.9), size=SIZES)
def test_what_is_behind_has_the_moments_asked_for(place: float, size: float) -> None:
    wanted = [size * one for one in clipped_moments(np.array([place]))]
    mean, deviation = behind(*wanted)
    found = [deviation * one for one in clipped_moments(mean / deviation)]
    np.testing.assert_allclose(found, wanted, rtol=1e-3)


def test_far_above_zero_nothing_is_clipped() -> None:
    mean, deviation = behind(np.array([80.0, 6.5]), np.array([2.0, 1.0]))
    np.testing.assert_allclose(mean, [80, 6.5])
    np.testing.assert_allclose(deviation, [2, 1])


def test_what_does_not_vary_is_itself() -> None:
    mean, deviation = behind(np.array([0.0, 7.0, 1e-12, 1e12]), np.array([0.0, 0.0, 0.0, 1.0]))
    np.testing.assert_array_equal(mean, [0, 7, 1e-12, 1e12])
    np.testing.assert_array_equal(deviation, [0, 0, 0, 0])


def test_values_that_are_nearly_always_zero_keep_their_mean() -> None:
    mean, deviation = behind(np.array([1e-3]), np.array([1.0]))
    assert deviation * clipped_moments(mean / deviation)[0] == pytest.approx(1e-3)


def test_correlations_are_found_behind_the_clipping() -> None:
    generator = np.random.default_rng(3)
    half = generator.standard_normal((6, 6))
    covariance = half @ half.T
    spread = np.sqrt(np.diag(covariance))
    center = spread * generator.uniform(-1, 2, 6)
    x = np.maximum(center + generator.standard_normal((300_000, 6)) @ half.T, 0)
    mean, deviation = behind(x.mean(axis=0), x.std(axis=0))
    np.testing.assert_allclose(mean, center, atol=0.02 * spread.max())
    np.testing.assert_allclose(deviation, spread, rtol=0.02)
    found = correlation_behind(np.cov(x.T, ddof=0), mean, deviation)
    np.testing.assert_allclose(found, covariance / np.outer(spread, spread), atol=0.04)


def test_what_does_not_vary_is_correlated_with_nothing() -> None:
    covariance = np.diag([0.0, 1.0])
    found = correlation_behind(covariance, np.array([3.0, 0.0]), np.array([0.0, 1.0]))
    np.testing.assert_array_equal(found, np.eye(2))

"""Low rank plus diagonal: it finds what is of that form, and never does worse than without."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.loadings import loadings_of

Array = np.ndarray[Any, Any]
SEEDS = st.integers(0, 2**32 - 1)
RANKS = (0, 1, 2, 4, 8, 16, 32)


def correlation_of(covariance: Array) -> Array:
    spread = np.sqrt(np.diag(covariance))
    return np.asarray(covariance / np.outer(spread, spread))


def beside_diagonal(matrix: Array) -> float:
    return float(np.linalg.norm(matrix - np.diag(np.diag(matrix))))


def left(correlation: Array, loadings: Array) -> float:
    """What is wrong with the correlations, relative to having none."""
    return beside_diagonal(correlation - loadings @ loadings.T) / beside_diagonal(correlation)


@given(seed=SEEDS, rank=st.integers(1, 4), size=st.integers(20, 60))
def test_what_is_low_rank_plus_diagonal_is_found(seed: int, rank: int, size: int) -> None:
    generator = np.random.default_rng(seed)
    half = generator.standard_normal((size, rank))
    own = np.diag(generator.uniform(0.5, 2.0, size) * rank)
    correlation = correlation_of(half @ half.T + own)
    assert left(correlation, loadings_of(correlation, rank)) < 0.02


@given(seed=SEEDS, size=st.integers(3, 40), rank=st.integers(1, 8), power=st.floats(0, 3))
def test_a_full_covariance_is_fitted_better_than_by_its_diagonal_or_components(
    seed: int, size: int, rank: int, power: float
) -> None:
    generator = np.random.default_rng(seed)
    basis = np.linalg.qr(generator.standard_normal((size, size)))[0]
    correlation = correlation_of((basis * np.arange(1, size + 1) ** -power) @ basis.T)
    if beside_diagonal(correlation) < 0.05:
        return  # next to no correlation: one iteration more or less decides
    rank = min(rank, size)
    loadings = loadings_of(correlation, rank)
    values, vectors = np.linalg.eigh(correlation)
    components = vectors[:, -rank:] * np.sqrt(np.maximum(values[-rank:], 0))
    assert left(correlation, loadings) <= 1.0
    assert left(correlation, loadings) <= left(correlation, components) + 1e-3
    assert (np.linalg.norm(loadings, axis=1) <= 1 + 1e-12).all()


def test_a_higher_rank_is_no_worse() -> None:
    generator = np.random.default_rng(0)
    half = generator.standard_normal((50, 200)) * np.geomspace(1, 0.01, 200)
    correlation = correlation_of(half @ half.T)
    errors = [left(correlation, loadings_of(correlation, rank)) for rank in RANKS]
    assert all(later <= earlier + 1e-3 for earlier, later in pairwise(errors))
    assert errors[0] == pytest.approx(1.0)
    assert errors[-1] < 0.05


def test_singular_and_constant_correlations_are_no_trouble() -> None:
    everything_alike = loadings_of(np.ones((5, 5)), 2)
    np.testing.assert_allclose(everything_alike @ everything_alike.T, np.ones((5, 5)), atol=1e-6)
    nothing_alike = loadings_of(np.eye(5), 3)
    assert beside_diagonal(nothing_alike @ nothing_alike.T) < 1e-6
    assert loadings_of(np.eye(4), 0).shape == (4, 0)
    assert loadings_of(np.ones((1, 1)), 1).shape == (1, 1)


def test_the_same_correlations_give_the_same_loadings() -> None:
    half = np.random.default_rng(1).standard_normal((30, 40))
    correlation = correlation_of(half @ half.T)
    np.testing.assert_array_equal(loadings_of(correlation, 5), loadings_of(correlation, 5))

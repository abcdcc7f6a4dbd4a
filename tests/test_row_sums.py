"""Sums of rows: means and covariances are NumPy's, whether rows are kept, folded or thinned out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib import row_sums
from calib.row_sums import FEWEST_FOLDED, LARGEST_GRAM, RowCovariance, RowSums, grams_of

Array = np.ndarray[Any, Any]
SEEDS = st.integers(0, 2**32 - 1)


def in_random_blocks(rows: Array, generator: np.random.Generator) -> list[Array]:
    cuts = np.sort(generator.integers(0, len(rows), 3))
    return [block for block in np.split(rows, cuts) if len(block)]


def gathered(rows: Array, size: int, *, double: bool = True, seed: int = 0) -> RowSums:
    sums = RowSums(size, rows.shape[1] - size, double)
    for block in in_random_blocks(rows, np.random.default_rng(seed)):
        sums.add(block)
    return sums


def covariance_of(rows: Array) -> Array:
    return np.atleast_2d(np.cov(rows.astype(np.float64), rowvar=False, bias=True))


@given(
    seed=SEEDS,
    count=st.one_of(st.integers(1, 30), st.integers(500, 1500)),
    exponent=st.integers(-12, 12),
    double=st.booleans(),
)
def test_means_and_covariances_are_numpys(
    *, seed: int, count: int, exponent: int, double: bool
) -> None:
    generator = np.random.default_rng(seed)
    size = 10.0**exponent
    rows = ((generator.standard_normal((count, 5)) + 2) * size).astype(np.float32)
    sums = gathered(rows, 3, double=double, seed=seed)
    mean, whole, tolerance = rows.mean(axis=0, dtype=float), covariance_of(rows), 2e-6 * size**2
    np.testing.assert_allclose(sums.mean(), mean, rtol=1e-5, atol=1e-6 * size)
    grams = sums.grams()
    np.testing.assert_allclose(grams.xx, whole[:3, :3], rtol=1e-6, atol=tolerance)
    np.testing.assert_allclose(grams.xe, whole[:3, 3:], rtol=1e-6, atol=tolerance)
    np.testing.assert_allclose(grams.ee, whole[3:, 3:], rtol=1e-6, atol=tolerance)
    np.testing.assert_allclose(sums.variances(), np.diag(whole)[:3], rtol=1e-5, atol=tolerance)
    np.testing.assert_array_equal(sums.covariance(), grams.xx)


def test_few_rows_are_kept_and_many_are_folded() -> None:
    rows = np.random.default_rng(0).standard_normal((4 * FEWEST_FOLDED, 3))
    few, many = gathered(rows[:FEWEST_FOLDED], 3), gathered(rows, 3)
    assert not few.folded
    assert len(few.rows()) == FEWEST_FOLDED
    assert many.folded
    assert many.count == len(rows)
    assert 0 < len(many.rows()) <= FEWEST_FOLDED


def test_large_means_cost_no_digits() -> None:
    generator = np.random.default_rng(0)
    rows = 1e9 + generator.standard_normal((1300, 3))
    found = gathered(rows, 3).covariance()
    np.testing.assert_allclose(found, covariance_of(rows - 1e9), atol=1e-6)


@given(seed=SEEDS, count=st.integers(1, 2048), exponent=st.floats(-4, 4))
def test_products_in_single_precision_keep_to_their_bound(
    seed: int, count: int, exponent: float
) -> None:
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((count, 4)) * 10.0 ** (exponent * np.arange(4))
    rows = (rows + generator.integers(0, 2) * np.abs(rows)).astype(np.float32)
    true = rows.T.astype(np.float64) @ rows.astype(np.float64)
    roots = np.sqrt(np.diag(true))
    bound = (count + 3) * 2.0**-24 * np.outer(roots, roots)
    assert (np.abs(grams_of(rows, 4).xx - true) <= bound).all()


def test_of_rows_too_long_for_a_gram_some_are_kept_evenly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_sums, "LARGEST_GRAM", 8)  # the real one takes too long to fill
    sums = RowSums(9)
    rows = np.arange(100.0)[:, None] + np.zeros(9)
    for start in range(0, 100, 7):
        sums.add(rows[start : start + 7])
    kept = sums.rows()[:, 0] + sums.mean()[0]
    assert not sums.folded
    assert sums.count == len(kept) <= 8
    assert len(set(np.round(np.diff(kept), 9))) == 1
    assert kept.min() < 20
    assert kept.max() > 80
    np.testing.assert_allclose(sums.mean()[0], kept.mean())


@given(seed=SEEDS, left_rows=st.integers(1, 4))
def test_a_covariance_of_rows_multiplies_as_its_array(seed: int, left_rows: int) -> None:
    generator = np.random.default_rng(seed)
    rows, diagonal = generator.standard_normal((7, 9)), generator.uniform(0, 1, 9)
    thin = RowCovariance(rows, diagonal)
    full = rows.T @ rows / 7 + np.diag(diagonal)
    left, right = generator.standard_normal((left_rows, 9)), generator.standard_normal((9, 2))
    np.testing.assert_allclose(thin @ right, full @ right, atol=1e-12)
    np.testing.assert_allclose(left @ thin, left @ full, atol=1e-12)
    np.testing.assert_allclose(left @ thin @ right, left @ full @ right, atol=1e-12)
    assert thin.shape == full.shape
    assert LARGEST_GRAM > 9

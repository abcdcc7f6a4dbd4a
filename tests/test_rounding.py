"""Rounding A: on the grid that is stored, bit for bit, and better than to the nearest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.factor_codes import decode_factors, encode_factors, steps_of
from calib.factors import Factors, Surrogate
from calib.reduced_rank import with_offset
from calib.rounding import LARGEST_INPUTS, refitted_b, rounded_rows
from calib.sums import LayerStatistics, LayerSums
from tests.small_networks import dense_layer

Array = np.ndarray[Any, Any]
SEEDS = st.integers(0, 2**32 - 1)
FEW_BITS = st.sampled_from([8, 4])


def covariance(seed: int, d: int) -> Array:
    """Of inputs that hang together, as neighbouring pixels do, of very different spread."""
    generator = np.random.default_rng(seed)
    places = np.arange(d)
    smooth = np.exp(-np.abs(places[:, None] - places) / 5)
    spread = 10.0 ** generator.uniform(-1, 1, d)
    return np.asarray(smooth * np.outer(spread, spread))


def rows_of_a(seed: int, rank: int, d: int) -> Array:
    return np.random.default_rng(seed).standard_normal((rank, d))


def statistics(seed: int, d: int, m: int) -> LayerStatistics:
    generator = np.random.default_rng(seed)
    root = np.linalg.cholesky(covariance(seed, d))
    x = generator.standard_normal((4 * d, d)) @ root.T + 1
    known = generator.standard_normal((d, m))
    sums = LayerSums(known, known)
    sums.add(x, x @ (known + 0.3 * generator.standard_normal((d, m))), x @ known)
    return sums.statistics()


def stored(surrogate: Surrogate, bits: int) -> Surrogate:
    layer = dense_layer(surrogate.a.shape[1], len(surrogate.gain))
    payload = encode_factors(Factors({layer.name: surrogate}), [layer], bits)
    return decode_factors(payload, [layer])[layer.name]


@given(seed=SEEDS, bits=FEW_BITS, rank=st.integers(1, 4), d=st.integers(1, 40))
def test_rounded_rows_are_whole_steps_within_the_limit(
    seed: int, bits: int, rank: int, d: int
) -> None:
    a = rows_of_a(seed, rank, d)
    found = rounded_rows(a, covariance(seed, d), bits)
    codes = found / steps_of(a, bits).astype(np.float64)[:, None]
    np.testing.assert_array_equal(codes, np.rint(codes))
    assert np.abs(codes).max() <= 2 ** (bits - 1) - 1


@given(
    seed=SEEDS,
    bits=FEW_BITS,
    rank=st.integers(1, 4),
    d=st.integers(1, 40),
    exponent=st.integers(-12, 12),
)
def test_what_was_rounded_comes_back_from_storage_bit_for_bit(
    seed: int, bits: int, rank: int, d: int, exponent: int
) -> None:
    found = statistics(seed, d, 3)
    a = rounded_rows(rows_of_a(seed, rank, d) * 10.0**exponent, found.covariance_x, bits)
    gain = np.ones(3)
    surrogate = with_offset(found, gain, a, refitted_b(found, gain, a))
    np.testing.assert_array_equal(stored(surrogate, bits).a, surrogate.a)
    product = surrogate.b.astype(np.float64) @ surrogate.a
    np.testing.assert_allclose(product, refitted_b(found, gain, a) @ a, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("seed", range(5))
def test_correlated_inputs_lose_much_less_than_by_rounding_to_the_nearest(
    seed: int, bits: int
) -> None:
    a, inputs = rows_of_a(seed, 8, 60), covariance(seed, 60)

    def lost(rounded: Array) -> float:
        return float(np.einsum("ij,jk,ik->", a - rounded, inputs, a - rounded))

    steps = steps_of(a, bits).astype(np.float64)[:, None]
    assert lost(rounded_rows(a, inputs, bits)) < 0.6 * lost(np.rint(a / steps) * steps)


@given(seed=SEEDS, bits=FEW_BITS)
def test_inputs_that_do_not_hang_together_are_rounded_to_the_nearest(seed: int, bits: int) -> None:
    a = rows_of_a(seed, 2, 10)
    steps = steps_of(a, bits).astype(np.float64)[:, None]
    expected = np.rint(a / steps) * steps
    np.testing.assert_allclose(rounded_rows(a, 3 * np.eye(10), bits), expected, atol=1e-12)
    np.testing.assert_allclose(rounded_rows(a, np.zeros((10, 10)), bits), expected, atol=1e-12)


def test_long_rows_are_rounded_to_the_nearest() -> None:
    a = rows_of_a(0, 1, LARGEST_INPUTS + 1)
    steps = steps_of(a, 4).astype(np.float64)[:, None]
    unread = np.broadcast_to(np.nan, (a.shape[1], a.shape[1]))
    np.testing.assert_array_equal(rounded_rows(a, unread, 4), np.rint(a / steps) * steps)


def test_sixteen_bits_and_nothing_are_left_alone() -> None:
    a = rows_of_a(0, 2, 5)
    np.testing.assert_array_equal(rounded_rows(a, covariance(0, 5), 16), a)
    assert rounded_rows(a[:0], covariance(0, 5), 4).shape == (0, 5)


def test_rows_of_zeros_stay_zero() -> None:
    a = np.zeros((2, 6))
    np.testing.assert_array_equal(rounded_rows(a, covariance(0, 6), 4), a)


@given(seed=SEEDS, exponent=st.integers(-12, 12))
def test_b_is_the_least_squares_fit_whatever_the_sizes_of_the_rows(
    seed: int, exponent: int
) -> None:
    found = statistics(seed, 12, 4)
    gain = np.random.default_rng(seed).uniform(0.5, 1.5, 4)
    sizes = np.array([[1.0], [10.0**exponent], [3.0]])
    a = rows_of_a(seed, 3, 12) * sizes
    root = np.linalg.cholesky(found.covariance_x).T
    wanted = root @ (found.map_y - found.map_z * gain)
    expected = np.linalg.lstsq(root @ (a / sizes).T, wanted, rcond=None)[0].T / sizes.T
    b = refitted_b(found, gain, a)
    np.testing.assert_allclose(b * sizes.T, expected * sizes.T, rtol=1e-3, atol=1e-3)


def test_without_rows_there_is_no_b() -> None:
    assert refitted_b(statistics(0, 5, 3), np.ones(3), np.zeros((0, 5))).shape == (3, 0)


def test_rows_that_see_nothing_get_no_b() -> None:
    found = statistics(0, 5, 3)
    b = refitted_b(found, np.ones(3), np.stack([np.zeros(5), np.ones(5)]))
    np.testing.assert_array_equal(b[:, 0], 0)
    assert np.isfinite(b).all()

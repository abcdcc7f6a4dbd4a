"""Rounding A: on the grid that is stored, bit for bit, and better than to the nearest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.factor_codes import decode_factors, encode_factors
from calib.factors import Factors, Surrogate
from calib.precision import MIXED, PRECISIONS, lost_share
from calib.reduced_rank import with_offset
from calib.rounding import LARGEST_INPUTS, refitted_b, rounded_rows
from calib.row_codes import steps_of
from calib.sums import LayerStatistics, LayerSums
from tests.small_networks import dense_layer

Array = np.ndarray[Any, Any]
SEEDS = st.integers(0, 2**32 - 1)
FEW_BITS = st.lists(st.sampled_from(MIXED), min_size=1, max_size=4)
ANY_BITS = st.lists(st.sampled_from(PRECISIONS), min_size=1, max_size=4)


def covariance(seed: int, d: int, reach: float = 5) -> Array:
    """Of inputs that hang together, as neighbouring pixels do, of very different spread."""
    generator = np.random.default_rng(seed)
    places = np.arange(d)
    smooth = np.exp(-np.abs(places[:, None] - places) / reach)
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


def stored(surrogate: Surrogate) -> Surrogate:
    layer = dense_layer(surrogate.a.shape[1], len(surrogate.gain))
    payload = encode_factors(Factors({layer.name: surrogate}), [layer])
    return decode_factors(payload, [layer])[layer.name]


@given(seed=SEEDS, bits=FEW_BITS, d=st.integers(1, 40))
def test_rounded_rows_are_whole_steps_within_the_limit(seed: int, bits: list[int], d: int) -> None:
    a = rows_of_a(seed, len(bits), d)
    found = rounded_rows(a, covariance(seed, d), bits)
    codes = found / steps_of(a, bits).astype(np.float64)[:, None]
    np.testing.assert_array_equal(codes, np.rint(codes))
    assert (np.abs(codes).max(axis=1) <= 2.0 ** (np.array(bits) - 1) - 1).all()


@given(seed=SEEDS, bits=ANY_BITS, d=st.integers(1, 30))
def test_each_row_is_rounded_as_it_would_be_alone(seed: int, bits: list[int], d: int) -> None:
    """Whatever bits the rows beside it have; those of 16 are left alone."""
    a, inputs = rows_of_a(seed, len(bits), d), covariance(seed, d)
    found = rounded_rows(a, inputs, bits)
    for row, one in enumerate(bits):
        alone = rounded_rows(a[row : row + 1], inputs, [one])[0]
        np.testing.assert_array_equal(found[row], a[row] if one == 16 else alone)


@given(seed=SEEDS, bits=ANY_BITS, d=st.integers(1, 12), groups=st.integers(1, 3))
def test_many_layers_at_once_are_rounded_as_each_alone(
    seed: int, bits: list[int], d: int, groups: int
) -> None:
    a = np.stack([rows_of_a(seed + group, len(bits), d) for group in range(groups)])
    inputs = np.stack([covariance(seed + group, d) for group in range(groups)])
    found = rounded_rows(a, inputs, bits)
    for group in range(groups):
        np.testing.assert_array_equal(found[group], rounded_rows(a[group], inputs[group], bits))


@given(seed=SEEDS, bits=FEW_BITS, d=st.integers(1, 40), exponent=st.integers(-12, 12))
def test_what_was_rounded_comes_back_from_storage_bit_for_bit(
    seed: int, bits: list[int], d: int, exponent: int
) -> None:
    found = statistics(seed, d, 3)
    sized = rows_of_a(seed, len(bits), d) * 10.0**exponent
    a = rounded_rows(sized, found.covariance_x, bits)
    gain = np.ones(3)
    surrogate = with_offset(found, gain, a, refitted_b(found, gain, a))
    back = stored(replace(surrogate, bits=tuple(bits)))
    np.testing.assert_array_equal(back.a, surrogate.a)
    assert back.bits == tuple(bits)
    product = surrogate.b.astype(np.float64) @ surrogate.a
    np.testing.assert_allclose(product, refitted_b(found, gain, a) @ a, rtol=1e-5, atol=1e-5)


def test_a_row_costs_a_quarter_as_much_error_for_each_bit_more() -> None:
    shares = [lost_share(bits) for bits in PRECISIONS]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == 0
    assert lost_share(5) / lost_share(6) == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("bits", MIXED)
@pytest.mark.parametrize(("reach", "least", "most"), [(0.5, 0.8, 1.1), (1, 0.7, 1), (2, 0.55, 0.8)])
def test_what_rounding_loses_lies_near_what_is_foretold(
    bits: int, reach: float, least: float, most: float
) -> None:
    """Of a component's worth, B fitted again; the more inputs hang together, the less is lost."""
    shares = []
    for seed in range(20):
        a, inputs = rows_of_a(seed, 1, 60), covariance(seed, 60, reach)
        found = rounded_rows(a, inputs, [bits])
        whole, across, seen = (
            float((one @ inputs @ other.T)[0, 0])
            for one, other in ((a, a), (a, found), (found, found))
        )
        shares.append(1 - across**2 / (seen * whole))
    assert least < np.mean(shares) / lost_share(bits) < most


@pytest.mark.parametrize("bits", MIXED)
@pytest.mark.parametrize("seed", range(5))
def test_correlated_inputs_lose_much_less_than_by_rounding_to_the_nearest(
    seed: int, bits: int
) -> None:
    a, inputs = rows_of_a(seed, 8, 60), covariance(seed, 60)

    def lost(rounded: Array) -> float:
        return float(np.einsum("ij,jk,ik->", a - rounded, inputs, a - rounded))

    each = [bits] * 8
    steps = steps_of(a, each).astype(np.float64)[:, None]
    assert lost(rounded_rows(a, inputs, each)) < 0.6 * lost(np.rint(a / steps) * steps)


@given(seed=SEEDS, bits=FEW_BITS)
def test_inputs_that_do_not_hang_together_are_rounded_to_the_nearest(
    seed: int, bits: list[int]
) -> None:
    a = rows_of_a(seed, len(bits), 10)
    steps = steps_of(a, bits).astype(np.float64)[:, None]
    expected = np.rint(a / steps) * steps
    np.testing.assert_allclose(rounded_rows(a, 3 * np.eye(10), bits), expected, atol=1e-12)
    np.testing.assert_allclose(rounded_rows(a, np.zeros((10, 10)), bits), expected, atol=1e-12)


def test_long_rows_are_rounded_to_the_nearest() -> None:
    a, bits = rows_of_a(0, 2, LARGEST_INPUTS + 1), [4, 6]
    steps = steps_of(a, bits).astype(np.float64)[:, None]
    unread = np.broadcast_to(np.nan, (a.shape[1], a.shape[1]))
    np.testing.assert_array_equal(rounded_rows(a, unread, bits), np.rint(a / steps) * steps)


def test_sixteen_bits_and_nothing_are_left_alone() -> None:
    a = rows_of_a(0, 2, 5)
    np.testing.assert_array_equal(rounded_rows(a, covariance(0, 5), [16, 16]), a)
    assert rounded_rows(a[:0], covariance(0, 5), []).shape == (0, 5)


def test_rows_of_zeros_stay_zero() -> None:
    a = np.zeros((2, 6))
    np.testing.assert_array_equal(rounded_rows(a, covariance(0, 6), [4, 3]), a)


@given(seed=SEEDS, exponent=st.integers(-12, 12))
def test_b_is_the_least_squares_fit_whatever_the_sizes_of_the_rows(
    seed: int, exponent: int
) -> None:
    found = statistics(seed, 12, 4)
    gain = np.random.default_rng(seed).uniform(0.5, 1.5, 4)
    sizes = np.array([[1.0], [10.0**exponent], [3.0]])
    a = rows_of_a(seed, 3, 12) * sizes
    root = np.linalg.cholesky(np.asarray(found.covariance_x)).T
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

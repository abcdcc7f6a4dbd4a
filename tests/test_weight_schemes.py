"""Weight schemes: what comes back from codes, and the bytes of packed codes."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.errors import CalibError
from calib.schemes.packing import pack_nibbles, unpack_nibbles
from calib.schemes.weights import (
    NF4_BLOCK_ROWS,
    NF4_LEVELS,
    SCHEMES,
    QuantisedWeights,
    scheme_named,
)

Array = np.ndarray[Any, Any]
INTEGER = ["int8", "int4", "int4-tensor"]


@st.composite
def weights(draw: st.DrawFn) -> Array:
    """[groups, d, outputs] of any scale, with zeros, dead channels and constant rows."""
    groups, rows, outputs = draw(
        st.tuples(st.integers(1, 3), st.integers(1, 150), st.integers(1, 4))
    )
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weight = generator.standard_normal((groups, rows, outputs))
    weight *= 10.0 ** draw(st.integers(-12, 12))
    weight[generator.random(weight.shape) < draw(st.sampled_from([0.0, 0.3]))] = 0
    if draw(st.booleans()):
        weight[:, :, 0] = 0
    if draw(st.booleans()):
        weight[:, 0] = weight[0, 0, 0]
    return weight.astype(np.float32)


def spread_scales(quantised: QuantisedWeights) -> Array:
    """The scale of every weight."""
    rows = quantised.codes.shape[1]
    return np.repeat(quantised.scales, quantised.block_rows, axis=1)[:, :rows]


@pytest.mark.parametrize("name", INTEGER)
@given(weight=weights())
def test_integers_come_back_within_half_a_step(name: str, weight: Array) -> None:
    found = scheme_named(name).quantise(weight)
    assert found.codes.dtype == np.int8
    error = np.abs(found.values().astype(np.float64) - weight)
    assert (error <= spread_scales(found) * (0.5 + 1e-4)).all()


@pytest.mark.parametrize("name", sorted(SCHEMES))
@given(weight=weights())
def test_zero_is_exact_and_the_largest_weight_of_each_scale_too(name: str, weight: Array) -> None:
    found = scheme_named(name).quantise(weight)
    values = found.values()
    assert not values[weight == 0].any()
    largest = np.abs(weight).max(axis=(0, 1, 2) if name == "int4-tensor" else 1)
    np.testing.assert_allclose(
        np.abs(values).max(axis=(0, 1, 2) if largest.ndim == 0 else 1), largest, rtol=1e-6
    )


@pytest.mark.parametrize("name", INTEGER)
@given(weight=weights())
def test_integers_are_symmetric_and_use_no_code_twice_as_far(name: str, weight: Array) -> None:
    scheme = scheme_named(name)
    found, mirrored = scheme.quantise(weight), scheme.quantise(-weight)
    np.testing.assert_array_equal(found.codes, -mirrored.codes)
    assert np.abs(found.codes).max() <= 2 ** (scheme.bits - 1) - 1


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_nothing_but_zeros_stays_zeros_with_usable_scales(name: str) -> None:
    found = scheme_named(name).quantise(np.zeros((2, 70, 3), np.float32))
    assert not found.values().any()
    assert (found.scales > 0).all()


@pytest.mark.parametrize("name", sorted(SCHEMES))
@pytest.mark.parametrize("size", [1e-45, 1e-38, 3e38])
def test_weights_at_the_ends_of_float32_raise_no_warning(name: str, size: float) -> None:
    weight = np.float32([[[size, -size]], [[0, size]]])
    values = scheme_named(name).quantise(weight).values()
    assert np.isfinite(values).all()
    if size > 1e-35:
        np.testing.assert_allclose(values, weight, rtol=1e-6)


def test_one_scale_for_each_channel_or_for_the_whole_layer() -> None:
    weight = np.float32([[[1.0, 10.0], [-0.5, 5.0]]])
    np.testing.assert_allclose(
        scheme_named("int8").quantise(weight).scales, [[[1 / 127, 10 / 127]]]
    )
    tensor = scheme_named("int4-tensor").quantise(weight)
    np.testing.assert_allclose(tensor.scales, [[[10 / 7, 10 / 7]]])
    np.testing.assert_array_equal(tensor.codes, [[[1, 7], [0, 4]]])  # 0.7, 7, -0.35, 3.5


def test_the_levels_of_nf4_follow_from_the_normal_distribution() -> None:
    """Quantiles of eight equal steps above zero and seven below, as in the paper's appendix E."""
    end = (1 - 1 / 30 + 1 - 1 / 32) / 2
    normal = NormalDist()
    above = [normal.inv_cdf(p) for p in np.linspace(0.5, end, 9)[1:]]
    below = [-normal.inv_cdf(p) for p in np.linspace(0.5, end, 8)[1:]]
    levels = np.array([*reversed(below), 0.0, *above]) / normal.inv_cdf(end)
    np.testing.assert_allclose(NF4_LEVELS, levels, atol=1e-6)


@given(weight=weights())
def test_nf4_takes_the_nearest_level_of_each_block(weight: Array) -> None:
    found = scheme_named("nf4").quantise(weight)
    relative = weight.astype(np.float64) / spread_scales(found)
    nearest = np.abs(relative[..., None] - NF4_LEVELS.astype(np.float64)).min(axis=-1)
    taken = np.abs(relative - NF4_LEVELS[found.codes])
    np.testing.assert_allclose(taken, nearest, atol=1e-6)


def test_nf4_has_a_scale_for_each_64_rows_the_last_for_what_is_left() -> None:
    weight = np.ones((1, 2 * NF4_BLOCK_ROWS + 5, 1), np.float32)
    weight[0, NF4_BLOCK_ROWS : 2 * NF4_BLOCK_ROWS] = -2
    weight[0, 2 * NF4_BLOCK_ROWS :] = 3
    found = scheme_named("nf4").quantise(weight)
    np.testing.assert_array_equal(found.scales, [[[1], [2], [3]]])
    np.testing.assert_array_equal(found.values(), weight)


def test_bytes_are_those_of_packed_codes_and_scales() -> None:
    weight = np.ones((1, 65, 3), np.float32)
    assert scheme_named("int8").quantise(weight).bytes == 65 * 3 + 4 * 3
    assert scheme_named("int4").quantise(weight).bytes == 98 + 4 * 3
    assert scheme_named("nf4").quantise(weight).bytes == 98 + 4 * 6


def test_an_unknown_scheme_is_named_with_the_known_ones() -> None:
    with pytest.raises(CalibError, match=r"no scheme 'int3'; choose one of int8, .*, float"):
        scheme_named("int3")


def test_the_first_code_is_the_low_nibble() -> None:
    codes = np.array([[1, -1], [-8, 7], [3, 0]], np.int8)
    assert pack_nibbles(codes).tobytes() == bytes([0xF1, 0x78, 0x03])
    assert pack_nibbles(codes.reshape(-1)[:5]).tobytes() == bytes([0xF1, 0x78, 0x03])


@given(count=st.integers(0, 40), seed=st.integers(0, 2**32 - 1), signed=st.booleans())
def test_packed_codes_come_back(count: int, seed: int, signed: bool) -> None:  # noqa: FBT001 -- drawn
    low, high = (-8, 8) if signed else (0, 16)
    codes = np.random.default_rng(seed).integers(low, high, (count, 1)).astype(np.int8)
    found = unpack_nibbles(pack_nibbles(codes), codes.shape, signed=signed)
    np.testing.assert_array_equal(found, codes)
    assert found.dtype == np.int8


def test_codes_of_another_shape_are_refused() -> None:
    with pytest.raises(CalibError, match=r"3 bytes of 4-bit codes do not fit shape \[7\], .* 4;"):
        unpack_nibbles(np.zeros(3, np.uint8), (7,), signed=True)

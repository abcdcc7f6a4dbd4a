"""Factors as bytes: golden ones, back again bit for bit, and no damage that goes unnoticed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.errors import CalibError
from calib.factor_codes import (
    PRECISIONS,
    bits_of_b,
    component_bytes,
    decode_factors,
    encode_factors,
    rounded,
)
from calib.factors import Factors, Surrogate
from calib.graph.linear import LinearLayer
from tests.small_networks import dense_layer

Array = np.ndarray[Any, Any]
PARTS = ("gain", "offset", "a", "b")
SEEDS = st.integers(0, 2**32 - 1)
BITS = st.sampled_from(PRECISIONS)
EVERY_PRECISION = pytest.mark.parametrize("bits", PRECISIONS)


def float32(*values: Any) -> Array:
    return np.array(values, np.float32)


LAYERS = [dense_layer(3, 2, "one"), dense_layer(2, 1, "two")]
SMALL = Factors(
    {
        "one": Surrogate(
            gain=float32(1.5, -2),
            offset=float32(0.25, 0),
            a=float32([7, -3.5, 1]),
            b=float32([1], [-0.5]),
        ),
        "two": Surrogate(float32(1), float32(3), np.zeros((0, 2), "<f4"), np.zeros((1, 0), "<f4")),
    }
)
FIRST = "0100 0000 03000000 02000000 0000c03f 000000c0 0000803e 00000000"
SECOND = "0000 0000 02000000 01000000 0000803f 00004040"
GOLDEN = {
    16: f"0100 10 00 02000000 {FIRST} 0000e040 003c 00b8 9230 0000803f 003c 00b8 {SECOND}",
    8: f"0100 08 00 02000000 {FIRST} 0000803d 70 c8 10 0000803c 40 e0 {SECOND}",
    4: f"0100 04 00 02000000 {FIRST} 0000803f c7 01 0000803c 40 e0 {SECOND}",
}
"""7 is 7 · 1, 112 / 16 and 7 · 1; −3.5 is −4 in four bits; B has at least 8."""


def drawn(seed: int, exponent: int = 0) -> tuple[Factors, list[LinearLayer]]:
    """Factors of two layers of random sizes, ranks from 0, rows of very different size."""
    generator = np.random.default_rng(seed)
    layers, surrogates = [], {}
    for name in ("one", "two"):
        d, m, rank = generator.integers(1, 20, 3) - np.array([0, 0, 1])
        sizes = 10.0 ** (exponent + generator.uniform(-3, 3, (rank, 1)))
        a = generator.standard_normal((rank, d)) * sizes
        parts = generator.standard_normal(m), generator.standard_normal(m), a
        b = generator.standard_normal((m, rank))
        surrogates[name] = Surrogate(*(part.astype(np.float32) for part in (*parts, b)))
        layers.append(dense_layer(int(d), int(m), name))
    return Factors(surrogates), layers


def assert_same(one: Factors, other: Factors) -> None:
    for name, surrogate in one.surrogates.items():
        for part in PARTS:
            mine, theirs = getattr(surrogate, part), getattr(other[name], part)
            assert mine.dtype == theirs.dtype == np.float32
            np.testing.assert_array_equal(mine, theirs)


@EVERY_PRECISION
def test_golden_bytes(bits: int) -> None:
    assert encode_factors(SMALL, LAYERS, bits) == bytes.fromhex(GOLDEN[bits])


@given(seed=SEEDS, bits=BITS, exponent=st.integers(-12, 12))
def test_values_come_back_to_half_a_step(seed: int, bits: int, exponent: int) -> None:
    factors, layers = drawn(seed, exponent)
    found = rounded(factors, layers, bits)
    for layer in layers:
        before, after = factors[layer.name], found[layer.name]
        np.testing.assert_array_equal(after.gain, before.gain)
        np.testing.assert_array_equal(after.offset, before.offset)
        for wide, narrow, b in (
            (before.a, after.a, bits),
            (before.b.T, after.b.T, bits_of_b(bits)),
        ):
            largest = np.abs(wide).max(axis=1, initial=0.0, keepdims=True)
            half_step = 2.0**-11 if b == 16 else 0.502 / (2 ** (b - 1) - 1)
            assert (np.abs(narrow - wide) <= half_step * largest).all()


@given(seed=SEEDS, bits=BITS, exponent=st.integers(-25, 25))
def test_what_came_back_once_is_stored_as_the_same_bytes(
    seed: int, bits: int, exponent: int
) -> None:
    factors, layers = drawn(seed, exponent)
    once = rounded(factors, layers, bits)
    assert_same(rounded(once, layers, bits), once)


@given(seed=SEEDS, bits=BITS)
def test_scaled_outputs_keep_the_codes_of_a(seed: int, bits: int) -> None:
    """The moment pass scales B, gain and offset between two roundings; A stays as it is."""
    factors, layers = drawn(seed)
    once = rounded(factors, layers, bits)
    generator = np.random.default_rng(seed)
    scaled = {
        layer.name: once[layer.name].then_scaled(
            generator.uniform(0.5, 2, layer.outputs).astype(np.float32),
            np.zeros(layer.outputs, np.float32),
        )
        for layer in layers
    }
    again = rounded(Factors(scaled), layers, bits)
    for layer in layers:
        np.testing.assert_array_equal(again[layer.name].a, once[layer.name].a)


@given(seed=SEEDS, bits=BITS)
def test_a_component_costs_what_is_said(seed: int, bits: int) -> None:
    factors, layers = drawn(seed)
    fixed = 8 + sum(12 + 8 * layer.outputs for layer in layers)
    components = sum(
        factors[layer.name].rank * component_bytes(layer, bits) for layer in layers
    )  # a row of an odd number of 4-bit codes is priced with its last half byte, which two rows share
    shared = sum(factors[layer.name].rank // 2 for layer in layers)
    assert 0 <= fixed + components - len(encode_factors(factors, layers, bits)) <= shared


@EVERY_PRECISION
def test_rows_of_zeros_and_of_numbers_next_to_zero_are_zero(bits: int) -> None:
    a = float32([0, 0, 0], [1e-38, -1e-40, 0], [1, 1e-12, 0])
    one = Surrogate(SMALL["one"].gain, SMALL["one"].offset, a, np.ones((2, 3), np.float32))
    found = rounded(SMALL.replaced("one", one), LAYERS, bits)["one"]
    np.testing.assert_array_equal(found.a, float32([0, 0, 0], [0, 0, 0], found.a[2]))
    np.testing.assert_allclose(found.a[2], [1, 0, 0], rtol=1e-4)


@EVERY_PRECISION
def test_the_largest_numbers_do_not_overflow(bits: int) -> None:
    largest = np.finfo(np.float32).max
    a = np.full((1, 3), largest, np.float32)
    one = Surrogate(SMALL["one"].gain, SMALL["one"].offset, a, SMALL["one"].b)
    found = rounded(SMALL.replaced("one", one), LAYERS, bits)["one"]
    np.testing.assert_allclose(found.a, a, rtol=1e-4)


@EVERY_PRECISION
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_factors_that_are_not_finite_are_not_stored(bits: int, part: str, bad: float) -> None:
    parts = {name: getattr(SMALL["one"], name).copy() for name in PARTS}
    parts[part].flat[0] = bad
    with pytest.raises(CalibError, match="layer one: the factors are not finite"):
        encode_factors(SMALL.replaced("one", Surrogate(**parts)), LAYERS, bits)


def test_other_precisions_are_refused() -> None:
    with pytest.raises(CalibError, match="16, 8 or 4 bits, not 5"):
        encode_factors(SMALL, LAYERS, 5)


@EVERY_PRECISION
def test_factors_cut_short_or_with_bytes_left_over_are_refused(bits: int) -> None:
    whole = encode_factors(SMALL, LAYERS, bits)
    for length in range(len(whole)):
        with pytest.raises(CalibError, match="calibrate again"):
            decode_factors(whole[:length], LAYERS)
    with pytest.raises(CalibError, match="bytes left over"):
        decode_factors(whole + b"\0", LAYERS)


@EVERY_PRECISION
def test_every_flipped_bit_gives_an_error_or_finite_factors(bits: int) -> None:
    whole = encode_factors(SMALL, LAYERS, bits)
    refused = 0
    for place in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        try:
            found = decode_factors(bytes(damaged), LAYERS)
        except CalibError:
            refused += 1
            continue
        for layer in LAYERS:
            surrogate = found[layer.name]
            assert surrogate.a.shape == (surrogate.rank, layer.inputs)
            assert surrogate.b.shape == (layer.outputs, surrogate.rank)
            assert all(np.isfinite(getattr(surrogate, part)).all() for part in PARTS)
    assert refused > 100


@given(payload=st.binary(max_size=200))
def test_no_bytes_give_anything_but_an_error_or_factors(payload: bytes) -> None:
    head = bytes.fromhex("0100 04 00 02000000")
    for damaged in (payload, head + payload):
        with pytest.raises(CalibError):
            decode_factors(damaged, LAYERS)


@pytest.mark.parametrize("scale", ["0000c07f", "0000807f"])
def test_a_scale_that_is_not_finite_is_refused(scale: str) -> None:
    whole = GOLDEN[8].replace("0000803d", scale)
    with pytest.raises(CalibError, match="layer one: stored factors are not finite"):
        decode_factors(bytes.fromhex(whole), LAYERS)


def test_factors_of_another_network_are_refused() -> None:
    whole = encode_factors(SMALL, LAYERS, 8)
    with pytest.raises(CalibError, match="for 2 layers do not fit this network of 1 layers"):
        decode_factors(whole, LAYERS[:1])
    other = [LAYERS[0], dense_layer(2, 4, "two")]
    with pytest.raises(CalibError, match=r"layer two: .* 2 inputs and 1 outputs, the network has"):
        decode_factors(whole, other)


def test_bytes_of_another_format_are_refused() -> None:
    later = b"\x02" + encode_factors(SMALL, LAYERS, 8)[1:]
    with pytest.raises(CalibError, match="factors of format 2"):
        decode_factors(later, LAYERS)

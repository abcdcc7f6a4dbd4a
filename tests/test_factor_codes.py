"""Factors as bytes: golden ones, back again bit for bit, and no damage that goes unnoticed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.errors import CalibError
from calib.factor_codes import (
    component_bytes,
    decode_factors,
    encode_factors,
    encoded_bytes,
    rounded,
)
from calib.factors import Factors, Surrogate
from calib.graph.linear import LinearLayer
from calib.precision import FLOAT_BITS, PRECISIONS, bits_of_b
from tests.small_networks import dense_layer

Array = np.ndarray[Any, Any]
PARTS = ("gain", "offset", "a", "b")
SEEDS = st.integers(0, 2**32 - 1)
BITS = st.sampled_from(PRECISIONS)
EVERY_PRECISION = pytest.mark.parametrize("bits", PRECISIONS)


def float32(*values: Any) -> Array:
    return np.array(values, np.float32)


LAYERS = [dense_layer(3, 2, "one"), dense_layer(2, 1, "two")]
ROW = float32(7, -3.5, 1)
COLUMN = float32(1, -0.5)
GAIN, OFFSET = float32(1.5, -2), float32(0.25, 0)


def small(*bits: int, groups: int = 1) -> Factors:
    """The same row of A and column of B in each of the first layer's components."""
    a, b = np.tile(ROW, (groups * len(bits), 1)), np.tile(COLUMN[:, None], len(bits))
    plain = Surrogate(float32(1), float32(3), np.zeros((0, 2), "<f4"), np.zeros((1, 0), "<f4"))
    return Factors({"one": Surrogate(GAIN, OFFSET, a, b, bits), "two": plain})


HEAD = "0200 0000 02000000"
FIRST = "0000 03000000 02000000"
PLAIN = "00000040 0000803e 003a 00bc 003c 0000"
SECOND = "0000 0000 02000000 01000000 0000803f 00004040 003c 003c"
ROWS = {
    16: ("0000e040", "003c 00b8 9230"),
    8: ("0000803d", "70 c8 10"),
    6: ("0000803e", "9c 4c 00"),
    5: ("0000003f", "2e 0b"),
    4: ("0000803f", "c7 01"),
    3: ("00551540", "33 00"),
}
"""Step and codes of 7, -3.5, 1: with 8 bits 112, -56 and 16 times 1/16; with 6 28, -14 and 4 times
1/4; with 5 14, -7 and 2 times 1/2; with 4 7, -4 and 1, the second rounded; with 3 3, -2 and 0 times
7/3 cut to 16 significant bits."""
COLUMNS = {
    16: ("0000803f", "003c 00b8"),
    8: ("0000803c", "40 e0"),
    6: ("0000803c", "40 e0"),
    5: ("0000003d", "20 38"),
    4: ("0000803d", "10 0e"),
    3: ("0000003e", "88 03"),
}
"""Step and codes of 1, -0.5, by A's bits: B has two more, but at most 8, or 16 beside 16."""


def golden(*bits: int, groups: int = 1) -> bytes:
    """What `small` is stored as, put together from what is written above."""
    rank, each = f"{len(bits):02x} 00", "".join(f"{one:02x}" for one in bits)
    parts = [HEAD, rank, FIRST, each, PLAIN]
    for one, times in ((ROWS, groups), (COLUMNS, 1)):
        parts += [one[b][0] for b in bits] * times + [one[b][1] for b in bits] * times
    return bytes.fromhex("".join([*parts, SECOND]))


def layers_of(groups: int) -> list[LinearLayer]:
    weight = np.ones((groups, 3, 2 // groups), np.float32)
    return [replace(LAYERS[0], weight=weight), LAYERS[1]]


def drawn_bits(generator: np.random.Generator, rank: int) -> tuple[int, ...]:
    return tuple(int(one) for one in generator.choice(PRECISIONS, rank))


def drawn(seed: int, exponent: int = 0) -> tuple[Factors, list[LinearLayer]]:
    """Factors of two layers of random sizes, ranks from 0, mixed bits, one of them grouped.

    Their rows are of very different size.
    """
    generator = np.random.default_rng(seed)
    layers, surrogates = [], {}
    for name, groups in (("one", 1), ("two", int(generator.integers(1, 4)))):
        d, each, rank = generator.integers(1, 20, 3) - np.array([0, 0, 1])
        m = int(each) * groups
        sizes = 10.0 ** (exponent + generator.uniform(-3, 3, (groups * rank, 1)))
        a = generator.standard_normal((groups * rank, d)) * sizes
        b, gain, offset = (generator.standard_normal(size) for size in ((m, rank), m, m))
        surrogates[name] = Surrogate(
            gain=gain.astype(np.float32),
            offset=offset.astype(np.float32),
            a=a.astype(np.float32),
            b=b.astype(np.float32),
            bits=drawn_bits(generator, rank),
        )
        weight = np.ones((groups, d, each), np.float32)
        layers.append(replace(dense_layer(int(d), m, name), weight=weight))
    return Factors(surrogates), layers


def assert_same(one: Factors, other: Factors) -> None:
    for name, surrogate in one.surrogates.items():
        assert surrogate.bits == other[name].bits
        for part in PARTS:
            mine, theirs = getattr(surrogate, part), getattr(other[name], part)
            assert mine.dtype == theirs.dtype == np.float32
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("bits", [(), *((one,) for one in PRECISIONS), (8, 3, 16, 5, 4, 6)])
@pytest.mark.parametrize("groups", [1, 2])
def test_golden_bytes(bits: tuple[int, ...], groups: int) -> None:
    layers = layers_of(groups if bits else 1)
    payload = golden(*bits, groups=groups)
    assert encode_factors(small(*bits, groups=groups), layers) == payload
    found = decode_factors(payload, layers)
    assert found["one"].bits == bits
    assert encode_factors(found, layers) == payload


def test_the_golden_bytes_mean_what_is_written_beside_them() -> None:
    found = decode_factors(golden(16, 8, 6, 5, 4, 3), LAYERS)["one"]
    third = np.frombuffer(bytes.fromhex(ROWS[3][0]), "<f4")[0]
    coarse = [[7, -4, 1], [3 * third, -2 * third, 0]]
    np.testing.assert_array_equal(found.a[1:], [[7, -3.5, 1]] * 3 + coarse)
    np.testing.assert_allclose(found.a[0], ROW, rtol=2.0**-11)
    np.testing.assert_array_equal(found.b, np.tile(COLUMN[:, None], 6))
    np.testing.assert_array_equal(found.gain, GAIN)
    np.testing.assert_array_equal(found.offset, OFFSET)


def test_factors_whose_bits_are_not_decided_are_stored_with_sixteen() -> None:
    undecided = small(16, 16)
    undecided = undecided.replaced("one", replace(undecided["one"], bits=()))
    assert encode_factors(undecided, LAYERS) == golden(16, 16)
    assert rounded(undecided, LAYERS)["one"].bits == (16, 16)


def assert_near(wide: Array, narrow: Array, bits: Sequence[int]) -> None:
    """Each row to half a step of its own bits."""
    largest = np.abs(wide).max(axis=1, initial=0.0, keepdims=True)
    steps = [2.0**-11 if b == FLOAT_BITS else 0.502 / (2 ** (b - 1) - 1) for b in bits]
    allowed = np.array(steps).reshape(-1, 1) * largest
    assert (np.abs(narrow - wide) <= allowed).all()


@given(seed=SEEDS, exponent=st.integers(-12, 12))
def test_values_come_back_to_half_a_step(seed: int, exponent: int) -> None:
    factors, layers = drawn(seed, exponent)
    found = rounded(factors, layers)
    for layer in layers:
        before, after = factors[layer.name], found[layer.name]
        assert after.bits == before.bits
        for part in ("gain", "offset"):
            wide, narrow = (getattr(one, part)[None] for one in (before, after))
            assert_near(wide, narrow, [FLOAT_BITS])
        assert_near(before.a, after.a, before.bits * layer.groups)
        assert_near(before.b.T, after.b.T, [bits_of_b(one) for one in before.bits])


@given(seed=SEEDS, exponent=st.integers(-25, 25))
def test_what_came_back_once_comes_back_bit_for_bit(seed: int, exponent: int) -> None:
    factors, layers = drawn(seed, exponent)
    once = rounded(factors, layers)
    assert_same(rounded(once, layers), once)


@given(seed=SEEDS)
def test_scaled_outputs_keep_the_codes_of_a(seed: int) -> None:
    """The moment pass scales B, gain and offset between two roundings; A stays as it is."""
    factors, layers = drawn(seed)
    once = rounded(factors, layers)
    generator = np.random.default_rng(seed)
    scaled = {
        layer.name: once[layer.name].then_scaled(
            generator.uniform(0.5, 2, layer.outputs).astype(np.float32),
            np.zeros(layer.outputs, np.float32),
        )
        for layer in layers
    }
    again = rounded(Factors(scaled), layers)
    for layer in layers:
        assert again[layer.name].bits == once[layer.name].bits
        np.testing.assert_array_equal(again[layer.name].a, once[layer.name].a)


@given(seed=SEEDS)
def test_what_is_said_to_be_taken_is_exact(seed: int) -> None:
    factors, layers = drawn(seed)
    bits = {layer.name: factors[layer.name].bits for layer in layers}
    fixed = 8 + sum(20 + 4 * layer.outputs for layer in layers)
    components = sum(component_bytes(layer, one) for layer in layers for one in bits[layer.name])
    assert fixed + components == encoded_bytes(layers, bits) == len(encode_factors(factors, layers))


@pytest.mark.parametrize(
    ("groups", "bits", "size"),
    [
        (1, 3, 1 + (4 + 2) + (4 + 2)),  # 9 bits of A, 10 of B
        (1, 4, 1 + (4 + 2) + (4 + 2)),
        (1, 8, 1 + (4 + 3) + (4 + 2)),
        (1, 16, 1 + (4 + 6) + (4 + 4)),
        (2, 5, 1 + 2 * (4 + 2) + (4 + 2)),  # 15 bits of A in each group, 14 of B
    ],
)
def test_a_component_takes_a_byte_its_rows_and_their_steps(
    groups: int, bits: int, size: int
) -> None:
    assert component_bytes(layers_of(groups)[0], bits) == size


@EVERY_PRECISION
def test_rows_of_zeros_and_of_numbers_next_to_zero_are_zero(bits: int) -> None:
    a = float32([0, 0, 0], [1e-38, -1e-40, 0], [1, 1e-12, 0])
    one = Surrogate(GAIN, OFFSET, a, np.ones((2, 3), np.float32), (bits,) * 3)
    found = rounded(small().replaced("one", one), LAYERS)["one"]
    np.testing.assert_array_equal(found.a, float32([0, 0, 0], [0, 0, 0], found.a[2]))
    np.testing.assert_allclose(found.a[2], [1, 0, 0], rtol=1e-4)


@EVERY_PRECISION
def test_the_largest_numbers_do_not_overflow(bits: int) -> None:
    largest = np.full((1, 3), np.finfo(np.float32).max, np.float32)
    one = Surrogate(largest[0, :2], -largest[0, :2], largest, largest[:, :2].T, (bits,))
    found = rounded(small().replaced("one", one), LAYERS)["one"]
    for part in PARTS:
        np.testing.assert_allclose(getattr(found, part), getattr(one, part), rtol=1e-4)


@pytest.mark.parametrize("exponent", [-30, -6, 0, 6, 30])
def test_gain_and_offset_are_kept_to_eleven_bits_whatever_their_size(exponent: int) -> None:
    gain, offset = float32(1.2345, 0.7654) * np.float32(10.0**exponent), float32(-0.3, 1e-3)
    one = replace(small(4)["one"], gain=gain, offset=offset)
    found = rounded(small(4).replaced("one", one), LAYERS)["one"]
    np.testing.assert_allclose(found.gain, gain, rtol=2.0**-11)
    np.testing.assert_allclose(found.offset, offset, rtol=2.0**-11)


@EVERY_PRECISION
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_factors_that_are_not_finite_are_not_stored(bits: int, part: str, bad: float) -> None:
    one = small(bits)["one"]
    spoilt = getattr(one, part).copy()
    spoilt.flat[0] = bad
    changed: Any = {part: spoilt}
    with pytest.raises(CalibError, match="layer one: the factors are not finite"):
        encode_factors(small(bits).replaced("one", replace(one, **changed)), LAYERS)


@pytest.mark.parametrize("bits", [(7,), (0,), (4, 4), (4, 9)])
def test_other_precisions_and_another_number_of_them_are_refused(bits: tuple[int, ...]) -> None:
    rank = 2 if bits == (4, 9) else 1
    one = replace(small(*(4,) * rank)["one"], bits=bits)
    said = rf"layer one: {rank} comp.*\b{bits[-1]}\] .* 3, 4, .*, 16"
    with pytest.raises(CalibError, match=said):
        encode_factors(small().replaced("one", one), LAYERS)


@pytest.mark.parametrize("bits", [(16,), (8,), (4,), (3,), (8, 3, 16, 5, 4, 6)])
def test_factors_cut_short_or_with_bytes_left_over_are_refused(bits: tuple[int, ...]) -> None:
    whole = golden(*bits)
    for length in range(len(whole)):
        with pytest.raises(CalibError, match="calibrate again"):
            decode_factors(whole[:length], LAYERS)
    with pytest.raises(CalibError, match="bytes left over"):
        decode_factors(whole + b"\0", LAYERS)


@pytest.mark.parametrize("bits", [(16,), (8,), (6, 4), (5, 3)])
def test_every_flipped_bit_gives_an_error_or_finite_factors(bits: tuple[int, ...]) -> None:
    whole = golden(*bits)
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
            assert len(surrogate.bits) == surrogate.rank
            assert surrogate.a.shape == (surrogate.rank, layer.inputs)
            assert surrogate.b.shape == (layer.outputs, surrogate.rank)
            assert all(np.isfinite(getattr(surrogate, part)).all() for part in PARTS)
    assert refused > 200


@given(payload=st.binary(max_size=200))
def test_no_bytes_give_anything_but_an_error_or_factors(payload: bytes) -> None:
    for damaged in (payload, bytes.fromhex(HEAD) + payload):
        with pytest.raises(CalibError):
            decode_factors(damaged, LAYERS)


@pytest.mark.parametrize("scale", ["0000c07f", "0000807f"])
@pytest.mark.parametrize("sound", [ROWS[8][0], COLUMNS[8][0], PLAIN[:8]])
def test_a_scale_that_is_not_finite_is_refused(sound: str, scale: str) -> None:
    whole = golden(8).replace(bytes.fromhex(sound), bytes.fromhex(scale))
    assert whole != golden(8)
    with pytest.raises(CalibError, match="layer one: stored factors are not finite"):
        decode_factors(whole, LAYERS)


@pytest.mark.parametrize("bits", [0, 2, 7, 9, 15, 17, 255])
def test_stored_bits_that_cannot_be_are_refused(bits: int) -> None:
    whole = bytearray(golden(4, 4))
    whole[20] = bits
    with pytest.raises(CalibError, match=rf"layer one: .* {bits} bits, .* calibrate again"):
        decode_factors(bytes(whole), LAYERS)


def test_factors_of_another_network_are_refused() -> None:
    whole = golden(8)
    with pytest.raises(CalibError, match="for 2 layers do not fit this network of 1 layers"):
        decode_factors(whole, LAYERS[:1])
    other = [LAYERS[0], dense_layer(2, 4, "two")]
    with pytest.raises(CalibError, match=r"layer two: .* 2 inputs and 1 outputs, the network has"):
        decode_factors(whole, other)


@pytest.mark.parametrize("version", [1, 3])
def test_bytes_of_another_format_are_refused(version: int) -> None:
    other = bytes([version]) + golden(8)[1:]
    with pytest.raises(CalibError, match=f"factors of format {version} .* calibrate again"):
        decode_factors(other, LAYERS)

"""Tiles, slices and signed converters of analog memories, against loops and against the product."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from device_models.array import ArrayWeights, Chip, State, program
from device_models.contract import Placement
from device_models.errors import DeviceModelError
from device_models.memories.analog_array import CACHE_FLOATS
from device_models.memories.analog_periphery import AnalogPeriphery, Memory
from device_models.memories.differential_pair import differential_pairs
from device_models.memories.generic import GenericMemory, conductances
from device_models.memories.product import Ideal, Mismatch
from device_models.presets import preset, presets
from tests.analog_oracle import Bench, analog

MEMORIES = [
    one.model for one in presets() if isinstance(one.model, Memory) and one.model.periphery is None
]
BARE = AnalogPeriphery(adc_bits=None)
GENERIC = GenericMemory(deviation=0.03, g_min=0.2)


def layer_of(
    rng: np.random.Generator,
    shape: tuple[int, int, int] = (2, 30, 3),
    bits: int = 8,
    block_rows: int = 30,
    *,
    book: bool = False,
) -> ArrayWeights:
    groups, inputs, outputs = shape
    scales = rng.uniform(0.01, 0.1, (groups, -(-inputs // block_rows), outputs))
    if book:
        levels = rng.uniform(-1, 1, 1 << bits).astype(np.float32)
        codes = rng.integers(0, 1 << bits, shape).astype(np.int8)
        return ArrayWeights(codes, scales.astype(np.float32), block_rows, bits, levels)
    half = 1 << (bits - 1)
    codes = rng.integers(-half, half, shape).astype(np.int8)
    return ArrayWeights(codes, scales.astype(np.float32), block_rows, bits)


def inputs_of(
    rng: np.random.Generator, weights: ArrayWeights, n: int = 4, bits: int = 8
) -> NDArray[np.uint8]:
    return rng.integers(0, 1 << bits, (n, *weights.codes.shape[:2])).astype(np.uint8)


PERIPHERIES = st.builds(
    AnalogPeriphery,
    rows=st.integers(1, 40),
    dac_bits=st.integers(1, 8),
    adc_bits=st.none() | st.integers(2, 10),
    adc_range=st.sampled_from(("fraction", "calibrated")),
    full_scale=st.floats(0.02, 1.5),
    column_gain_sigma=st.sampled_from((0.0, 0.1)),
    column_offset=st.sampled_from((0.0, 0.05)),
    inl_steps=st.sampled_from((0.0, 1.5)),
    sar_sigma=st.sampled_from((0.0, 0.2)),
    ir_drop=st.sampled_from((0.0, 0.3)),
    stuck_at_off=st.sampled_from((0.0, 0.1)),
    stuck_at_on=st.sampled_from((0.0, 0.1)),
)


LOSSLESS_PERIPHERIES = PERIPHERIES.map(
    lambda one: replace(one, adc_range="lossless", full_scale=1.0, adc_bits=one.adc_bits and 16)
)


@given(
    periphery=PERIPHERIES | LOSSLESS_PERIPHERIES,
    book=st.booleans(),
    block_rows=st.integers(3, 30),
    input_bits=st.integers(2, 8),
    seed=st.integers(0, 2**32),
)
def test_an_array_is_what_loops_over_its_cells_give(
    *, periphery: AnalogPeriphery, book: bool, block_rows: int, input_bits: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    book = book and periphery.adc_range != "lossless"
    weights = layer_of(rng, (2, 13, 2), 4, block_rows, book=book)
    codes, typical = (inputs_of(rng, weights, 2, input_bits) for _ in range(2))
    zero_point = int(rng.integers(0, 1 << input_bits))
    placement = Placement(seed, State(), "a", weights, input_bits)
    held = conductances(GENERIC, differential_pairs(placement), 0.0)
    bench = Bench(periphery, weights, held, GENERIC.g_min, 1.0, seed, "a")
    chip = Chip(replace(GENERIC, periphery=periphery), seed)
    array = program(
        chip, State(), "a", weights, input_bits, typical=lambda: typical, zero_point=zero_point
    )
    got = array.multiply(codes, zero_point, rng)
    wanted = analog(bench, codes, zero_point, input_bits, typical)
    tolerance = 2e-5 * np.abs(wanted.result).max() + 1e-4
    assert (np.abs(got - wanted.result) <= tolerance + wanted.slack).all()
    assert got.flags.c_contiguous


@pytest.mark.parametrize("model", MEMORIES, ids=lambda model: model.kind)
@pytest.mark.parametrize("dac_bits", [1, 3, 8])
def test_without_converters_and_errors_the_tiles_give_the_product(
    model: Any, dac_bits: int
) -> None:
    quiet = {name: 0.0 for name in ("read_noise", "read_spread_na") if hasattr(model, name)}
    model, rng = replace(model, **quiet), np.random.default_rng(3)
    for block_rows in (12, 30):
        weights = layer_of(rng, block_rows=block_rows, book=block_rows == 12, bits=4)
        codes = inputs_of(rng, weights)
        product, tiles = (
            program(Chip(replace(model, periphery=one), 2), State(1e4), "a", weights, 8)
            for one in (None, replace(BARE, rows=7, dac_bits=dac_bits))
        )
        expected = product.multiply(codes, 101, rng)
        bound = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(tiles.multiply(codes, 101, rng), expected, atol=bound)


@given(
    rows=st.integers(1, 20),
    dac_bits=st.integers(1, 4),
    block_rows=st.integers(1, 20),
    zero_point=st.integers(0, 255),
    seed=st.integers(0, 2**32),
)
def test_a_lossless_range_on_ideal_cells_loses_nothing(
    rows: int, dac_bits: int, block_rows: int, zero_point: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    weights = layer_of(rng, (1, 20, 3), 4, block_rows)
    weights = replace(weights, scales=np.ones_like(weights.scales))
    codes = inputs_of(rng, weights)
    chip = Ideal(periphery=AnalogPeriphery(rows, dac_bits, adc_bits=13, adc_range="lossless"))
    got = program(Chip(chip), State(), "a", weights, 8).multiply(codes, zero_point, rng)
    exact = (codes[:, 0].astype(int) - zero_point) @ weights.codes[0].astype(int)
    np.testing.assert_allclose(got[:, 0], exact, rtol=1e-6, atol=1e-3)


def test_a_lossless_range_takes_away_deviations_below_half_a_code() -> None:
    rng = np.random.default_rng(8)
    weights = layer_of(rng, (1, 16, 40), 4, 16)
    codes = inputs_of(rng, weights, 50)
    lossless = AnalogPeriphery(16, 1, adc_bits=9, adc_range="lossless")
    ideal, chip, bare = (
        program(Chip(model), State(), "a", weights, 8).multiply(codes, 0, rng)
        for model in (Ideal(), Mismatch(0.8, periphery=lossless), Mismatch(0.8))
    )
    assert np.abs(bare - ideal).max() > 0.1
    np.testing.assert_allclose(chip, ideal, rtol=1e-5, atol=1e-3)


@given(periphery=PERIPHERIES, seed=st.integers(0, 2**32))
def test_inputs_of_the_other_sign_give_results_of_the_other_sign(
    periphery: AnalogPeriphery, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    weights = layer_of(rng, bits=4)
    chip = Chip(Mismatch(periphery=replace(periphery, column_offset=0.0)))
    codes = rng.integers(1, 256, (3, 2, 30)).astype(np.uint8)
    array = program(chip, State(), "a", weights, 8, typical=lambda: codes, zero_point=128)
    one, other = (array.multiply(x, 128, rng) for x in (codes, np.uint8(0) - codes))
    np.testing.assert_array_equal(one, -other)


def test_sums_beyond_the_full_scale_are_clipped_at_either_end() -> None:
    weights = ArrayWeights(np.full((1, 8, 1), 7, np.int8), np.ones((1, 1, 1), np.float32), 8, 4)
    chip = Ideal(periphery=AnalogPeriphery(8, adc_range="fraction", full_scale=0.25))
    array = program(Chip(chip), State(), "a", weights, 8)
    codes = np.array([[[255] * 8], [[0] * 8], [[128] * 8]], np.uint8)
    got = array.multiply(codes, 128, np.random.default_rng(0))
    top = 0.25 * 8 * 255 * 7
    np.testing.assert_allclose(got.ravel(), [top, -top, 0.0], rtol=1e-6)


def test_a_calibrated_range_ends_at_the_largest_typical_sum() -> None:
    rng = np.random.default_rng(4)
    weights = layer_of(rng, (1, 40, 6), block_rows=40)
    typical = inputs_of(rng, weights, 30) // np.uint8(2)
    model = AnalogPeriphery(rows=64, adc_bits=12)
    array = program(
        Chip(Mismatch(periphery=model)), State(), "a", weights, 8,
        typical=lambda: typical, zero_point=60,
    )  # fmt: skip
    bare = program(Chip(Mismatch()), State(), "a", weights, 8)
    expected = bare.multiply(typical, 60, rng)
    reach = np.abs(expected / weights.scales[:, 0]).max()
    steps = np.abs(array.multiply(typical, 60, rng) - expected) / weights.scales[:, 0]
    assert steps.max() <= 0.5001 * reach / (2**11 - 1)
    loud = np.clip(typical.astype(int) * 4, 0, 255).astype(np.uint8)
    got = array.multiply(loud, 60, rng) / weights.scales[:, 0]
    assert np.abs(got).max() == pytest.approx(reach, rel=1e-5)


def test_a_layer_that_is_never_driven_takes_the_whole_range() -> None:
    rng = np.random.default_rng(4)
    weights = layer_of(rng)
    codes = inputs_of(rng, weights)
    whole, never = (
        program(Chip(Ideal(periphery=AnalogPeriphery(adc_range=word))), State(), "a", weights, 8,
                typical=lambda: np.zeros_like(codes))
        for word in ("fraction", "calibrated")
    )  # fmt: skip
    np.testing.assert_array_equal(whole.multiply(codes, 9, rng), never.multiply(codes, 9, rng))


@pytest.mark.parametrize("name", ["codes", "scales"])
def test_layers_and_columns_of_zeros_give_zeros(name: str) -> None:
    rng = np.random.default_rng(4)
    weights = layer_of(rng)
    zeros = np.zeros_like(getattr(weights, name))
    weights = replace(weights, **{name: zeros})
    codes = inputs_of(rng, weights)
    for model in (preset("pcm-adc8"), replace(preset("sonos"), periphery=AnalogPeriphery())):  # type: ignore[type-var]  # both are dataclasses
        array = program(Chip(model), State(), "a", weights, 8, typical=lambda: codes)
        got = array.multiply(codes, 0, rng)
        assert np.isfinite(got).all()
        assert name == "codes" or not got.any()


def test_blocks_of_inputs_do_not_change_the_result() -> None:
    rng = np.random.default_rng(6)
    weights = layer_of(rng, (1, 64, 16), 4, 64)
    chip = Chip(Ideal(periphery=AnalogPeriphery(16, 2, adc_bits=10, adc_range="lossless")))
    array = program(chip, State(), "a", weights, 8)
    codes = inputs_of(rng, weights, 2 * CACHE_FLOATS // (4 * 64) + 3)
    whole = array.multiply(codes, 5, rng)
    pieces = [array.multiply(part, 5, rng) for part in np.array_split(codes, 7)]
    assert np.array_equal(whole, np.concatenate(pieces))
    assert array.multiply(codes[:0], 5, rng).shape == (0, 1, 16)


def test_the_cells_are_those_of_the_bare_chip_and_effects_do_not_move_each_other() -> None:
    rng = np.random.default_rng(6)
    weights = layer_of(rng)
    eye = np.repeat(np.eye(30, dtype=np.uint8)[:, None], 2, axis=1)
    pcm: Any = preset("pcm")

    def held(periphery: AnalogPeriphery | None) -> NDArray[np.float32]:
        chip = Chip(replace(pcm, periphery=periphery), 9)
        return program(chip, State(1e6), "a", weights, 8).multiply(eye, 0, rng)

    bare = held(None)
    np.testing.assert_allclose(held(BARE), bare, rtol=1e-5, atol=1e-5)
    faulty = held(replace(BARE, stuck_at_off=0.02))
    assert 0 < np.mean(np.abs(faulty - bare) > 1e-3) < 0.06
    amplified = held(replace(BARE, column_gain_sigma=0.1))
    gains = amplified.sum(axis=0) / bare.sum(axis=0)
    np.testing.assert_allclose(amplified, bare * gains, rtol=1e-3, atol=1e-4)
    both = held(replace(BARE, column_gain_sigma=0.1, stuck_at_off=0.02))
    np.testing.assert_allclose(both, faulty * gains, rtol=1e-3, atol=1e-4)


LOSSLESS = AnalogPeriphery(16, 1, adc_bits=8, adc_range="lossless")


@pytest.mark.parametrize(
    ("periphery", "bits", "book", "words"),
    [
        (AnalogPeriphery(), 8, False, "layer conv: a calibrated range needs typical inputs"),
        (LOSSLESS, 8, False, "lossless range of 2048 .* needs 13 periphery.adc_bits, .* are 8"),
        (LOSSLESS, 4, True, "conv: a lossless range needs weights in whole numbers"),
    ],
)
def test_ranges_that_cannot_be_had_are_refused(
    *, periphery: AnalogPeriphery, bits: int, book: bool, words: str
) -> None:
    weights = layer_of(np.random.default_rng(0), bits=bits, book=book)
    weights.codes[0, 0, 0] = 0 if book else -(1 << (bits - 1))
    with pytest.raises(DeviceModelError, match=words) as caught:
        program(Chip(Ideal(periphery=periphery)), State(), "conv", weights, 8)
    assert "\n" not in str(caught.value)


def test_a_zero_point_that_is_no_code_is_refused() -> None:
    weights = layer_of(np.random.default_rng(0))
    array = program(Chip(Ideal(periphery=BARE)), State(), "a", weights, 4)
    with pytest.raises(DeviceModelError, match="zero point of 16 is no code of 4 bits"):
        array.multiply(np.zeros((1, 2, 30), np.uint8), 16, np.random.default_rng(0))

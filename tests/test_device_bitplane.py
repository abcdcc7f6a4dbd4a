"""Bit-plane SRAM: against the bit-by-bit oracle, and its short cuts against the full path."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from device_models.array import ArrayWeights, Chip, State, program
from device_models.contract import Placement
from device_models.errors import DeviceModelError
from device_models.sram.bitplane import BitPlaneSram, program_planes
from device_models.sram.converter import converter
from device_models.sram.plane_array import CACHE_FLOATS, PlaneArray
from device_models.sram.read_noise import ReadNoise, read_noise
from device_models.sram.shortcuts import LinearArray, LosslessArray
from tests.device_oracle import bitplane

PERFECT = BitPlaneSram(
    rows=255,
    adc_bits=8,
    cell_sigma=0.0,
    column_gain_sigma=0.0,
    column_offset_counts=0.0,
    read_noise_counts=0.0,
    temperature_gain_per_k=0.0,
    temperature_spread_per_k=0.0,
)
STATIC = replace(BitPlaneSram(), read_noise_counts=0.0)
ROUGH = replace(
    STATIC, rows=5, adc_bits=2, cell_sigma=0.3, column_gain_sigma=0.1, column_offset_counts=0.4
)
COOL = State()
WARM = State(temperature_c=75.0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def weights_of(
    rng: np.random.Generator,
    shape: tuple[int, int, int] = (2, 11, 3),
    bits: int = 8,
    block_rows: int | None = None,
    codebook: NDArray[np.float32] | None = None,
) -> ArrayWeights:
    groups, inputs, outputs = shape
    block_rows = block_rows or inputs
    low, high = -(1 << (bits - 1)), 1 << (bits - 1)
    if codebook is not None:
        low, high = 0, len(codebook)
    blocks = -(-inputs // block_rows)
    return ArrayWeights(
        codes=rng.integers(low, high, shape).astype(np.int8),
        scales=rng.uniform(0.01, 0.1, (groups, blocks, outputs)).astype(np.float32),
        block_rows=block_rows,
        bits=bits,
        codebook=codebook,
    )


def inputs_of(
    rng: np.random.Generator, weights: ArrayWeights, n: int = 3, bits: int = 8
) -> NDArray[np.uint8]:
    groups, rows, _ = weights.codes.shape
    return rng.integers(0, 1 << bits, (n, groups, rows)).astype(np.uint8)


def full_path(
    chip: Chip, state: State, layer: str, weights: ArrayWeights, input_bits: int = 8
) -> PlaneArray:
    return program_planes(chip.model, Placement(chip.seed, state, layer, weights, input_bits))


BOOK = np.array([-1.0, -0.53, -0.28, -0.09, 0.0, 0.08, 0.34, 0.72], np.float32)


@pytest.mark.parametrize("state", [COOL, WARM], ids=["25C", "75C"])
@pytest.mark.parametrize(
    "model",
    [
        STATIC,
        ROUGH,
        replace(ROUGH, adc_bits=None),
        replace(ROUGH, adc_bits=3, full_scale=0.5),
        replace(ROUGH, column_offset_counts=3.0),
        replace(ROUGH, adc_bits=6),
        replace(ROUGH, dac_bits=3, adc_bits=5),
        replace(ROUGH, dac_bits=8, adc_bits=None),
        replace(ROUGH, inl_steps=0.8, adc_bits=4),
        replace(ROUGH, sar_sigma=0.4, adc_bits=4),
        replace(ROUGH, ir_drop=0.5, adc_bits=5),
        replace(ROUGH, ir_drop=0.5, adc_bits=None),
        replace(ROUGH, stuck_at_zero=0.2, stuck_at_one=0.1, adc_bits=5),
        replace(ROUGH, dac_bits=2, adc_bits=6, inl_steps=0.5, sar_sigma=0.2, ir_drop=0.3),
    ],
    ids=[
        "preset",
        "coarse",
        "no-adc",
        "half-range",
        "large-offset",
        "fine",
        "three-bit-drivers",
        "whole-inputs",
        "bow",
        "capacitors",
        "drop",
        "drop-no-adc",
        "stuck",
        "all",
    ],
)
@pytest.mark.parametrize(
    ("bits", "input_bits", "block_rows", "codebook"),
    [(8, 8, None, None), (4, 6, 4, None), (3, 5, 4, BOOK)],
    ids=["int8", "int4-blocks", "codebook"],
)
def test_array_is_the_formula(
    rng: np.random.Generator,
    model: BitPlaneSram,
    state: State,
    bits: int,
    input_bits: int,
    block_rows: int | None,
    codebook: NDArray[np.float32] | None,
) -> None:
    weights = weights_of(rng, bits=bits, block_rows=block_rows, codebook=codebook)
    codes = inputs_of(rng, weights, bits=input_bits)
    chip = Chip(model, seed=4)
    array = program(chip, state, "conv", weights, input_bits)
    got = array.multiply(codes, 7, rng)
    expected = bitplane(chip, state, "conv", weights, codes, 7, input_bits)
    reach = np.abs(expected.result).max()
    assert (np.abs(got - expected.result) <= expected.slack + 1e-5 * reach).all()
    assert (expected.slack == 0).mean() > 0.5


@given(
    groups=st.integers(1, 3),
    inputs=st.integers(1, 40),
    outputs=st.integers(1, 5),
    n=st.integers(0, 9),
    rows=st.integers(1, 40),
    bits=st.integers(2, 8),
    input_bits=st.integers(1, 8),
    block_rows=st.integers(1, 40),
    zero_point=st.integers(0, 255),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=60)
def test_perfect_array_is_the_exact_product_bit_for_bit(
    groups: int,
    inputs: int,
    outputs: int,
    n: int,
    rows: int,
    bits: int,
    input_bits: int,
    block_rows: int,
    zero_point: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    weights = weights_of(rng, (groups, inputs, outputs), bits, block_rows)
    codes = inputs_of(rng, weights, n, input_bits)
    chip = Chip(replace(PERFECT, rows=rows))
    short = program(chip, COOL, "a", weights, input_bits)
    full = full_path(chip, COOL, "a", weights, input_bits)
    assert isinstance(short, LosslessArray)
    shifted = codes.astype(np.int64) - zero_point
    exact = np.zeros((n, groups, outputs))
    for block, start in enumerate(range(0, inputs, block_rows)):
        part = slice(start, start + block_rows)
        product = np.einsum("ngd,gdm->ngm", shifted[..., part], weights.codes[:, part].astype(int))
        exact += product * weights.scales[:, block].astype(np.float64)
    for array in (short, full):
        assert np.array_equal(array.multiply(codes, zero_point, rng), exact.astype(np.float32))


def test_lossless_short_cut_stays_exact_where_float32_sums_are_not(
    rng: np.random.Generator,
) -> None:
    weights = ArrayWeights(
        np.full((1, 2000, 2), 127, np.int8), np.ones((1, 1, 2), np.float32), 2000, 8
    )
    codes = np.full((1, 1, 2000), 255, np.uint8)
    codes[0, 0, 0] = 254
    chip = Chip(PERFECT)
    for array in (program(chip, COOL, "a", weights, 8), full_path(chip, COOL, "a", weights)):
        exact = np.float32(127 * (2000 * 255 - 1) - 2000 * 127 * 255)
        assert (array.multiply(codes, 255, rng) == exact).all()


@pytest.mark.parametrize(
    ("change", "short"),
    [
        ({}, LosslessArray),
        ({"adc_range": "lossless"}, LosslessArray),
        ({"dac_bits": 2, "adc_bits": 10}, LosslessArray),
        ({"dac_bits": 2}, PlaneArray),
        ({"inl_steps": 0.1}, PlaneArray),
        ({"sar_sigma": 0.1}, PlaneArray),
        ({"nonlinear_noise_counts": 0.1}, PlaneArray),
        ({"ir_drop": 0.1, "adc_bits": None}, PlaneArray),
        ({"stuck_at_zero": 0.1}, PlaneArray),
        ({"stuck_at_one": 0.1, "adc_bits": None}, LinearArray),
        ({"adc_bits": None}, LosslessArray),
        ({"rows": 256}, PlaneArray),
        ({"full_scale": 0.5}, PlaneArray),
        ({"cell_sigma": 0.001}, PlaneArray),
        ({"column_offset_counts": 0.1}, PlaneArray),
        ({"column_gain_sigma": 0.1}, PlaneArray),
        ({"read_noise_counts": 0.1}, PlaneArray),
        ({"adc_bits": None, "cell_sigma": 0.001}, LinearArray),
        ({"adc_bits": None, "read_noise_counts": 0.1}, LinearArray),
    ],
)
def test_short_cuts_are_taken_only_where_they_are_exact(
    rng: np.random.Generator, change: dict[str, Any], short: type
) -> None:
    model = replace(PERFECT, **change)
    assert type(program(Chip(model), COOL, "a", weights_of(rng), 8)) is short


def test_a_warm_chip_whose_cells_fade_takes_no_short_cut(rng: np.random.Generator) -> None:
    chip = Chip(replace(PERFECT, temperature_gain_per_k=0.001))
    assert type(program(chip, WARM, "a", weights_of(rng), 8)) is PlaneArray
    assert type(program(chip, COOL, "a", weights_of(rng), 8)) is LosslessArray


@pytest.mark.parametrize("block_rows", [None, 4])
def test_effective_weights_equal_the_planes_without_a_converter(
    rng: np.random.Generator, block_rows: int | None
) -> None:
    model = replace(STATIC, adc_bits=None, rows=7, cell_sigma=0.2, column_offset_counts=2.0)
    weights = weights_of(rng, (3, 30, 4), block_rows=block_rows)
    codes = inputs_of(rng, weights, 50)
    chip = Chip(model, 1)
    short = program(chip, WARM, "a", weights, 8).multiply(codes, 9, rng)
    full = full_path(chip, WARM, "a", weights).multiply(codes, 9, rng)
    assert isinstance(program(chip, WARM, "a", weights, 8), LinearArray)
    np.testing.assert_allclose(short, full, rtol=1e-5, atol=1e-5 * np.abs(full).max())


def test_summed_read_noise_is_that_of_all_conversions(rng: np.random.Generator) -> None:
    model = replace(STATIC, adc_bits=None, rows=4, read_noise_counts=0.3)
    weights = weights_of(rng, (1, 10, 2), block_rows=5)
    codes = np.repeat(inputs_of(rng, weights, 1), 20_000, axis=0)
    chip = Chip(model)
    noises = []
    for array in (program(chip, COOL, "a", weights, 8), full_path(chip, COOL, "a", weights)):
        quiet = full_path(Chip(replace(model, read_noise_counts=0.0)), COOL, "a", weights)
        noises.append(array.multiply(codes, 0, rng) - quiet.multiply(codes[:1], 0, rng))
    for noise in noises:
        error = noise.std(axis=0) / np.sqrt(len(codes))
        assert (np.abs(noise.mean(axis=0)) < 5 * error).all()
    ratio = noises[0].std(axis=0) / noises[1].std(axis=0)
    assert (np.abs(ratio - 1) < 5 / np.sqrt(len(codes))).all()


@pytest.mark.parametrize(
    ("rows", "bits", "full_scale", "step", "top"),
    [
        (255, 8, 1.0, 1.0, 255),
        (256, 8, 1.0, 256 / 255, 255),
        (64, 8, 1.0, 0.5, 128),
        (64, 10, 1.0, 0.125, 512),
        (128, 8, 1.0, 1.0, 128),
        (64, 5, 1.0, 64 / 31, 31),
        (256, 8, 0.5, 1.0, 128),
        (1, 1, 1.0, 1.0, 1),
        (3, 3, 0.5, 0.25, 6),
    ],
)
def test_converter_steps(rows: int, bits: int, full_scale: float, step: float, top: int) -> None:
    chain = converter(full_scale * rows, bits, 0.5)
    assert (chain.step_counts, chain.top_code) == (pytest.approx(step), top)
    assert chain.noise_steps == pytest.approx(0.5 / step)


def test_noisy_conversion_gives_each_code_as_often_as_the_normal_law_says(
    rng: np.random.Generator,
) -> None:
    size = 200_000
    chain = converter(20, 5, 0.4)
    codes = chain.convert(np.full((size, 1), 10.3, np.float32), ReadNoise(rng))
    law = NormalDist(10.3, 0.4)
    for code in range(9, 13):
        share = law.cdf(code + 0.5) - law.cdf(code - 0.5)
        spread = np.sqrt(share * (1 - share) / size)
        assert abs((codes == code).mean() - share) < 5 * spread + 2 / 65_536


def test_read_noise_is_normal_and_independent(rng: np.random.Generator) -> None:
    noise = read_noise(rng, (4, 50_001), 2.0)
    assert noise.dtype == np.float32
    assert noise.std() == pytest.approx(2.0, rel=0.01)
    assert abs(noise.mean()) < 5 * 2 / np.sqrt(noise.size)
    assert ((noise / 2.0) ** 4).mean() == pytest.approx(3.0, rel=0.05)
    assert abs(np.corrcoef(noise[0, 1:], noise[0, :-1])[0, 1]) < 5 / np.sqrt(50_000)


def test_a_quiet_chip_draws_nothing_and_a_noisy_one_new_figures(rng: np.random.Generator) -> None:
    weights = weights_of(rng)
    codes = inputs_of(rng, weights)
    generator = np.random.default_rng(1)
    program(Chip(STATIC), COOL, "a", weights, 8).multiply(codes, 0, generator)
    assert generator.bit_generator.state == np.random.default_rng(1).bit_generator.state
    noisy = program(Chip(replace(STATIC, read_noise_counts=1.0)), COOL, "a", weights, 8)
    first, second = (noisy.multiply(codes, 0, generator) for _ in range(2))
    again = noisy.multiply(codes, 0, np.random.default_rng(1))
    assert (first != second).any()
    assert np.array_equal(first, again)


def test_rows_do_not_depend_on_their_neighbours(rng: np.random.Generator) -> None:
    """Input planes without a one, and blocks that stay in cache, must not show in the result."""
    weights = weights_of(rng, (2, 40, 3))
    n = 3 * CACHE_FLOATS // (8 * 2 * 8 * 3) // 2
    codes = inputs_of(rng, weights, n) >> rng.integers(0, 9, (n, 1, 1)).astype(np.uint8)
    array = program(Chip(replace(STATIC, column_offset_counts=2.0)), COOL, "a", weights, 8)
    together = array.multiply(codes, 3, rng)
    for row in (*range(5), n - 1):
        alone = array.multiply(codes[[row]], 3, rng)
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-6, atol=1e-4)


def test_inputs_of_zero_still_show_the_offsets(rng: np.random.Generator) -> None:
    weights = weights_of(rng)
    model = replace(STATIC, column_offset_counts=3.0)
    zeros = np.zeros((2, *weights.codes.shape[:2]), np.uint8)
    shown = program(Chip(model), COOL, "a", weights, 8).multiply(zeros, 0, rng)
    expected = bitplane(Chip(model), COOL, "a", weights, zeros, 0, 8)
    assert np.abs(shown).max() > 0
    np.testing.assert_allclose(shown, expected.result, rtol=1e-5)


def test_a_fine_converter_rounds_small_variation_away(rng: np.random.Generator) -> None:
    """Two per cent cells: the converter restores whole counts, no effective weights would."""
    model = replace(PERFECT, cell_sigma=0.02)
    weights = ArrayWeights(
        np.where(rng.random((1, 255, 64)) < 0.14, 1, 0).astype(np.int8),
        np.ones((1, 1, 64), np.float32),
        255,
        8,
    )
    codes = np.ones((20, 1, 255), np.uint8)
    exact = weights.codes.sum(axis=1)
    rough = replace(model, adc_bits=None)
    analog = program(Chip(rough), COOL, "a", weights, 8).multiply(codes, 0, rng) - exact
    digital = program(Chip(model), COOL, "a", weights, 8).multiply(codes, 0, rng) - exact
    assert analog.std() == pytest.approx(0.02 * np.sqrt(0.14 * 255), rel=0.3)
    assert np.abs(digital).mean() < 0.1 * np.abs(analog).mean()


def test_codebook_weights_are_written_in_eight_bits(rng: np.random.Generator) -> None:
    weights = weights_of(rng, (1, 64, 5), 4, 16, np.linspace(-1, 1, 16, dtype=np.float32) ** 3)
    codes = inputs_of(rng, weights, 30)
    got = program(Chip(PERFECT), COOL, "a", weights, 8).multiply(codes, 5, rng)
    shifted = codes.astype(np.float64) - 5
    nominal = np.einsum("ngd,gdm->ngm", shifted, weights.values().astype(np.float64))
    largest = np.repeat(weights.scales, 16, axis=1) / 254
    bound = np.einsum("ngd,gdm->ngm", np.abs(shifted), largest.astype(np.float64))
    assert (np.abs(got - nominal) <= bound * 1.0001).all()
    assert np.abs(got - nominal).max() > 0


def test_temperature_changes_the_pattern_and_age_does_not(rng: np.random.Generator) -> None:
    weights = weights_of(rng, (1, 200, 16))
    codes = inputs_of(rng, weights, 40)
    chip = Chip(replace(STATIC, adc_bits=None, temperature_spread_per_k=0.0005))
    cool = program(chip, COOL, "a", weights, 8).multiply(codes, 0, rng)
    old = program(chip, State(age_s=1e8), "a", weights, 8).multiply(codes, 0, rng)
    warm = program(chip, WARM, "a", weights, 8).multiply(codes, 0, rng)
    assert np.array_equal(cool, old)
    gain = (cool * warm).sum() / (cool * cool).sum()
    assert gain == pytest.approx(1 - 0.001 * 50, abs=0.02)
    assert np.abs(warm - gain * cool).mean() > 0.002 * np.abs(cool).mean()


def test_preset_is_within_the_exact_range_of_float32() -> None:
    with pytest.raises(DeviceModelError, match="rows is 513"):
        replace(PERFECT, rows=513)

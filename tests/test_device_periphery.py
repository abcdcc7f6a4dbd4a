"""What stands around the cells: ranges, noises, votes, stuck cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from device_models.array import ArrayWeights, Chip, State, program
from device_models.contract import Placement
from device_models.errors import DeviceModelError
from device_models.sram.bitplane import BitPlaneSram, program_planes
from device_models.sram.converter import converter
from device_models.sram.plane_array import PlaneArray
from device_models.sram.read_noise import ReadNoise
from tests.test_device_bitplane import PERFECT


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def weights_of(rng: np.random.Generator, rows: int = 200, outputs: int = 6) -> ArrayWeights:
    codes = rng.integers(-128, 128, (1, rows, outputs)).astype(np.int8)
    return ArrayWeights(codes, np.ones((1, 1, outputs), np.float32), rows, 8)


def planes(
    model: BitPlaneSram, weights: ArrayWeights, typical: NDArray[np.uint8] | None = None
) -> PlaneArray:
    placement = Placement(
        1, State(), "layer", weights, 8, None if typical is None else lambda: typical
    )
    return program_planes(model, placement)


def test_a_calibrated_range_reaches_as_far_as_typical_sums(rng: np.random.Generator) -> None:
    weights = weights_of(rng)
    typical = rng.integers(0, 40, (64, 1, 200)).astype(np.uint8)
    model = replace(PERFECT, adc_bits=5, adc_range="calibrated", cell_sigma=0.1)
    chain = planes(model, weights, typical).converter
    bits = np.stack([(typical[:, 0] >> p) & 1 for p in range(8)], axis=1).astype(float)
    cells = planes(replace(model, adc_bits=None), weights).columns[0].matrix[0, :-1]
    reach = (bits @ cells).max()
    assert chain.step_counts == pytest.approx(reach / 31, rel=1e-5)
    half = planes(replace(model, full_scale=0.5), weights, typical).converter
    assert half.step_counts == pytest.approx(reach / 62, rel=1e-5)


def test_a_calibrated_range_serves_small_sums_better(rng: np.random.Generator) -> None:
    weights = weights_of(rng)
    typical = (rng.random((64, 1, 200)) < 0.1).astype(np.uint8)
    codes = (rng.random((50, 1, 200)) < 0.1).astype(np.uint8)
    exact = codes[:, 0].astype(float) @ weights.codes[0]
    errors = []
    for adc_range in ("fraction", "calibrated"):
        model = replace(PERFECT, adc_bits=4, adc_range=adc_range)
        array = planes(model, weights, typical)
        errors.append(np.square(array.multiply(codes, 0, rng)[:, 0] - exact).mean())
    assert errors[1] < errors[0] / 10


def test_a_calibrated_range_never_exceeds_the_rows() -> None:
    weights = ArrayWeights(
        np.full((1, 200, 1), -1, np.int8), np.ones((1, 1, 1), np.float32), 200, 8
    )
    typical = np.full((3, 1, 200), 255, np.uint8)
    model = replace(PERFECT, rows=200, adc_range="calibrated", column_gain_sigma=2.0)
    assert planes(model, weights, typical).converter.top_code == 200
    silent = np.zeros((3, 1, 200), np.uint8)
    assert planes(model, weights, silent).converter.top_code is not None


def test_a_calibrated_range_needs_typical_inputs(rng: np.random.Generator) -> None:
    model = replace(PERFECT, adc_range="calibrated")
    with pytest.raises(DeviceModelError, match="layer layer: a calibrated range needs typical"):
        program(Chip(model), State(), "layer", weights_of(rng), 8)
    wrong = np.zeros((3, 1, 7), np.uint8)
    with pytest.raises(DeviceModelError, match=r"the array takes uint8 \[n, 1, 200\]"):
        planes(model, weights_of(rng), wrong)


def test_non_linearity_noise_falls_with_the_sum(rng: np.random.Generator) -> None:
    chain = converter(200, None, 0.0, 3.0)
    for total in (0.0, 3.0, 99.0):
        sums = np.full((1, 100_000), total, np.float32)
        found = chain.convert(sums, ReadNoise(rng)).std()
        assert found == pytest.approx(3.0 / np.sqrt(total + 1), rel=0.02)
    both = converter(200, None, 4.0, 3.0)
    found = both.convert(np.zeros((1, 100_000), np.float32), ReadNoise(rng)).std()
    assert found == pytest.approx(5.0, rel=0.02)


@pytest.mark.parametrize("reads", [3, 7])
def test_a_majority_is_the_median_of_its_reads(rng: np.random.Generator, reads: int) -> None:
    size = 40_000
    single, voted = (converter(50, 6, 0.8, 0.0, count) for count in (1, reads))
    once = single.convert(np.full((reads, size), 20.2, np.float32), ReadNoise(rng))
    expected = np.bincount(np.median(once, axis=0).astype(int), minlength=40) / size
    found = voted.convert(np.full((1, size), 20.2, np.float32), ReadNoise(rng))
    shares = np.bincount(found[0].astype(int), minlength=40) / size
    assert np.abs(shares - expected).max() < 5 * np.sqrt(0.5 / size)
    assert found.std() < 0.8 * once.std()
    quiet = converter(50, 6, 0.0, 0.0, reads)
    assert (quiet.convert(np.full((1, 5), 20.2, np.float32), ReadNoise(rng)) == 20).all()


def test_a_converter_gives_whole_codes_within_its_range(rng: np.random.Generator) -> None:
    model = replace(
        PERFECT, rows=64, adc_bits=5, sar_sigma=0.5, inl_steps=2.0, column_offset_counts=9.0
    )
    array = planes(model, weights_of(rng))
    for tile in array.columns:
        sums = rng.uniform(-20, 60, (1, 500, tile.matrix.shape[2])).astype(np.float32)
        codes = array.converter.convert(sums, None, tile.errors)
        assert (codes == np.rint(codes)).all()
        assert codes.min() >= 0
        assert codes.max() <= 31


def test_stuck_cells_hold_what_they_hold(rng: np.random.Generator) -> None:
    weights = weights_of(rng, 250, 40)
    codes = rng.integers(0, 256, (5, 1, 250)).astype(np.uint8)
    dead = replace(PERFECT, stuck_at_zero=1.0)
    assert (planes(dead, weights).multiply(codes, 0, rng) == 0).all()
    full = replace(PERFECT, stuck_at_one=1.0)
    expected = -codes.sum(axis=(1, 2), dtype=int)[:, None, None]
    assert (planes(full, weights).multiply(codes, 0, rng) == expected).all()
    some = replace(PERFECT, adc_bits=None, stuck_at_zero=0.05, stuck_at_one=0.02)
    cells = planes(some, weights).columns[0].matrix[0, :-1]
    clean = planes(replace(PERFECT, adc_bits=None), weights).columns[0].matrix[0, :-1]
    share = (cells != clean).mean()
    assert share == pytest.approx(0.035, abs=5 * np.sqrt(0.035 / clean.size))


def test_a_drop_takes_most_from_the_farthest_cell(rng: np.random.Generator) -> None:
    weights = ArrayWeights(np.ones((1, 100, 1), np.int8), np.ones((1, 1, 1), np.float32), 100, 8)
    array = planes(replace(PERFECT, rows=100, adc_bits=None, ir_drop=0.4), weights)
    single = np.eye(100, dtype=np.uint8)[:, None]
    alone = array.multiply(single, 0, rng)[:, 0, 0]
    everything = array.multiply(np.ones((1, 1, 100), np.uint8), 0, rng)[0, 0, 0]
    assert (np.diff(alone) < 0).all()
    assert alone.min() > 0.995  # a column with one conducting cell hardly drops
    assert everything == pytest.approx(100 * (1 - 0.4 * 0.5), rel=1e-4)

"""What each effect of an analog memory's periphery does: as its formula says, in figures."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from device_models.array import Array, ArrayWeights, Chip, State, program
from device_models.memories.analog_periphery import AnalogPeriphery, Memory
from device_models.memories.pcm import PhaseChangeMemory
from device_models.memories.product import Ideal
from device_models.memories.programmed import RRAM_MILO
from device_models.memories.sonos import SonosMemory
from tests.memory_layers import check_moments, held_weights

ROWS, COLUMNS = 32, 4000
BARE = AnalogPeriphery(rows=ROWS, adc_bits=None, adc_range="fraction")
FULL = ROWS * 255
"""The full scale, in counts; a code of 127 is one count."""

SAMPLES = 40_000
PERFECT = PhaseChangeMemory(programming_noise_us=(0.0,), fluctuation=(0.0, 0.65, 0.2))


def layer_of(code: int, rows: int = ROWS, columns: int = COLUMNS) -> ArrayWeights:
    """Columns of one code each, in the units of 1/127; the last row holds the largest."""
    codes = np.full((1, rows, columns), code, np.int8)
    codes[:, -1] = 127
    return ArrayWeights(codes, np.full((1, 1, columns), 1 / 127, np.float32), rows, 8)


def array_of(weights: ArrayWeights, model: Memory | None = None, **effects: Any) -> Array:
    chip = replace(model or Ideal(), periphery=replace(BARE, **effects))
    return program(Chip(chip, 5), State(), "a", weights, 8)


def repeated(array: Array, code: int, rows: int = ROWS) -> NDArray[np.float64]:
    """Many reads of the first column, all rows driven by one code above a zero point of 100."""
    codes = np.full((SAMPLES, 1, rows), code, np.uint8)
    return array.multiply(codes, 100, np.random.default_rng(1))[:, 0, 0].astype(np.float64)


def test_columns_differ_by_a_static_gain_and_offset() -> None:
    weights = layer_of(127)
    driven = np.full((1, 1, ROWS), 150, np.uint8)
    idle = np.full((1, 1, ROWS), 100, np.uint8)
    rng = np.random.default_rng(0)
    gains = array_of(weights, column_gain_sigma=0.03).multiply(driven, 100, rng) / (50 * ROWS)
    check_moments(gains[0, 0].astype(np.float64), 1.0, 0.03)
    array = array_of(weights, column_offset=0.01)
    offsets = array.multiply(idle, 100, rng)[0, 0]
    check_moments(offsets.astype(np.float64), 0.0, 0.01 * FULL)
    loaded = array.multiply(driven, 100, rng)[0, 0] - 50 * ROWS
    np.testing.assert_allclose(loaded, offsets, atol=1e-2)


@pytest.mark.parametrize("dac_bits", [4, 8])
def test_read_noise_is_new_for_each_conversion_of_each_slice(dac_bits: int) -> None:
    weights = layer_of(127, 3 * ROWS, 1)
    reads = repeated(array_of(weights, dac_bits=dac_bits, read_noise=0.01), 150, 3 * ROWS)
    largest = 2**dac_bits - 1
    slices = sum(4.0 ** (dac_bits * p) for p in range(8 // dac_bits))
    deviation = 0.01 * ROWS * largest * math.sqrt(3 * slices)
    check_moments(reads, 50.0 * 3 * ROWS, deviation)


def test_nonlinear_noise_falls_with_the_magnitude_of_the_sum() -> None:
    array = array_of(layer_of(127, columns=1), nonlinear_noise=0.1)
    for code, counts in ((100, 0), (101, ROWS), (0, 100 * ROWS)):
        reads = repeated(array, code)
        mean = ROWS * (code - 100)
        check_moments(reads, mean, 0.1 * FULL / math.sqrt(counts + 1))


def test_of_several_reads_the_median_counts() -> None:
    """The median of three normal figures has a variance of 1 - sqrt(3) / pi."""
    weights = layer_of(127, columns=1)
    reads = repeated(array_of(weights, read_noise=0.01, reads=3), 150)
    check_moments(reads, 50.0 * ROWS, 0.01 * FULL * math.sqrt(1 - math.sqrt(3) / math.pi))
    model = replace(PERFECT, read_noise=0.02)
    reads = repeated(array_of(weights, model, reads=3), 150)
    alone = 0.02 * 50 * math.sqrt(ROWS)
    check_moments(reads, 50.0 * ROWS, alone * math.sqrt(1 - math.sqrt(3) / math.pi))


@pytest.mark.parametrize("dac_bits", [4, 8])
@pytest.mark.parametrize("kind", ["additive", "of each cell"])
def test_cells_are_read_anew_in_each_tile_and_slice(dac_bits: int, kind: str) -> None:
    """50 is 3 · 16 + 2; 16 · 3 and 2 are read one after the other."""
    rows = 3 * ROWS
    weights = layer_of(127, rows, 1)
    model: Memory = replace(PERFECT, read_noise=0.02)
    each = 0.02
    if kind == "of each cell":
        model = SonosMemory(spread_na=(0.0,) * 6)
        each = 12.58037 * (1 - math.exp(-1600 / 215.36557)) / 1600
    reads = repeated(array_of(weights, model, dac_bits=dac_bits), 150, rows)
    squares = 50.0**2 if dac_bits == 8 else 48.0**2 + 2.0**2
    check_moments(reads, 50.0 * rows, each * math.sqrt(rows * squares))


def test_read_noise_is_a_part_of_the_largest_weight_of_its_block() -> None:
    rows = 2 * ROWS
    scales = np.array([[[1.0], [3.0]]], np.float32) / 127
    weights = replace(layer_of(127, rows, 1), scales=scales, block_rows=ROWS)
    reads = repeated(array_of(weights, replace(PERFECT, read_noise=0.02)), 150, rows)
    deviation = 0.02 * 50 * math.sqrt(ROWS * (1 + 9))
    check_moments(reads, 50.0 * ROWS * (1 + 3), deviation)


def test_read_noise_of_the_cells_is_amplified_by_the_column() -> None:
    weights = layer_of(127, columns=2)
    model = replace(PERFECT, read_noise=0.02)
    array = array_of(weights, model, column_gain_sigma=0.2)
    codes = np.full((SAMPLES, 1, ROWS), 150, np.uint8)
    got = array.multiply(codes, 100, np.random.default_rng(1))[:, 0]
    relative = got.std(axis=0) / got.mean(axis=0)
    np.testing.assert_allclose(relative, 0.02 / math.sqrt(ROWS), rtol=5 / math.sqrt(2 * SAMPLES))


def test_noise_comes_from_the_generator_alone() -> None:
    array = array_of(layer_of(9, columns=3), read_noise=0.01, adc_bits=8, full_scale=0.1)
    codes = np.full((5, 1, ROWS), 150, np.uint8)
    one, again, other = (
        array.multiply(codes, 100, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("model", [Ideal(), RRAM_MILO], ids=lambda model: model.kind)
def test_a_full_line_loses_half_of_what_its_end_loses(model: Memory) -> None:
    """Cells at G_max, the largest inputs: Σ (1 - 0.2 (i + ½) / R) = R (1 - 0.1).

    A cell at G_min, 50 of 225 uS, adds to the current of its own line: 2/9 of a full one.
    """
    if model.kind == "programmed":
        model = replace(RRAM_MILO, programming_noise_us=(0.0,))
    array = array_of(layer_of(127, columns=1), model, ir_drop=0.2)
    low, high = (0.0, 1.0) if model.kind == "ideal" else (50 / 175, 225 / 175)
    expected = FULL * (high * (1 - 0.1) - low * (1 - 0.1 * low / high))
    for code, zero_point, sign in ((255, 0, 1), (0, 255, -1)):
        codes = np.full((1, 1, ROWS), code, np.uint8)
        got = array.multiply(codes, zero_point, np.random.default_rng(0))
        assert got.item() == pytest.approx(sign * expected, rel=1e-5)


def test_a_cell_far_from_the_converter_loses_more_and_alone_next_to_nothing() -> None:
    array = array_of(layer_of(127, columns=1), ir_drop=0.2)
    alone = held_weights(array, ROWS)[0, :, 0]
    np.testing.assert_allclose(1 - alone, 0.2 * (np.arange(ROWS) + 0.5) / ROWS / FULL, atol=1e-6)
    codes = np.full((ROWS, 1, ROWS), 255, np.uint8)
    codes[np.arange(ROWS), 0, np.arange(ROWS)] = 0
    without = array.multiply(codes, 0, np.random.default_rng(0))[:, 0, 0]
    assert (np.diff(without) > 0).all()


@pytest.mark.parametrize(
    "model",
    [Ideal(), replace(RRAM_MILO, programming_noise_us=(0.0,))],
    ids=["ideal", "rram-milo"],
)
def test_stuck_cells_stay_at_either_end_of_the_range(model: Memory) -> None:
    array = array_of(layer_of(64), model, stuck_at_off=0.05, stuck_at_on=0.1)
    held = held_weights(array, ROWS)[0, :-1].ravel()
    weight = 64 / 127
    shares = {
        0.0: 0.05 * 0.9 + 0.1 * 0.1,
        1.0: 0.1 * 0.9,
        -1.0: 0.05 * 0.1,
        weight: 0.85 * 0.9,
        weight - 1: 0.85 * 0.1,
    }
    for value, share in shares.items():
        found = np.isclose(held, value, atol=1e-4).mean()
        assert abs(found - share) < 5 * math.sqrt(share * (1 - share) / held.size)
    assert sum(shares.values()) == pytest.approx(1)


def test_a_stuck_cell_is_read_as_what_it_is_stuck_at() -> None:
    """A charge trap's read noise grows with its current; one that is off has none."""
    weights = layer_of(127, columns=50)
    quiet = SonosMemory(spread_na=(0.0,) * 6)
    array: Any = array_of(weights, quiet, stuck_at_off=0.5)
    (tile,) = array.tiles
    off = held_weights(replace(array, tiles=(replace(tile, noise=None),)), ROWS)[0] == 0
    assert 0.4 < off.mean() < 0.6
    assert np.array_equal(tile.noise.variance[0] == 0, off)


def test_bows_and_capacitors_leave_zero_alone_and_stay_small_elsewhere() -> None:
    rng = np.random.default_rng(2)
    weights = layer_of(127, columns=300)
    codes = rng.integers(0, 256, (200, 1, ROWS)).astype(np.uint8)
    codes[0] = 128
    plain: dict[str, Any] = {"adc_bits": 10, "full_scale": 0.2}
    clean = array_of(weights, **plain).multiply(codes, 128, rng)
    step = 0.2 * FULL / 511
    for effect in ({"inl_steps": 2.0}, {"sar_sigma": 0.1}):
        got = array_of(weights, **plain, **effect).multiply(codes, 128, rng)
        assert not got[0].any()
        off = (got - clean) / step
        assert 0.1 < off[1:].std() < 3
        assert not np.array_equal(off[1:, 0, 0], off[1:, 0, 1])

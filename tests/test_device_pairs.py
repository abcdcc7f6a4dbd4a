"""Weights on differential pairs, and the noise of reading them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_models.array import ArrayWeights, Chip, State, program
from device_models.contract import DeviceModel
from device_models.memories.cmo import MetalOxideMemory
from device_models.memories.differential_pair import differential_pairs
from device_models.memories.generic import GenericMemory
from device_models.memories.pcm import PhaseChangeMemory
from device_models.memories.programmed import ProgrammedMemory
from device_models.memories.retention import RetentionMemory
from device_models.memories.sonos import SonosMemory
from device_models.presets import preset
from tests.memory_layers import COLUMNS, ROWS, held_weights, level_weights, placed

PERFECT: tuple[DeviceModel, ...] = (
    PhaseChangeMemory(programming_noise_us=(0.0,), fluctuation=(0.0, 0.65, 0.2)),
    ProgrammedMemory(programming_noise_us=(0.0,)),
    RetentionMemory(second_us=(0.0,), day_us=(0.0,), two_days_us=(0.0,), read_noise=0.0),
    MetalOxideMemory(
        programming_noise_us=(0.0,), relaxation_us=(0.0,), fluctuation_us=0.0, read_noise=0.0
    ),
    SonosMemory(spread_na=(0.0,) * 6, read_spread_na=0.0),
    GenericMemory(deviation=0.0, g_min=0.1),
)


def random_weights(rng: np.random.Generator, *, book: bool, block_rows: int) -> ArrayWeights:
    shape = (2, 30, 4)
    scales = rng.uniform(0.01, 0.1, (2, -(-30 // block_rows), 4)).astype(np.float32)
    if not book:
        codes = rng.integers(-128, 128, shape).astype(np.int8)
        return ArrayWeights(codes, scales, block_rows, 8)
    levels = rng.uniform(-1, 1, 16).astype(np.float32)
    return ArrayWeights(rng.integers(0, 16, shape).astype(np.int8), scales, block_rows, 4, levels)


@given(book=st.booleans(), block_rows=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_cells_without_error_hold_exactly_the_weights(
    *, book: bool, block_rows: int, seed: int
) -> None:
    weights = random_weights(np.random.default_rng(seed), book=book, block_rows=block_rows)
    for model in PERFECT:
        array = program(Chip(model), State(), "a", weights, 8)
        np.testing.assert_allclose(
            held_weights(array, 30, 2), weights.values(), rtol=1e-5, atol=2e-5
        )


def test_one_cell_of_a_pair_is_idle_and_the_largest_weight_takes_the_range() -> None:
    codes = np.array([[[5, -10, 0]]], np.int8)
    cells = differential_pairs(placed(ArrayWeights(codes, np.ones((1, 1, 3), np.float32), 1, 8)))
    np.testing.assert_allclose(
        cells.targets[cells.level][:, 0, 0], [[0.5, 0.0, 0.0], [0.0, 1.0, 0.0]]
    )
    np.testing.assert_allclose(cells.between(2.0, 6.0)[cells.level][0, 0, 0], [4.0, 2.0, 2.0])


@pytest.mark.parametrize("name", ["pcm", "rram-cmo", "generic-normal-inverse-proportional"])
def test_a_layer_of_zeros_can_be_written(name: str) -> None:
    weights = ArrayWeights(np.zeros((1, 4, 3), np.int8), np.ones((1, 1, 3), np.float32), 4, 8)
    array = program(Chip(preset(name)), State(1e6), "a", weights, 8)
    assert np.isfinite(held_weights(array, 4)).all()


READERS: tuple[DeviceModel, ...] = (
    replace(PhaseChangeMemory(), read_noise=0.02),
    preset("rram-wan"),
    preset("sonos"),
)


@pytest.mark.parametrize("model", READERS, ids=lambda model: model.kind)
@pytest.mark.parametrize("block_rows", [12, 30])
def test_read_noise_is_that_of_all_weights_together(model: DeviceModel, block_rows: int) -> None:
    """Drawn at the output: normal, of the variance of all weights, independent of each other."""
    rng = np.random.default_rng(5)
    weights = random_weights(rng, book=False, block_rows=block_rows)
    array: Any = program(Chip(model), State(), "a", weights, 8)
    spread = np.repeat(array.noise.variance, array.noise.part_rows, axis=1)[:, :30]
    codes = rng.integers(0, 256, (1, 2, 30)).astype(np.uint8)
    count = 20_000
    got = array.multiply(np.repeat(codes, count, axis=0), 100, rng)
    x = codes[0].astype(np.float64) - 100
    expected = np.einsum("gd,gdm->gm", x**2, spread.astype(np.float64))
    relative = (got - got.mean(axis=0)) / np.sqrt(expected)
    assert relative.std(axis=0) == pytest.approx(1.0, abs=5 / math.sqrt(2 * count))
    assert (relative**4).mean() == pytest.approx(3.0, abs=0.1)
    correlation = np.corrcoef(relative.reshape(count, -1).T) - np.eye(8)
    assert np.abs(correlation).max() < 5 / math.sqrt(count)
    if model.kind != "sonos":  # the same for every weight: a part of the largest
        largest = np.abs(weights.codes.astype(int)).max() * np.repeat(
            weights.scales, block_rows, axis=1
        )
        part = {"pcm": 0.02, "retention": 0.01}[model.kind]
        np.testing.assert_allclose(np.sqrt(spread), part * largest[:, :30], rtol=1e-5)


def test_read_noise_of_charge_traps_grows_with_the_current() -> None:
    """At 1600 nA: 12.58037 (1 - exp(-1600 / 215.36557)); an idle cell has none."""
    quiet = SonosMemory(spread_na=(0.0,) * 6)
    array: Any = program(Chip(quiet), State(), "a", level_weights(127), 8)
    deviation = np.sqrt(array.noise.variance) / 127 * 1600
    np.testing.assert_allclose(deviation, 12.57288, rtol=1e-5)
    assert deviation.shape == (1, ROWS, COLUMNS)


def test_read_noise_comes_from_the_generator_alone() -> None:
    rng = np.random.default_rng(2)
    weights = random_weights(rng, book=True, block_rows=12)
    codes = rng.integers(0, 256, (3, 2, 30)).astype(np.uint8)
    array = program(Chip(READERS[0]), State(), "a", weights, 8)
    one, other = (array.multiply(codes, 7, np.random.default_rng(seed)) for seed in (1, 2))
    assert np.array_equal(one, array.multiply(codes, 7, np.random.default_rng(1)))
    assert not np.array_equal(one, other)
    generator = np.random.default_rng(1)
    first, second = (array.multiply(codes, 7, generator) for _ in range(2))
    assert not np.array_equal(first, second)

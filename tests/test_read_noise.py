"""Read noise from shuffled tables: each figure normal, none tied to another."""

from __future__ import annotations

import numpy as np
import pytest

from device_models.array import ArrayWeights, Chip, State, program
from device_models.sram.bitplane import BitPlaneSram
from device_models.sram.read_noise import LEVELS, ReadNoise, places_of, quantiles, row_noise


def noise_of(seed: int) -> ReadNoise:
    return ReadNoise(np.random.default_rng(seed))


def neighbours(table: np.ndarray, apart: int) -> float:
    """Correlation of figures so many places apart, all round the table."""
    return float(np.mean(table * np.roll(table, -apart)))


def test_a_table_holds_every_quantile_once_and_another_order_each_time() -> None:
    one, other = (noise_of(seed).table(2.0, 5) for seed in (1, 2))
    for table in (one, other):
        np.testing.assert_array_equal(np.sort(table[:LEVELS]), quantiles(2.0))
        np.testing.assert_array_equal(table[LEVELS:], table[:5])
    assert (one != other).mean() > 0.99
    np.testing.assert_array_equal(one, noise_of(1).table(2.0, 5))


@pytest.mark.parametrize("apart", [1, 16, 128])
def test_columns_are_uncorrelated_but_for_the_chance_of_one_shuffling(apart: int) -> None:
    found = np.array([neighbours(noise_of(i).table(1.0, 1)[:LEVELS], apart) for i in range(300)])
    chance = 1 / np.sqrt(LEVELS)
    assert np.abs(found).max() < 5 * chance
    assert abs(found.mean()) < 5 * chance / np.sqrt(len(found))


def test_figures_of_a_column_are_independent_draws() -> None:
    drawn = noise_of(3).figures((40_000, 6), 1.0)
    error = 1 / np.sqrt(len(drawn))
    assert np.abs(drawn.mean(axis=0)).max() < 5 * error
    assert np.abs(drawn.std(axis=0) - 1).max() < 5 * error
    assert np.abs((drawn**4).mean(axis=0) - 3).max() < 5 * np.sqrt(96) * error
    for apart in (1, 2, 7):
        assert np.abs((drawn[apart:] * drawn[:-apart]).mean(axis=0)).max() < 5 * error


def test_noise_of_a_result_is_that_of_independent_conversions() -> None:
    """Its variance is the sum of theirs; a tie between columns or slices would show here."""
    weights = ArrayWeights(np.full((1, 64, 3), 37, np.int8), np.ones((1, 1, 3), np.float32), 64, 8)
    model = BitPlaneSram(
        rows=64, adc_bits=8, cell_sigma=0.0, column_gain_sigma=0.0, read_noise_counts=1.0
    )
    codes = np.full((20_000, 1, 64), 0b01011011, np.uint8)
    codes[:, :, ::2] = 0b11100100  # each slice drives half the rows, far from both ends
    array = program(Chip(model), State(), "a", weights, 8)
    result = array.multiply(codes, 0, np.random.default_rng(2))
    driven = 1.0 + (0.5**2) / 12  # a step is half a count
    variance = np.zeros(3)
    for plane in range(8):
        if 37 >> plane & 1:
            variance += driven * sum(4.0 ** (slice_ + plane) for slice_ in range(8))
    idle = array.multiply(np.zeros_like(codes), 0, np.random.default_rng(2)).var(axis=0)[0]
    planes = {plane for plane in range(8) if not 37 >> plane & 1}
    share = sum(4.0**plane for plane in planes) / sum(4.0**plane for plane in range(8))
    expected = variance + idle * share
    assert np.abs(result.var(axis=0)[0] / expected - 1).max() < 5 * np.sqrt(2 / len(codes)) + 0.01


def test_row_noise_belongs_to_its_place() -> None:
    places = places_of(np.arange(30_000, dtype=np.uint64))
    assert places.max() < LEVELS
    noise = row_noise(places, 8)
    np.testing.assert_array_equal(noise[5], row_noise(places[5:6], 8)[0])
    error = 1 / np.sqrt(len(noise))
    assert np.abs(noise.mean(axis=0)).max() < 5 * error
    assert np.abs(noise.std(axis=0) - 1).max() < 5 * error
    between = np.corrcoef(noise.T)[np.triu_indices(8, 1)]
    assert np.abs(between).max() < 5 * error + 5 / np.sqrt(LEVELS)

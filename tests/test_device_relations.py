"""Published relations that any emulator of these devices must show, read from its outputs alone.

A bit-plane column adds S = Σ wᵢ xᵢ over R rows. A converter of b bits over a full scale of F = f R
has steps of Δ = F / (2^b - 1) and, wherever S is spread over several steps, a uniform error of
variance Δ² / 12 (Bennett, Bell System Technical Journal 1948; Widrow 1956). With inputs of one bit
and weights of two, all bits one half of the time, y = S₀ - 2 S₁ has a variance of 11 R / 16, and
five times the error of one conversion. Hence

    SQNR = (11 R / 16) / (5 Δ² / 12) = 33 (2^b - 1)² / (20 R f²)

6.02 dB more a bit, and 3.01 dB less for each doubling of the rows: the range grows with R, the
signal with √R only (Gonugondla et al., ICCAD 2020, derive the bits that this asks for). Errors of
the cells, σ² R / 4 a column, do not shrink with the bits: they are the floor, 0.55 / σ², whatever R
is.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from device_models.array import ArrayWeights, Chip, State, program
from device_models.contract import DeviceModel
from device_models.memories.pcm import PhaseChangeMemory
from device_models.memories.pcm_hermes import HermesMemory
from device_models.sram.bitplane import BitPlaneSram
from device_models.sram.converter import converter
from tests.memory_layers import ROWS, held_weights, level_weights

Values = NDArray[np.float64]

SAMPLES, COLUMNS = 300, 512
SPREAD_COUNTS = 2.5
"""Offsets of the columns, so that whole counts fall everywhere within a step."""

YEAR_S = 31_536_000.0


def sram(**changes: Any) -> BitPlaneSram:
    """An array of 256 rows with a converter of 8 bits and nothing else."""
    given = {
        "rows": 256,
        "adc_bits": 8,
        "full_scale": 1.0,
        "cell_sigma": 0.0,
        "column_gain_sigma": 0.0,
        "column_offset_counts": 0.0,
        "read_noise_counts": 0.0,
    }
    return BitPlaneSram(**{**given, **changes})


def products(model: BitPlaneSram, codes: NDArray[np.uint8], held: NDArray[np.int8]) -> Values:
    """What one row tile gives: inputs of one bit, weights of two planes."""
    assert codes.shape[1] == len(held) == model.rows
    weights = ArrayWeights(held[None], np.ones((1, 1, COLUMNS), np.float32), len(held), 2)
    array = program(Chip(model, 21), State(), "layer", weights, 1)
    return array.multiply(codes[:, None], 0, np.random.default_rng(3))[:, 0].astype(np.float64)


def even_bits(rows: int) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Inputs and weights that are one half of the time."""
    generator = np.random.default_rng(rows)
    codes = generator.integers(0, 2, (SAMPLES, rows), dtype=np.uint8)
    return codes, generator.integers(-2, 2, (rows, COLUMNS), dtype=np.int8)


def decibels(signal: float, error: Values) -> float:
    """Of a signal's variance over an error's mean square."""
    return 10 * math.log10(signal / float(np.square(error).mean()))


def conversion_sqnr(model: BitPlaneSram) -> float:
    """Of the conversion alone: the same chip with and without a converter."""
    codes, held = even_bits(model.rows)
    spread = replace(model, column_offset_counts=SPREAD_COUNTS)
    linear = replace(spread, adc_bits=None)
    error = products(spread, codes, held) - products(linear, codes, held)
    return decibels(11 * model.rows / 16, error)


def expected_sqnr(rows: int, bits: int, full_scale: float = 1.0) -> float:
    return 10 * math.log10(33 * (2**bits - 1) ** 2 / (20 * rows * full_scale**2))


def test_each_bit_of_the_converter_is_worth_six_decibels() -> None:
    bits = np.array([4, 5, 6, 7, 8])
    found = np.array([conversion_sqnr(sram(adc_bits=int(b))) for b in bits])
    np.testing.assert_allclose(found, [expected_sqnr(256, int(b)) for b in bits], atol=0.25)
    slope = np.polyfit(bits, found - 20 * np.log10(1 - 2.0**-bits), 1)[0]
    assert slope == pytest.approx(20 * math.log10(2), abs=0.06)


def test_rows_cost_three_decibels_for_each_doubling() -> None:
    rows = np.array([64, 128, 256, 512])
    found = np.array([conversion_sqnr(sram(rows=int(r), adc_bits=5)) for r in rows])
    np.testing.assert_allclose(found, [expected_sqnr(int(r), 5) for r in rows], atol=0.25)
    slope = np.polyfit(np.log2(rows), found, 1)[0]
    assert slope == pytest.approx(-10 * math.log10(2), abs=0.06)


def test_half_the_range_is_worth_a_bit_until_it_clips() -> None:
    """Sums of 256 rows stay below 128 counts, and nearly all reach 38."""
    half = conversion_sqnr(sram(adc_bits=6, full_scale=0.5))
    assert half == pytest.approx(expected_sqnr(256, 6, 0.5), abs=0.15)
    assert conversion_sqnr(sram(adc_bits=6, full_scale=0.15)) < half


def product_sqnr(model: BitPlaneSram) -> float:
    """Against the product that the codes stand for."""
    codes, held = even_bits(model.rows)
    exact = codes.astype(np.float64) @ held
    return decibels(11 * model.rows / 16, products(model, codes, held) - exact)


@pytest.mark.parametrize("cell_sigma", [0.1, 0.2])
def test_bits_help_down_to_the_floor_of_the_cells(cell_sigma: float) -> None:
    floor = 10 * math.log10(0.55 / cell_sigma**2)
    found = {}
    for bits in range(4, 13):
        model = sram(adc_bits=bits, cell_sigma=cell_sigma)
        found[bits] = product_sqnr(model)
        step = converter(256, bits, 0.0).step_counts
        error = step**2 / 12 + cell_sigma**2 * 256 / 4
        assert found[bits] == pytest.approx(10 * math.log10(176 / (5 * error)), abs=0.3)
    assert found[5] - found[4] > 3
    assert found[12] - found[11] < 0.05
    assert found[12] == pytest.approx(floor, abs=0.2)


def test_the_floor_of_the_cells_is_the_same_for_any_number_of_rows() -> None:
    for rows in (64, 128, 256, 512):
        found = product_sqnr(sram(rows=rows, adc_bits=12, cell_sigma=0.1))
        assert found == pytest.approx(10 * math.log10(55), abs=0.3)


@pytest.mark.parametrize(
    ("effect", "error"),
    [
        ({"read_noise_counts": 1.5}, 1.5**2),
        ({"column_offset_counts": 2.0}, 2.0**2),
        # A gain multiplies the whole sum: E S² = var S + (R / 4)².
        ({"column_gain_sigma": 0.05}, 0.05**2 * (48 + 64**2)),
    ],
)
def test_errors_of_columns_and_reads_add_in_variance(
    effect: dict[str, float], error: float
) -> None:
    """512 columns of two planes: their own variance is known to about a twentieth."""
    found = product_sqnr(sram(adc_bits=12, **effect))
    assert found == pytest.approx(10 * math.log10(176 / (5 * error)), abs=0.5)


def quiet_memories() -> list[tuple[DeviceModel, float, float, float]]:
    """Cells that only fade: model, its t0, and mean and deviation of nu at the largest weight."""
    pcm = replace(PhaseChangeMemory(), programming_noise_us=(0.0,), fluctuation=(0.0, 0.65, 0.2))
    hermes = replace(
        HermesMemory(),
        programming_noise_us=(0.0,),
        fluctuation_below=(0.0,) * 4,
        fluctuation_above=(0.0,),
    )
    return [(pcm, 20.0, 0.049, 0.008), (hermes, 300.0, 0.0174, 0.0048)]


def read_at(model: DeviceModel, age_s: float) -> Values:
    """Weights of the largest code, relative to what was asked for; idle cells are silent."""
    array = program(Chip(model, 4), State(age_s), "layer", level_weights(127), 8)
    return held_weights(array, ROWS)[0].ravel() / 127


@pytest.mark.parametrize(("model", "start_s", "mean", "deviation"), quiet_memories())
def test_the_drift_exponent_and_its_spread_are_read_off_the_mean_conductance(
    model: DeviceModel, start_s: float, mean: float, deviation: float
) -> None:
    """E[(t / t0)^-nu] of a normal nu is exp(-mean L + deviation² L² / 2), L = ln(t / t0).

    The spread bends the line in double logarithms: a whole array seems to drift less and less.
    """
    ages_s = np.geomspace(start_s, 10 * YEAR_S, 8)
    logarithms = np.log1p(ages_s / start_s)
    held = [read_at(model, float(age_s)) for age_s in ages_s]
    log_means = np.log([cells.mean() for cells in held])
    bend, slope, start = np.polyfit(logarithms, log_means, 2)
    assert start == pytest.approx(0.0, abs=1e-3)
    assert -slope == pytest.approx(mean, rel=0.01)
    assert math.sqrt(2 * bend) == pytest.approx(deviation, rel=0.1)
    apparent = -np.polyfit(logarithms, log_means, 1)[0]
    assert mean - 2 * deviation**2 * logarithms[-1] < apparent < mean
    spreads = [np.log(cells).std() for cells in held]
    assert np.polyfit(logarithms, spreads, 1)[0] == pytest.approx(deviation, rel=0.01)


@pytest.mark.parametrize(
    ("model", "read_time_s", "start_s", "strength"),
    [
        (PhaseChangeMemory(), 250e-9, 20.0, 0.0088),
        # At g = 1: 0.0069 - 0.0280 + 0.0211 + 0.0123
        (HermesMemory(), 512e-9, 300.0, 0.0123),
    ],
)
def test_the_variance_of_one_over_f_noise_grows_with_the_logarithm_of_time(
    model: PhaseChangeMemory | HermesMemory, read_time_s: float, start_s: float, strength: float
) -> None:
    """A spectrum of 1/f between 1/t and 1/t_read adds up to q² ln(t / 2 t_read)."""
    silent: dict[str, Any] = {"programming_noise_us": (0.0,)}
    still = (0.0,) * 4
    if isinstance(model, PhaseChangeMemory):
        silent |= {"drift_mean": still, "drift_deviation": still}
    else:
        silent |= dict.fromkeys(("drift_mean_below", "drift_deviation_below"), still)
        silent |= dict.fromkeys(("drift_mean_above", "drift_deviation_above"), (0.0,))
    only_noise = replace(model, **silent)
    ages_s = np.geomspace(1.0, 10 * YEAR_S, 12)
    variances = [read_at(only_noise, float(age_s)).var() for age_s in ages_s]
    slope, constant = np.polyfit(np.log(ages_s + start_s), variances, 1)
    assert slope == pytest.approx(strength**2, rel=0.03)
    assert -constant / slope == pytest.approx(math.log(2 * read_time_s), rel=0.05)

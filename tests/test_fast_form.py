"""The fast form of a bit-plane array has the statistics of the exact path, or is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fast_layer import (
    INPUTS,
    OUTPUTS,
    TEST_ROWS,
    TYPICAL_ROWS,
    both,
    disagreement,
    errors_of,
    layer_weights,
    model_of,
    naive,
    relu_codes,
)

from device_models.array import ArrayWeights, Chip, State, program
from device_models.errors import DeviceModelError
from device_models.fast.array import FastArray
from device_models.presets import preset
from device_models.sram.bitplane import BitPlaneSram
from device_models.sram.plane_array import PlaneArray
from device_models.sram.shortcuts import LinearArray, LosslessArray

RATIOS = (0.0, 0.1, 0.3, 1.0, 3.0)
CONVERTERS = ((256, 8), (64, 8), (64, 6), (256, 6), (128, 5))
# Rounding takes all but a few deviations away; what remains is too small to be looked at.
NOTHING_LEFT = {(0.0, 64, 8), (0.1, 64, 8), (0.1, 64, 6)}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.mark.parametrize(("rows", "adc_bits"), CONVERTERS)
@pytest.mark.parametrize("ratio", RATIOS)
def test_fast_and_exact_agree(
    rng: np.random.Generator, ratio: float, rows: int, adc_bits: int
) -> None:
    """In mean, variance, correlation with the truth and between outputs, on rows never seen."""
    weights = layer_weights(rng)
    exact, fast = both(model_of(ratio, adc_bits, rows, rng), weights, rng)
    codes = relu_codes(rng, TEST_ROWS)
    one, other = (errors_of(array, weights, codes) for array in (exact, fast))
    if (ratio, rows, adc_bits) in NOTHING_LEFT:
        difference = other.error - one.error
        assert difference.std() <= 1e-2 * one.truth.std()
        return
    assert isinstance(fast, FastArray)
    assert disagreement(one, other) is None


@pytest.mark.parametrize(("rows", "adc_bits"), CONVERTERS)
@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.3, 1.0])
def test_effective_weights_with_independent_noise_do_not_agree(
    rng: np.random.Generator, ratio: float, rows: int, adc_bits: int
) -> None:
    weights = layer_weights(rng)
    model = model_of(ratio, adc_bits, rows, rng)
    exact, _ = both(model, weights, rng)
    codes = relu_codes(rng, TEST_ROWS)
    one, other = (errors_of(array, weights, codes) for array in (exact, naive(model, weights)))
    if (ratio, rows, adc_bits) in NOTHING_LEFT:
        assert (other.error - one.error).std() > 1e-2 * one.truth.std()
    else:
        assert disagreement(one, other) is not None


def test_where_steps_are_small_beside_the_spread_even_the_naive_form_agrees(
    rng: np.random.Generator,
) -> None:
    """So that the test above fails for what it says, and not for any array but the exact one."""
    weights = layer_weights(rng)
    model = model_of(3.0, 8, 256, rng)
    codes = relu_codes(rng, TEST_ROWS)
    exact, _ = both(model, weights, rng)
    one, other = (errors_of(array, weights, codes) for array in (exact, naive(model, weights)))
    assert disagreement(one, other) is None


@pytest.mark.parametrize("seed", range(8))
def test_whatever_the_chip_the_fast_form_agrees_or_says_why_not(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    weights = layer_weights(rng)
    model = replace(
        model_of(float(rng.choice([0.05, 0.2, 0.5, 2.0])), int(rng.integers(4, 10)), 128, rng),
        full_scale=float(rng.choice([0.05, 0.1, 0.3, 1.0])),
        column_gain_sigma=float(rng.choice([0.0, 0.02])),
        column_offset_counts=float(rng.choice([0.0, 0.3])),
        dac_bits=int(rng.choice([1, 2])),
    )
    exact, fast = both(model, weights, rng, seed)
    codes = relu_codes(rng, TEST_ROWS)
    if isinstance(fast, FastArray):
        one, other = (errors_of(array, weights, codes) for array in (exact, fast))
        small = (other.error - one.error).std() <= 1e-2 * one.truth.std()
        assert small or disagreement(one, other) is None
    else:
        assert isinstance(fast, PlaneArray)
        assert fast.why_exact
        generator = np.random.default_rng(0)
        same = fast.multiply(codes, 9, generator) == exact.multiply(codes, 9, generator)
        assert same.all()


def test_both_share_the_errors_that_are_not_rounding(rng: np.random.Generator) -> None:
    """Of one chip: what its cells do is the same in both, row by row."""
    weights = layer_weights(rng)
    exact, fast = both(model_of(3.0, 8, 256, rng), weights, rng)
    codes = relu_codes(rng, TEST_ROWS)
    one, other = (errors_of(array, weights, codes).error for array in (exact, fast))
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.95


def test_read_noise_is_as_large_as_that_of_the_exact_path(rng: np.random.Generator) -> None:
    weights = layer_weights(rng)
    model = replace(model_of(0.5, 8, 256, rng), read_noise_counts=0.2)
    codes = relu_codes(rng, 200)
    noises = []
    for array in both(model, weights, rng):
        generator = np.random.default_rng(8)
        reads = np.stack([array.multiply(codes, 0, generator) for _ in range(40)])
        noises.append(reads.var(axis=0, ddof=1)[:, 0])
    exact, fast = noises
    assert np.sqrt(fast.mean() / exact.mean()) == pytest.approx(1, abs=0.05)
    by_output = np.sqrt(fast.mean(axis=0) / exact.mean(axis=0))
    assert np.abs(by_output - 1).max() < 0.2
    busy = np.argsort(codes.sum(axis=(1, 2)))
    for part in (busy[:50], busy[-50:]):
        assert np.sqrt(fast[part].mean() / exact[part].mean()) == pytest.approx(1, abs=0.2)


def test_rounding_is_static_and_reads_are_not(rng: np.random.Generator) -> None:
    weights = layer_weights(rng)
    codes = relu_codes(rng, 50)
    model = model_of(0.3, 6, 128, rng)
    _, fast = both(model, weights, rng)
    _, again = both(model, weights, np.random.default_rng(3), seed=2)
    generator = np.random.default_rng(0)
    together = fast.multiply(codes, 3, generator)
    np.testing.assert_array_equal(together, fast.multiply(codes, 3, generator))
    for row in range(5):
        alone = fast.multiply(codes[[row]], 3, generator)
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-5, atol=1e-3)
    assert generator.bit_generator.state == np.random.default_rng(0).bit_generator.state
    assert (again.multiply(codes, 3, generator) != together).any()
    _, noisy = both(replace(model, read_noise_counts=0.5), weights, rng)
    first, second = (noisy.multiply(codes, 3, generator) for _ in range(2))
    assert (first != second).any()
    one, two = (noisy.multiply(codes, 3, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_zero_points_groups_and_blocks(rng: np.random.Generator) -> None:
    """A layer of three groups with scales in blocks, against its own exact path."""
    shape = (3, 60, 5)
    weights = ArrayWeights(
        rng.integers(-7, 8, shape).astype(np.int8),
        rng.uniform(0.01, 0.1, (3, 3, 5)).astype(np.float32),
        block_rows=20,
        bits=4,
    )
    codes = rng.integers(0, 64, (3000, *shape[:2])).astype(np.uint8)
    chip = Chip(BitPlaneSram(rows=20, adc_bits=4, cell_sigma=0.2, read_noise_counts=0.0), 3)
    exact = program(chip, State(), "a", weights, 6)
    fast = program(chip, State(), "a", weights, 6, typical=lambda: codes[:1000], fast=True)
    assert isinstance(fast, FastArray)
    one, other = (array.multiply(codes[1000:], 11, rng) for array in (exact, fast))
    shifted = codes[1000:].astype(np.float64) - 11
    truth = np.einsum("ngd,gdm->ngm", shifted, weights.values().astype(np.float64))
    bias = (other - truth).mean(axis=0) - (one - truth).mean(axis=0)
    spread = (one - truth).std(axis=0)
    assert np.abs(bias / spread).max() < 5 * np.sqrt(4 / 1000 + 2 / 2000)
    assert (other - truth).std() == pytest.approx((one - truth).std(), rel=0.05)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"adc_bits": None}, LinearArray),
        ({"adc_bits": 8, "rows": 128, "cell_sigma": 0.0}, LosslessArray),
    ],
)
def test_what_is_one_product_stays_it(
    rng: np.random.Generator, change: dict[str, Any], kind: type
) -> None:
    model = replace(model_of(0.3, 8, 128, rng), **change)
    exact, fast = both(model, layer_weights(rng), rng)
    assert type(exact) is type(fast) is kind


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ir_drop": 0.05}, "bend"),
        ({"inl_steps": 1.0}, "bend"),
        ({"sar_sigma": 0.3}, "bend"),
        ({"reads": 3, "read_noise_counts": 0.3}, "bend"),
        ({"adc_bits": 1}, "more than 100% of the variance of its outputs"),
    ],
)
def test_what_is_refused_says_why(
    rng: np.random.Generator, change: dict[str, Any], said: str
) -> None:
    _, fast = both(replace(model_of(0.3, 8, 128, rng), **change), layer_weights(rng), rng)
    assert isinstance(fast, PlaneArray)
    assert fast.why_exact is not None
    assert said in fast.why_exact


def test_few_typical_rows_are_too_few(rng: np.random.Generator) -> None:
    codes = relu_codes(rng, 20)
    chip = Chip(preset("sram-bitplane"))
    fast = program(chip, State(), "a", layer_weights(rng), 8, typical=lambda: codes, fast=True)
    assert isinstance(fast, PlaneArray)
    assert fast.why_exact == "20 typical rows; a fast form is fitted to at least 96"


def test_a_fast_form_without_typical_inputs_is_one_sentence(rng: np.random.Generator) -> None:
    with pytest.raises(DeviceModelError, match="layer conv: a fast form is fitted to typical"):
        program(Chip(preset("sram-bitplane")), State(), "conv", layer_weights(rng), 8, fast=True)


def test_inputs_that_never_drive_anything_are_no_error(rng: np.random.Generator) -> None:
    idle = np.zeros((TYPICAL_ROWS, 1, INPUTS), np.uint8)
    chip = Chip(preset("sram-bitplane"))
    fast = program(chip, State(), "a", layer_weights(rng), 8, typical=lambda: idle, fast=True)
    assert fast.multiply(idle[:3], 0, rng).shape == (3, 1, OUTPUTS)

"""Moments: each channel's mean and spread become the reference's, as far as samples agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.moments import LARGEST_SCALE, SMALLEST_SCALE, matching

Array = np.ndarray[Any, Any]
SEEDS = st.integers(0, 2**32 - 1)


def matched(outputs: Array, reference: Array) -> Array:
    scale, shift = matching(outputs, reference)
    assert scale.dtype == shift.dtype == np.float32
    return np.asarray(outputs * scale.astype(np.float64) + shift)


@given(seed=SEEDS, exponent=st.integers(-12, 12), positions=st.integers(1, 5))
def test_what_all_samples_agree_on_is_matched_fully(
    seed: int, exponent: int, positions: int
) -> None:
    """A gain and an offset of each channel, the same in all samples: no chance in them."""
    generator = np.random.default_rng(seed)
    reference = generator.standard_normal((8, positions, 4)) + np.arange(4) ** 2
    offset = generator.standard_normal(4)
    outputs = (reference - offset) / generator.uniform(0.6, 1.9, 4)
    size = 10.0**exponent
    given_rows, wanted = (
        rows.astype(np.float32) * np.float32(size) for rows in (outputs, reference)
    )
    np.testing.assert_allclose(matched(given_rows, wanted) / size, wanted / size, atol=1e-4)


@given(seed=SEEDS)
def test_many_samples_that_agree_roughly_are_nearly_matched(seed: int) -> None:
    generator = np.random.default_rng(seed)
    reference = generator.standard_normal((400, 4, 3))
    noise = 0.1 * generator.standard_normal(reference.shape)
    found = matched(0.7 * reference + noise + np.array([0.3, -0.5, 0.2]), reference)
    np.testing.assert_allclose(found.mean(axis=(0, 1)), reference.mean(axis=(0, 1)), atol=0.02)
    np.testing.assert_allclose(found.std(axis=(0, 1)), reference.std(axis=(0, 1)), rtol=0.03)


@pytest.mark.parametrize("samples", [1, 2, 4, 8])
def test_few_samples_do_less_harm_than_full_matching(samples: int) -> None:
    """Noise that is no more than noise: nothing is to be matched, judged on fresh samples."""
    errors = []
    for seed in range(200):
        generator = np.random.default_rng(seed)
        reference = generator.standard_normal((samples + 50, 1, 6))
        outputs = reference + 0.3 * generator.standard_normal(reference.shape)
        seen = slice(0, samples)
        scale, shift = matching(outputs[seen], reference[seen])
        fresh = outputs[samples:] * scale.astype(np.float64) + shift - reference[samples:]
        full = outputs[samples:] + (reference[seen] - outputs[seen]).mean((0, 1))
        errors.append([(fresh**2).mean(), ((full - reference[samples:]) ** 2).mean()])
    shrunk, fully = np.mean(errors, axis=0)
    assert shrunk < fully
    assert shrunk < 1.1 * 0.3**2


def test_scales_have_limits() -> None:
    reference = np.array([[-1.0, -1.0], [3.0, 3.0], [0.0, 0.0], [1.0, 1.0]], np.float32)
    outputs = reference * np.array([100.0, 0.01], np.float32)
    scale, _ = matching(outputs, reference)
    np.testing.assert_allclose(scale, [SMALLEST_SCALE, LARGEST_SCALE])


def test_channels_that_do_not_vary_are_only_shifted() -> None:
    """Constant here, constant there, constant in both up to rounding, and zero."""
    varying = np.random.default_rng(0).standard_normal(50).astype(np.float32)
    nearly = (1000 + 1e-3 * varying).astype(np.float32)
    constant, zero = np.full(50, 7, np.float32), np.zeros(50, np.float32)
    outputs = np.stack([constant, varying, nearly, zero], axis=1)
    reference = np.stack([varying, constant, 2 * nearly, zero], axis=1)
    scale, shift = matching(outputs, reference)
    np.testing.assert_array_equal(scale, np.ones(4, np.float32))
    expected = (reference - outputs).mean(axis=0)
    np.testing.assert_allclose(shift, expected, rtol=1e-4, atol=1e-4)


def test_one_row_is_left_alone() -> None:
    """What of a single row is chance cannot be told."""
    outputs, reference = np.array([[[[1, 2, 3]]], [[[4, -1, 3]]]], np.float32)
    scale, shift = matching(outputs, reference)
    np.testing.assert_array_equal(scale, np.ones(3, np.float32))
    np.testing.assert_array_equal(shift, np.zeros(3, np.float32))


@pytest.mark.parametrize("samples", [1, 2, 6])
def test_what_is_right_already_stays(samples: int) -> None:
    reference = np.random.default_rng(1).standard_normal((samples, 3, 5)).astype(np.float32)
    scale, shift = matching(reference, reference)
    np.testing.assert_array_equal(scale, np.ones(5, np.float32))
    np.testing.assert_array_equal(shift, np.zeros(5, np.float32))


@given(seed=SEEDS, samples=st.integers(1, 4), positions=st.integers(1, 3))
def test_mixed_scales_and_dead_channels_stay_finite(
    seed: int, samples: int, positions: int
) -> None:
    generator = np.random.default_rng(seed)
    sizes = 10.0 ** generator.uniform(-12, 12, 5) * generator.integers(0, 2, 5)
    outputs, reference = (
        (generator.standard_normal((samples, positions, 5)) * sizes).astype(np.float32)
        for _ in range(2)
    )
    scale, shift = matching(outputs, reference)
    assert np.isfinite(shift).all()
    assert ((scale >= SMALLEST_SCALE) & (scale <= LARGEST_SCALE)).all()

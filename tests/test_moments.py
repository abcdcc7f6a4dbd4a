"""Moments: each channel's mean and spread become the reference's, within limits."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from calib.moments import LARGEST_SCALE, SMALLEST_SCALE, matching

Array = np.ndarray[Any, Any]


def matched(outputs: Array, reference: Array) -> Array:
    scale, shift = matching(outputs, reference)
    assert scale.dtype == shift.dtype == np.float32
    return np.asarray(outputs * scale.astype(np.float64) + shift)


@given(
    seed=st.integers(0, 2**32 - 1),
    exponent=st.integers(-12, 12),
    samples=st.integers(2, 9),
    positions=st.integers(2, 5),
)
def test_means_and_spreads_become_the_references(
    seed: int, exponent: int, samples: int, positions: int
) -> None:
    generator = np.random.default_rng(seed)
    reference = generator.standard_normal((samples, positions, 4)) + np.arange(4) ** 2
    spread = reference.std(axis=(0, 1))
    outputs = generator.permutation(reference) - reference.mean(axis=(0, 1))
    outputs = outputs * generator.uniform(0.6, 1.9, 4) + generator.standard_normal(4)
    size = 10.0**exponent
    outputs, reference = (
        rows.astype(np.float32) * np.float32(size) for rows in (outputs, reference)
    )
    found = matched(outputs, reference) / size
    np.testing.assert_allclose(
        found.mean(axis=(0, 1)), reference.mean((0, 1), float) / size, 1e-4, 1e-4
    )
    np.testing.assert_allclose(found.std(axis=(0, 1)), spread, rtol=1e-3)


def test_scales_have_limits_and_means_match_beyond_them() -> None:
    reference = np.array([[-1.0, -1.0], [3.0, 3.0]], np.float32)
    outputs = reference * np.array([100.0, 0.01], np.float32)
    scale, _ = matching(outputs, reference)
    np.testing.assert_array_equal(scale, np.float32([SMALLEST_SCALE, LARGEST_SCALE]))
    np.testing.assert_allclose(matched(outputs, reference).mean(axis=0), [1, 1], rtol=1e-5)


def test_channels_that_do_not_vary_are_only_shifted() -> None:
    """Constant here, constant there, constant in both up to rounding, and zero."""
    varying = np.random.default_rng(0).standard_normal(50).astype(np.float32)
    nearly = (1000 + 1e-3 * varying).astype(np.float32)
    constant, zero = np.full(50, 7, np.float32), np.zeros(50, np.float32)
    outputs = np.stack([constant, varying, nearly, zero], axis=1)
    reference = np.stack([varying, constant, 2 * nearly, zero], axis=1)
    scale, _ = matching(outputs, reference)
    np.testing.assert_array_equal(scale, np.ones(4, np.float32))
    found = matched(outputs, reference)
    np.testing.assert_allclose(found.mean(axis=0), reference.mean(axis=0), rtol=1e-5, atol=1e-5)


def test_one_row_is_only_shifted() -> None:
    outputs, reference = np.float32([[[1, 2, 3]]]), np.float32([[[4, -1, 3]]])
    scale, shift = matching(outputs, reference)
    np.testing.assert_array_equal(scale, np.ones(3, np.float32))
    np.testing.assert_array_equal(shift, np.float32([3, -3, 0]))


def test_what_is_right_already_stays() -> None:
    reference = np.random.default_rng(1).standard_normal((6, 3, 5)).astype(np.float32)
    scale, shift = matching(reference, reference)
    np.testing.assert_array_equal(scale, np.ones(5, np.float32))
    np.testing.assert_array_equal(shift, np.zeros(5, np.float32))

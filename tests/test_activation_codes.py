"""Activation codes: zero is exact, order is kept, and each way to find a range has its case."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from calib.errors import CalibError
from calib.schemes.activations import RANGE_METHODS, ActivationCode, code_for_range

Array = np.ndarray[Any, Any]
BITS = st.integers(4, 8)
MAGNITUDE = st.integers(-12, 12).map(lambda power: 10.0**power)


@st.composite
def codes_and_values(draw: st.DrawFn) -> tuple[ActivationCode, Array]:
    """A code, and values within its range."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = generator.standard_normal(50) * draw(MAGNITUDE) + draw(MAGNITUDE)
    kept = values.astype(np.float32)
    return code_for_range(kept.min(), kept.max(), draw(BITS)), kept


@given(both=codes_and_values())
def test_values_in_range_come_back_within_half_a_step(both: tuple[ActivationCode, Array]) -> None:
    code, values = both
    error = np.abs(code.decode(code.encode(values)).astype(np.float64) - values)
    assert (error <= 0.501 * code.step).all()


@given(both=codes_and_values())
def test_zero_is_exact_so_that_padding_is(both: tuple[ActivationCode, Array]) -> None:
    code, _ = both
    assert code.encode(np.zeros(1, np.float32))[0] == code.zero_point
    assert code.decode(np.array([code.zero_point], np.uint8))[0] == 0


@given(both=codes_and_values())
def test_order_is_kept(both: tuple[ActivationCode, Array]) -> None:
    code, values = both
    assert (np.diff(code.encode(np.sort(values)).astype(int)) >= 0).all()


@given(bits=BITS, low=st.floats(-1e30, 1e30), high=st.floats(-1e30, 1e30))
def test_the_zero_point_is_a_code(bits: int, low: float, high: float) -> None:
    assume(low <= high)
    code = code_for_range(low, high, bits)
    assert 0 <= code.zero_point <= 2**bits - 1
    assert code.step > 0


@pytest.mark.parametrize("bits", range(4, 9))
def test_what_is_out_of_range_is_clipped(bits: int) -> None:
    code = code_for_range(-1.0, 2.0, bits)
    beyond = np.float32([-3e38, -5, 7, 3e38, np.inf, -np.inf])
    last = 2**bits - 1
    np.testing.assert_array_equal(code.encode(beyond), [0, 0, last, last, last, 0])


@pytest.mark.parametrize("size", [0.0, 1e-45, 1e-30, 1e-20, 1e20, 1e38])
@pytest.mark.parametrize("method", sorted(RANGE_METHODS))
def test_ranges_of_any_size_raise_no_warning(method: str, size: float) -> None:
    values = np.float32(size) * np.float32([-1, 0, 1, 1])
    code = RANGE_METHODS[method](values, 8)
    found = code.decode(code.encode(values))
    assert np.isfinite(found).all()
    if size >= 1e-20:
        np.testing.assert_allclose(found, values, atol=0.02 * size)


def test_bits_and_ranges_that_cannot_be_are_refused() -> None:
    with pytest.raises(CalibError, match="activation bits must be 4 to 8, not 3"):
        code_for_range(0, 1, 3)
    with pytest.raises(CalibError, match="the network overflows"):
        code_for_range(0, np.inf, 8)


def squared_errors(values: Array, bits: int, of: Array) -> dict[str, float]:
    codes = {name: find(values, bits) for name, find in RANGE_METHODS.items()}
    return {name: float(((c.decode(c.encode(of)) - of) ** 2).mean()) for name, c in codes.items()}


def test_extremes_are_best_for_values_that_fill_their_range() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 20_000).astype(np.float32)
    errors = squared_errors(values, 8, np.float32([-1, 1, 0.99, -0.99]))
    assert errors["min-max"] == min(errors.values())
    assert errors["min-max"] < errors["percentile"]


def test_the_percentile_is_best_for_the_many_where_one_value_is_far_away() -> None:
    values = np.random.default_rng(0).uniform(0, 1, 20_000).astype(np.float32)
    ordinary = values.copy()
    values[0] = 1000
    errors = squared_errors(values, 8, ordinary)
    assert errors["percentile"] == min(errors.values())
    assert errors["percentile"] < 1e-3 * errors["min-max"]


def test_the_squared_error_is_best_for_heavy_tails_at_few_bits() -> None:
    values = np.random.default_rng(0).laplace(size=20_000).astype(np.float32)
    errors = squared_errors(values, 4, values)
    assert errors["mean-squared-error"] == min(errors.values())
    assert errors["mean-squared-error"] < 0.7 * errors["min-max"]


@given(both=codes_and_values(), bits=BITS)
def test_the_squared_error_is_never_worse_than_the_extremes(
    both: tuple[ActivationCode, Array], bits: int
) -> None:
    _, values = both
    assume(np.abs(values).max() < 1e6)
    errors = squared_errors(values, bits, values)
    assert errors["mean-squared-error"] <= errors["min-max"] * (1 + 1e-6)

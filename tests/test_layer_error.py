"""Layer errors against their formulas, over blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.layer_error import LayerError, LayerErrors

Array = np.ndarray[Any, Any]


def of(*blocks: tuple[Array, Array]) -> LayerError:
    errors = LayerErrors()
    for block in blocks:
        errors.add({"layer": block})
    return errors.errors()["layer"]


@given(
    seed=st.integers(0, 2**32 - 1),
    mean=st.floats(-100, 100),
    size=st.integers(-12, 12).map(lambda power: 10.0**power),
)
def test_the_figures_are_those_of_the_formulas(seed: int, mean: float, size: float) -> None:
    generator = np.random.default_rng(seed)
    y = (size * (generator.standard_normal((4, 5, 3)) + mean)).astype(np.float32)
    z = (0.9 * y + size * generator.standard_normal(y.shape)).astype(np.float32)
    found = of((z, y))
    y, z = y.astype(np.float64), z.astype(np.float64)
    relative = np.linalg.norm(z - y) / np.linalg.norm(y)
    np.testing.assert_allclose(found.relative_error, relative)
    np.testing.assert_allclose(found.sqnr_db, -20 * np.log10(relative), atol=1e-9)
    np.testing.assert_allclose(found.bias * np.sqrt((y**2).mean()), (z - y).mean(), rtol=1e-7)
    slope = np.polyfit(y.ravel() / size, z.ravel() / size, 1)[0]
    np.testing.assert_allclose(found.gain, slope, rtol=1e-6, atol=1e-6)


@given(gain=st.floats(0.1, 3), shift=st.floats(-2, 2).map(lambda x: round(x, 6)))
def test_gain_and_bias_say_what_happened(gain: float, shift: float) -> None:
    y = np.random.default_rng(0).standard_normal((8, 16, 4))
    y = (y - y.mean()) / y.std()
    found = of((gain * y + shift, y))
    np.testing.assert_allclose([found.gain, found.bias], [gain, shift], atol=1e-12)


def test_blocks_add_up() -> None:
    generator = np.random.default_rng(1)
    y, z = generator.standard_normal((2, 12, 5, 3)).astype(np.float32)
    parts = of(*((z[part], y[part]) for part in (slice(0, 5), slice(5, 6), slice(6, None))))
    whole = of((z, y))
    np.testing.assert_allclose(
        [parts.relative_error, parts.sqnr_db, parts.bias, parts.gain],
        [whole.relative_error, whole.sqnr_db, whole.bias, whole.gain],
    )


def test_no_error_is_three_hundred_decibels() -> None:
    y = np.random.default_rng(0).standard_normal((3, 4, 2))
    assert of((y, y)) == LayerError(relative_error=0, sqnr_db=300, bias=0, gain=1)


def test_a_layer_that_should_be_silent_and_is() -> None:
    silence = np.zeros((2, 3, 1), np.float32)
    assert of((silence, silence)) == LayerError(relative_error=0, sqnr_db=300, bias=0, gain=1)


def test_a_layer_that_should_be_silent_and_is_not_is_wholly_wrong() -> None:
    silence = np.zeros((2, 3, 1), np.float32)
    assert of((silence - 5, silence)) == LayerError(relative_error=1, sqnr_db=0, bias=-1, gain=1)


@pytest.mark.parametrize("value", [0.1, 1e-20, 3e19, -7.0])
def test_where_the_reference_is_constant_no_slope_is_made_of_rounding(value: float) -> None:
    reference = np.full((50, 7, 3), value, np.float32)
    noise = np.random.default_rng(0).standard_normal(reference.shape).astype(np.float32)
    assert of((reference * (1 + noise), reference)).gain == 1


def test_outputs_that_are_not_finite_give_figures_that_are_not() -> None:
    y = np.ones((2, 2, 1), np.float32)
    found = of((np.full_like(y, np.nan), y))
    assert np.isnan([found.relative_error, found.sqnr_db, found.bias]).all()

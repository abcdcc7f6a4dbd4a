"""A layer's arrays in the layout of TFLite's tensors, against the products that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.graph.linear import multiply
from calib.tflite_layout import (
    CONVOLUTION,
    DEPTHWISE,
    a_tensor,
    b_tensor,
    probe_tensor,
    weight_of,
    weight_tensor,
)

SIZES = st.integers(1, 4)


@given(groups=SIZES, taps=SIZES, channels=SIZES, outputs=SIZES)
def test_a_convolution_multiplies_what_ours_does(
    groups: int, taps: int, channels: int, outputs: int
) -> None:
    generator = np.random.default_rng(0)
    weight = generator.normal(size=(groups, taps * channels, outputs))
    rows = generator.normal(size=(5, groups, taps * channels))
    tensor = weight_tensor(weight, CONVOLUTION, (groups * outputs, taps, 1, channels))
    np.testing.assert_array_equal(weight_of(tensor, CONVOLUTION, groups), weight)
    window = rows.reshape(5, groups, taps, channels)
    filters = tensor.reshape(groups, outputs, taps, channels)
    expected = np.einsum("ngtc,gotc->ngo", window, filters).reshape(5, -1)
    np.testing.assert_allclose(multiply(rows, weight), expected, atol=1e-12)
    given_rows = probe_tensor(rows, CONVOLUTION)
    np.testing.assert_array_equal(given_rows.reshape(rows.shape), rows)


@given(groups=SIZES, taps=SIZES, outputs=SIZES)
def test_a_depthwise_convolution_multiplies_what_ours_does(
    groups: int, taps: int, outputs: int
) -> None:
    generator = np.random.default_rng(0)
    weight = generator.normal(size=(groups, taps, outputs))
    rows = generator.normal(size=(5, groups, taps))
    tensor = weight_tensor(weight, DEPTHWISE, (1, 1, taps, groups * outputs))
    np.testing.assert_array_equal(weight_of(tensor, DEPTHWISE, groups), weight)
    read = probe_tensor(rows, DEPTHWISE)
    assert read.shape == (5, 1, taps, groups)
    filters = tensor.reshape(taps, groups, outputs)
    expected = np.einsum("ntg,tgo->ngo", read[:, 0], filters).reshape(5, -1)
    np.testing.assert_allclose(multiply(rows, weight), expected, atol=1e-12)


def test_a_smaller_rank_is_filled_with_zeros_and_a_larger_one_refused() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 12)), generator.normal(size=(5, 2))
    left = a_tensor(a.astype(np.float32), (4, 2, 2, 3)).reshape(4, 12)
    right = b_tensor(b.astype(np.float32), (5, 1, 1, 4)).reshape(5, 4)
    np.testing.assert_allclose(right @ left, b @ a, rtol=1e-5, atol=1e-6)
    assert not left[2:].any()
    assert not right[:, 2:].any()
    with pytest.raises(ValueError, match="rank 2 is above the capacity of 1"):
        a_tensor(a.astype(np.float32), (1, 2, 2, 3))

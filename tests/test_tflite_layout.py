"""A layer's arrays in the layout of TFLite's tensors, against the products that they stand for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from calib.graph.linear import multiply
from calib.tflite_layout import DEPTHWISE, row_tensor, weight_tensor, weights_of

SIZES = st.integers(1, 4)


@given(groups=SIZES, taps=SIZES, channels=SIZES, outputs=SIZES)
def test_a_convolution_multiplies_what_ours_does(
    groups: int, taps: int, channels: int, outputs: int
) -> None:
    generator = np.random.default_rng(0)
    weight = generator.normal(size=(groups, taps * channels, outputs))
    rows = generator.normal(size=(5, groups, taps * channels))
    tensor = weight_tensor(weight, (groups * outputs, taps, 1, channels), "OHWI")
    np.testing.assert_array_equal(weights_of(tensor, groups, "OHWI"), weight)
    read = row_tensor(rows, taps, (5, taps, 1, groups * channels))
    window = read.reshape(5, taps, groups, channels)
    filters = tensor.reshape(groups, outputs, taps, channels)
    expected = np.einsum("ntgc,gotc->ngo", window, filters).reshape(5, -1)
    np.testing.assert_allclose(multiply(rows, weight), expected, atol=1e-12)


@given(groups=SIZES, taps=SIZES, outputs=SIZES)
def test_a_depthwise_convolution_multiplies_what_ours_does(
    groups: int, taps: int, outputs: int
) -> None:
    generator = np.random.default_rng(0)
    weight = generator.normal(size=(groups, taps, outputs))
    rows = generator.normal(size=(5, groups, taps))
    tensor = weight_tensor(weight, (1, 1, taps, groups * outputs), DEPTHWISE)
    np.testing.assert_array_equal(weights_of(tensor, groups, DEPTHWISE), weight)
    read = row_tensor(rows, taps, (5, 1, taps, groups))
    filters = tensor.reshape(taps, groups, outputs)
    expected = np.einsum("ntg,tgo->ngo", read[:, 0], filters).reshape(5, -1)
    np.testing.assert_allclose(multiply(rows, weight), expected, atol=1e-12)

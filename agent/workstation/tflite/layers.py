"""A linear layer as TFLite's operators: its integer kernel, and the branch beside it in float."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.workstation.tflite.design import Design
from agent.workstation.tflite.writer import NONE, Options, Writer
from calib.importers.tflite_schema import Affine, options_of
from calib.schemes.activations import ActivationCode
from calib.tflite_layout import weight_tensor

INT8_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4}
_OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
}
_OUTPUT_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
ONE_TAP = {
    "padding": 1, "strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1,
}  # fmt: skip
"""Of a convolution that sees one position: VALID."""


@dataclass(frozen=True)
class Product:
    """An integer kernel, by the numbers of its tensors."""

    output: int
    weights: int
    bias: int


@dataclass(frozen=True)
class Branch:
    """B (A x), by the numbers of its tensors."""

    output: int
    a: int
    b: int
    b_bias: int


def options_for(kernel: str, geometry: Any, activation: int) -> Options:
    """A kernel's options: those of its geometry, and what is fused into it."""
    return options_of(_OPTIONS[kernel], **{**geometry, "fusedActivationFunction": activation})


def geometry_of(design: Design) -> Any:
    """Strides, padding and dilations."""
    return ONE_TAP if design.is_reshaped else design.options


def entered(writer: Writer, design: Design, source: int) -> int:
    """The codes that a layer is given, in the shape that its kernel reads."""
    if not design.is_reshaped:
        return source
    layer = design.layer
    shape = (1, layer.positions, 1, layer.inputs)
    made = writer.codes(f"{layer.name}/rows", shape, design.given)
    return writer.reshaped(source, shape, made)


def product(  # noqa: PLR0913  # what a kernel is made of
    writer: Writer,
    design: Design,
    source: int,
    shape: Sequence[int],
    *,
    label: str,
    code: ActivationCode,
    activation: int = NONE,
    geometry: Any = None,
) -> Product:
    """The layer's integer kernel.

    Args:
        writer: of the file.
        design: the layer.
        source: the codes it is given, see `entered`.
        shape: of what it makes.
        label: a name for what it makes.
        code: of what it makes.
        activation: fused into it.
        geometry: of the kernel, if it is not the layer's own.
    """
    kernel, integers, name = design.kernel, design.integers, design.layer.name
    codes = weight_tensor(integers.codes, design.weight_shape, design.form)
    affine = Affine(design.scales, 0, _OUTPUT_AXIS[kernel])
    weights = writer.constant(f"{label}/weights", codes, affine)
    bias = writer.constant(f"{label}/bias", integers.bias, Affine(design.bias_scales, 0))
    output = writer.codes(label or name, shape, code)
    options = options_for(kernel, geometry or geometry_of(design), activation)
    writer.operator(kernel, INT8_VERSIONS[kernel], [source, weights, bias], [output], options)
    return Product(output, weights, bias)


def branch(writer: Writer, design: Design, source: int, shape: Sequence[int]) -> Branch:
    """The branch, without an effect: its B is zero.

    Args:
        writer: of the file.
        design: the layer.
        source: what the codes that it is given stand for, as float32.
        shape: of what it makes.
    """
    name, layer, rank = design.layer.name, design.layer, design.rank
    flat = design.kernel == "FULLY_CONNECTED"
    kernel = "FULLY_CONNECTED" if flat else "CONV_2D"
    a_shape = (rank, *design.weight_shape[1:])
    b_shape = (layer.outputs, rank) if flat else (layer.outputs, 1, 1, rank)
    a = writer.constant(f"{name}/branch/a", np.zeros(a_shape, np.float32))
    a_bias = writer.constant(f"{name}/branch/a_bias", np.zeros(rank, np.float32))
    b = writer.constant(f"{name}/branch/b", np.zeros(b_shape, np.float32))
    b_bias = writer.constant(f"{name}/branch/b_bias", np.zeros(layer.outputs, np.float32))
    middle = writer.floats(f"{name}/branch/low", (*shape[:-1], rank))
    options = options_for(kernel, geometry_of(design), NONE)
    writer.operator(kernel, 1, [source, a, a_bias], [middle], options)
    output = writer.floats(f"{name}/branch", shape)
    options = options_for(kernel, {} if flat else ONE_TAP, NONE)
    writer.operator(kernel, 1, [middle, b, b_bias], [output], options)
    return Branch(output, a, b, b_bias)


def made_shape(design: Design, declared: Sequence[int]) -> tuple[int, ...]:
    """Of what a layer's kernel makes, where the file's operator makes this shape."""
    if not design.is_reshaped:
        return tuple(declared)
    return (1, math.prod(declared) // design.layer.outputs, 1, design.layer.outputs)

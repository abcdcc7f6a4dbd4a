"""TFLite's convolutions, poolings and fully connected layers as nodes."""

from __future__ import annotations

import numpy as np

from calib.errors import GraphError, UnsupportedError
from calib.graph.model import Array
from calib.importers.tflite_builder import Builder
from calib.importers.tflite_file import Operator

_ACTIVATIONS: dict[int, tuple[str, tuple[float, ...]]] = {
    1: ("Relu", ()),
    2: ("Clip", (-1.0, 1.0)),
    3: ("Clip", (0.0, 6.0)),
    4: ("Tanh", ()),
}
"""ActivationFunctionType of the schema: node and its bounds."""


def finish(
    builder: Builder, operator: Operator, result: str, *, first: bool = False, output: int = 0
) -> None:
    """Add the fused activation behind a result and declare the operator's output."""
    number = operator.options.get("fused_activation_function", 0)
    if number:
        if number not in _ACTIVATIONS:
            raise UnsupportedError(f"its fused activation {number} is not supported")
        op, bounds = _ACTIVATIONS[number]
        result = clipped(builder, op, result, bounds)
    builder.define(operator.outputs[output], result, first=first)


def clipped(builder: Builder, op: str, source: str, bounds: tuple[float, ...]) -> str:
    """An activation behind a tensor, with bounds where it is a Clip."""
    name = f"{source}/{op.lower()}"
    limits = [builder.constant(f"{name}/bound", np.array(b, np.float32)) for b in bounds]
    return builder.node(op, name, [source, *limits])[0]


def convolution(builder: Builder, operator: Operator) -> None:
    """CONV_2D: weights [outputs, height, width, inputs/groups]."""
    weight = builder.known(operator.inputs[1], "weight")
    _four_axes(builder, operator, weight)
    channels = builder.shape(operator.inputs[0])[3]
    if not weight.shape[3] or channels % weight.shape[3]:
        raise GraphError(f"weights of shape {list(weight.shape)} do not fit {channels} channels")
    _convolve(builder, operator, weight.transpose(0, 3, 1, 2), channels // weight.shape[3])


def depthwise(builder: Builder, operator: Operator) -> None:
    """DEPTHWISE_CONV_2D: weights [1, height, width, channels · multiplier]."""
    weight = builder.known(operator.inputs[1], "weight")
    _four_axes(builder, operator, weight)
    channels = builder.shape(operator.inputs[0])[3]
    if weight.shape[0] != 1 or not channels or weight.shape[3] % channels:
        raise GraphError(f"weights of shape {list(weight.shape)} do not fit {channels} channels")
    _convolve(builder, operator, weight.transpose(3, 0, 1, 2), channels)


def _four_axes(builder: Builder, operator: Operator, weight: Array | None = None) -> None:
    shape = builder.shape(operator.inputs[0])
    if len(shape) != 4 or (weight is not None and weight.ndim != 4):
        raise GraphError(f"it needs tensors of four axes, not of shape {list(shape)}")


def _convolve(builder: Builder, operator: Operator, weight: Array, groups: int) -> None:
    name = builder.layer_name(operator, operator.inputs[1])
    inputs = [builder.first(operator.inputs[0])]
    inputs.append(builder.constant(f"{name}/weight", np.ascontiguousarray(weight)))
    inputs += _bias(builder, operator, name)
    options = operator.options
    dilations = (options["dilation_h_factor"], options["dilation_w_factor"])
    strides, pads = _geometry(builder, operator, weight.shape[2:], dilations)
    result = builder.node(
        "Conv",
        name,
        inputs,
        strides=strides,
        pads=pads,
        dilations=dilations,
        group=groups,
        kernel_shape=weight.shape[2:],
    )[0]
    finish(builder, operator, result, first=True)


def _bias(builder: Builder, operator: Operator, name: str) -> list[str]:
    if len(operator.inputs) < 3 or operator.inputs[2] < 0:
        return []
    bias = builder.known(operator.inputs[2], "bias").astype(np.float32)
    return [builder.constant(f"{name}/bias", bias)]


def _geometry(
    builder: Builder,
    operator: Operator,
    kernel: tuple[int, ...],
    dilations: tuple[int, ...] = (1, 1),
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Strides and explicit pads; TFLite's SAME puts the odd one at the end."""
    strides = (operator.options["stride_h"], operator.options["stride_w"])
    if min(*kernel, *strides, *dilations) < 1:
        raise GraphError(
            f"kernel {list(kernel)}, strides {list(strides)} and dilations {list(dilations)} "
            "must be positive; the model is damaged: export it again"
        )
    if operator.options["padding"] == 1:  # VALID
        return strides, (0, 0, 0, 0)
    spatial = builder.shape(operator.inputs[0])[1:3]
    totals = [
        max((-(-size // step) - 1) * step + (taps - 1) * dilation + 1 - size, 0)
        for size, taps, step, dilation in zip(spatial, kernel, strides, dilations, strict=True)
    ]
    begins = [total // 2 for total in totals]
    return strides, (*begins, *(t - b for t, b in zip(totals, begins, strict=True)))


def pool(builder: Builder, operator: Operator) -> None:
    """AVERAGE_POOL_2D and MAX_POOL_2D; padding does not count in an average."""
    _four_axes(builder, operator)
    op = "AveragePool" if operator.code == "AVERAGE_POOL_2D" else "MaxPool"
    kernel = (operator.options["filter_height"], operator.options["filter_width"])
    strides, pads = _geometry(builder, operator, kernel)
    result = builder.node(
        op,
        builder.layer_name(operator),
        [builder.first(operator.inputs[0])],
        kernel_shape=kernel,
        strides=strides,
        pads=pads,
    )[0]
    finish(builder, operator, result, first=True)


def fully_connected(builder: Builder, operator: Operator) -> None:
    """FULLY_CONNECTED: weights [outputs, inputs]; the input is flattened unless told otherwise."""
    weight = builder.known(operator.inputs[1], "weight")
    if weight.ndim != 2 or operator.options["weights_format"]:
        raise UnsupportedError(f"its weights of shape {list(weight.shape)} are stored shuffled")
    name = builder.layer_name(operator, operator.inputs[1])
    source = operator.inputs[0]
    bias = _bias(builder, operator, name)
    if operator.options["keep_num_dims"] and len(builder.shape(source)) > 2:
        matrix = builder.constant(f"{name}/weight", np.ascontiguousarray(weight.T))
        result = builder.node("MatMul", name, [builder.last(source), matrix])[0]
        if bias:
            result = builder.node("Add", f"{name}/add", [result, *bias])[0]
    else:
        rows = _rows(builder, source, int(weight.shape[1]), name)
        matrix = builder.constant(f"{name}/weight", weight)
        result = builder.node("Gemm", name, [rows, matrix, *bias], transB=1)[0]
    finish(builder, operator, result)


def _rows(builder: Builder, source: int, width: int, name: str) -> str:
    if len(builder.shape(source)) == 2:
        return builder.last(source)
    shape = builder.indices(f"{name}/rows", (-1, width))
    return builder.node("Reshape", f"{name}/flatten", [builder.flat(source), shape])[0]

"""Readable, unique names: they are the layer names that users meet in tables."""

from __future__ import annotations

import re
from collections.abc import Collection

_OPERATIONS = {
    "add", "AddV", "AvgPool", "BatchMatMulV", "BiasAdd", "Const", "Conv", "Conv2D", "Conv1D",
    "convolution", "depthwise", "depthwise_conv", "ExpandDims", "FusedBatchNormV", "Mean",
    "MatMul", "MaxPool", "mul", "ReadVariableOp", "Relu", "Reshape", "resource",
    "separable_conv", "Sigmoid", "Softmax", "Squeeze", "sub", "Tanh", "Tensordot",
    "transpose", "concat",
}  # fmt: skip
"""Last parts of TensorFlow's paths that name an operation inside a layer, digits cut off."""

_ANONYMOUS = re.compile(r"(Stateful)?(Partitioned)?(Identity|Call)|arith\.constant|tfl\..*|\W*")


def tensorflow_layer(path: str) -> str:
    """The layer in a TensorFlow tensor name, or nothing where the name says nothing.

    `model/relu_3/Relu;model/conv2d_3/BiasAdd;model/conv2d_3/Conv2D1` gives `conv2d_3`: fused
    operations are joined by semicolons, the last one is the first to run, and a number may be
    glued on to keep names apart.
    """
    last = path.rsplit(";", maxsplit=1)[-1]
    parts = last.split(":", maxsplit=1)[0].split("/")
    if len(parts) > 1 and _operation(parts[-1]):
        parts.pop()
    # A part in small letters that is not the last is a layer: `model/add/add`.
    while len(parts) > 1 and _operation(parts[-1]) and parts[-1][0].isupper():
        parts.pop()
    layer = parts[-1]
    anonymous = _ANONYMOUS.fullmatch(layer.rstrip("_0123456789"))
    return "" if anonymous or (len(parts) == 1 and _operation(layer)) else layer


def _operation(part: str) -> bool:
    return part in _OPERATIONS or part.rstrip("_0123456789") in _OPERATIONS


def unique(name: str, taken: Collection[str]) -> str:
    """The name, with a number behind it where it is taken."""
    if name not in taken:
        return name
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"


def module_layer(path: str, op: str) -> str:
    """A node's name without the operation that PyTorch's exporter writes behind the module.

    `/layer1/conv1/Conv` gives `layer1/conv1`; names of other exporters stay as they are.
    """
    parts = path.strip("/").split("/")
    if len(parts) > 1 and parts[-1].rstrip("_0123456789") == op:
        parts.pop()
    return "/".join(parts) or op.lower()

"""TFLite's elementwise operators, activations and reductions as nodes."""

from __future__ import annotations

import numpy as np

from calib.errors import UnsupportedError
from calib.importers.tflite_builder import Builder, slots
from calib.importers.tflite_file import Operator
from calib.importers.tflite_windows import clipped, finish

UNARY = {
    "EXP": "Exp",
    "HARD_SWISH": "HardSwish",
    "LOG": "Log",
    "LOGISTIC": "Sigmoid",
    "NEG": "Neg",
    "RELU": "Relu",
    "SQRT": "Sqrt",
    "TANH": "Tanh",
}
BINARY = {"ADD": "Add", "DIV": "Div", "MUL": "Mul", "POW": "Pow", "SUB": "Sub"}
BOUNDS = {"RELU6": (0.0, 6.0), "RELU_0_TO_1": (0.0, 1.0), "RELU_N1_TO_1": (-1.0, 1.0)}


def unary(builder: Builder, operator: Operator) -> None:
    """An operator that is one node without options."""
    _simple(builder, operator, UNARY[operator.code])


def _simple(builder: Builder, operator: Operator, op: str, **attributes: float | str) -> None:
    (source,), first = builder.either(operator.inputs[:1])
    name = builder.layer_name(operator)
    result = builder.node(op, name, [source], outputs=1, **attributes)[0]
    builder.define(operator.outputs[0], result, first=first)


def leaky(builder: Builder, operator: Operator) -> None:
    """LEAKY_RELU."""
    _simple(builder, operator, "LeakyRelu", alpha=float(operator.options["alpha"]))


def gelu(builder: Builder, operator: Operator) -> None:
    """GELU, exact or by tanh."""
    _simple(
        builder, operator, "Gelu", approximate="tanh" if operator.options["approximate"] else "none"
    )


def bounded(builder: Builder, operator: Operator) -> None:
    """RELU6 and its relatives: a Clip."""
    (source,), first = builder.either(operator.inputs[:1])
    result = clipped(builder, "Clip", source, BOUNDS[operator.code])
    builder.define(operator.outputs[0], result, first=first)


def binary(builder: Builder, operator: Operator) -> None:
    """Two operands with broadcasting."""
    inputs, first = builder.either(operator.inputs[:2])
    result = builder.node(BINARY[operator.code], builder.layer_name(operator), inputs)[0]
    finish(builder, operator, result, first=first)


def reciprocal_root(builder: Builder, operator: Operator) -> None:
    """RSQRT: 1/√x."""
    (source,), first = builder.either(operator.inputs[:1])
    name = builder.layer_name(operator)
    root = builder.node("Sqrt", f"{name}/sqrt", [source])
    builder.define(operator.outputs[0], builder.node("Reciprocal", name, root)[0], first=first)


def square(builder: Builder, operator: Operator) -> None:
    """SQUARE, and SQUARED_DIFFERENCE of two operands."""
    inputs, first = builder.either(operator.inputs)
    name = builder.layer_name(operator)
    base = builder.node("Sub", f"{name}/sub", inputs)[0] if len(inputs) > 1 else inputs[0]
    builder.define(operator.outputs[0], builder.node("Mul", name, [base, base])[0], first=first)


def softmax(builder: Builder, operator: Operator) -> None:
    """SOFTMAX with its factor beta, and LOG_SOFTMAX, along the channels."""
    (source,), first = builder.either(operator.inputs[:1])
    name = builder.layer_name(operator)
    beta = float(operator.options.get("beta", 1.0))
    if beta != 1.0:
        factor = builder.constant(f"{name}/beta", np.array(beta, np.float32))
        source = builder.node("Mul", f"{name}/scaled", [source, factor])[0]
    op = "Softmax" if operator.code == "SOFTMAX" else "LogSoftmax"
    result = builder.node(op, name, [source], axis=1 if first else -1)[0]
    builder.define(operator.outputs[0], result, first=first)


def reduction(builder: Builder, operator: Operator) -> None:
    """MEAN and SUM over constant axes."""
    source, axes = operator.inputs[0], builder.integers(operator.inputs[1], "list of axes")
    rank, keep = len(builder.shape(source)), bool(operator.options["keep_dims"])
    if not axes:
        raise UnsupportedError("a reduction over no axes is not supported")
    (data,), first = builder.either((source,))
    mapped = slots(axes, rank, first=first)
    left = slots(_others(axes, rank), rank, first=first)
    if first and not keep and list(left) != sorted(left):
        data, first, mapped = builder.last(source), False, slots(axes, rank, first=False)
    name = builder.layer_name(operator)
    inputs = [data, builder.indices(f"{name}/axes", tuple(sorted(mapped)))]
    op = "ReduceMean" if operator.code == "MEAN" else "ReduceSum"
    result = builder.node(op, name, inputs, keepdims=int(keep))[0]
    builder.define(operator.outputs[0], result, first=first and keep)


def _others(axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    reduced = {axis % rank for axis in axes}
    return tuple(axis for axis in range(rank) if axis not in reduced)

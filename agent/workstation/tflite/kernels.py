"""Which TFLite operators are computed in int8, and on which terms.

What is not listed here stays in float, between a DEQUANTIZE and a QUANTIZE. Versions are the first
in which an operator takes int8, so that old interpreters, too, know it (TensorFlow's
`tools/versioning/op_version.cc`).
"""

from __future__ import annotations

from calib.importers.tflite_file import Model, Operator

_MOVES = {
    "AVERAGE_POOL_2D": 2,
    "CONCATENATION": 2,
    "EXPAND_DIMS": 1,
    "MAX_POOL_2D": 2,
    "PAD": 2,
    "RESHAPE": 1,
    "SLICE": 2,
    "SPLIT": 2,
    "SPLIT_V": 2,
    "SQUEEZE": 1,
    "STRIDED_SLICE": 2,
    "TRANSPOSE": 2,
}
"""What these read and what they make has one code."""

_REPLACES = {"ADD": 2, "LEAKY_RELU": 2, "MEAN": 2, "MUL": 2, "RELU": 2, "RELU6": 2, "SUB": 2}
"""What these make has a code of its own."""

INT8_VERSIONS = {**_MOVES, **_REPLACES}

_ONLY_ACTIVATIONS = {"CONCATENATION"}
"""A constant among what these join would need their code."""

_RELU_AND_NONE = (0, 1, 3)
"""Of ActivationFunctionType: none, RELU, RELU6."""


def data_inputs(operator: Operator) -> tuple[int, ...]:
    """The tensors with the values; the others are axes, shapes and sizes."""
    if operator.code in {"ADD", "MUL", "SUB"}:
        return operator.inputs[:2]
    if operator.code == "CONCATENATION":
        return operator.inputs
    return operator.inputs[1:2] if operator.code == "SPLIT" else operator.inputs[:1]


def has_int8_form(model: Model, operator: Operator) -> bool:
    """Whether a float operator can be computed in int8."""
    if operator.code not in INT8_VERSIONS:
        return False
    if operator.options.get("fused_activation_function", 0) not in _RELU_AND_NONE:
        return False
    constant = [model.tensors[t].value is not None for t in data_inputs(operator)]
    return not (any(constant) and operator.code in _ONLY_ACTIVATIONS) and not all(constant)


def keeps_code(model: Model, operator: Operator) -> bool:
    """Whether what the operator reads and makes must have one code."""
    return operator.code in _MOVES and has_int8_form(model, operator)

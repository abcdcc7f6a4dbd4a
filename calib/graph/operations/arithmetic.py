"""Arithmetic on elements: sums, products, powers, changes of type."""

from __future__ import annotations

from functools import reduce

import numpy as np

from calib.errors import UnsupportedError
from calib.graph.model import Array
from calib.graph.operations.access import given, incoming, integer
from calib.graph.operations.elementwise import Pair, register_pair, register_unary, unbroadcast
from calib.graph.registry import Attributes, Forward, Inputs, Pullback, Tape, register

_TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
}
"""ONNX's numbers of element types (TensorProto.DataType) that NumPy has."""


def _divide(a: Array, b: Array) -> Array:
    if np.issubdtype(np.result_type(a, b), np.inexact):
        return np.divide(a, b)
    quotient = np.floor_divide(a, b)  # ONNX rounds towards zero, NumPy down
    negative = (quotient < 0) & (quotient * b != a)
    truncated: Array = np.add(quotient, negative, dtype=quotient.dtype)
    return truncated


def _divide_gradients(a: Array, b: Array, gradient: Array) -> tuple[Array, Array]:
    by_a = gradient / b
    return by_a, -by_a * a / b


def _power(a: Array, b: Array) -> Array:
    whole_base = np.issubdtype(a.dtype, np.integer)
    if whole_base and np.issubdtype(b.dtype, np.integer) and np.any(np.less(b, 0)):
        b = b.astype(np.float64)  # NumPy refuses negative whole powers of whole numbers
    return np.power(a, b).astype(a.dtype, copy=False)


def _power_gradients(a: Array, b: Array, gradient: Array) -> tuple[Array, Array]:
    with np.errstate(divide="ignore", invalid="ignore"):  # where() leaves those numbers out
        by_a = np.where(b == 0, 0, gradient * b * np.power(a, b - 1))
        by_b = np.where(a > 0, gradient * np.power(a, b) * np.log(np.abs(a)), 0)
    return by_a.astype(a.dtype, copy=False), by_b.astype(b.dtype, copy=False)


def _product_gradients(a: Array, b: Array, gradient: Array) -> tuple[Array, Array]:
    return gradient * b, gradient * a


def _identity(inputs: Inputs, _: Attributes) -> tuple[Array, ...]:
    return (given(inputs, 0),)


def _identity_pullback(tape: Tape) -> tuple[Array, ...]:
    return (incoming(tape),)


def _cast(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
    code = integer(attributes, "to", 1)
    if code not in _TYPES:
        known = ", ".join(f"{number} ({name})" for number, name in _TYPES.items())
        raise UnsupportedError(f"Cast to ONNX type {code} is not supported; supported are: {known}")
    return (given(inputs, 0).astype(_TYPES[code], copy=False),)


def _cast_pullback(tape: Tape) -> tuple[Array | None, ...]:
    x = given(tape.inputs, 0)
    inexact = np.issubdtype(x.dtype, np.inexact)
    if not inexact or not np.issubdtype(tape.outputs[0].dtype, np.inexact):
        return (None,)
    return (incoming(tape).astype(x.dtype, copy=False),)


def _sum(inputs: Inputs, _: Attributes) -> tuple[Array, ...]:
    return (reduce(np.add, _all(inputs)),)


def _sum_pullback(tape: Tape) -> tuple[Array, ...]:
    return tuple(unbroadcast(incoming(tape), x.shape) for x in _all(tape.inputs))


def _mean(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
    return (_sum(inputs, attributes)[0] / len(inputs),)


def _mean_pullback(tape: Tape) -> tuple[Array, ...]:
    return tuple(gradient / len(tape.inputs) for gradient in _sum_pullback(tape))


def _extreme(choose: Pair) -> tuple[Forward, Pullback]:
    """Max and Min of any number of inputs; of equal inputs the first takes the gradient."""

    def forward(inputs: Inputs, _: Attributes) -> tuple[Array, ...]:
        return (reduce(choose, _all(inputs)),)

    def pullback(tape: Tape) -> tuple[Array, ...]:
        y: Array = tape.outputs[0]
        left = np.ones(y.shape, bool)
        found = []
        for x in _all(tape.inputs):
            chosen = left & (x == y)
            left &= ~chosen
            found.append(unbroadcast(incoming(tape) * chosen, x.shape))
        return tuple(found)

    return forward, pullback


def _all(inputs: Inputs) -> list[Array]:
    return [given(inputs, i) for i in range(len(inputs))]


register_pair("Add", np.add, lambda _a, _b, g: (g, g))
register_pair("Sub", np.subtract, lambda _a, _b, g: (g, -g))
register_pair("Mul", np.multiply, _product_gradients)
register_pair("Div", _divide, _divide_gradients)
register_pair("Pow", _power, _power_gradients)
register_unary("Neg", lambda x, _: -x, lambda x, _y, _: np.full_like(x, -1))
register_unary("Abs", lambda x, _: np.abs(x), lambda x, _y, _: np.sign(x))
register_unary("Sqrt", lambda x, _: np.sqrt(x), lambda _x, y, _: 0.5 / y)
register_unary("Reciprocal", lambda x, _: 1 / x, lambda _x, y, _: -y * y)
register_unary("Exp", lambda x, _: np.exp(x), lambda _x, y, _: y)
register_unary("Log", lambda x, _: np.log(x), lambda x, _y, _: 1 / x)
register("Identity", _identity, _identity_pullback)
register("Cast", _cast, _cast_pullback)
register("Sum", _sum, _sum_pullback)
register("Mean", _mean, _mean_pullback)
register("Max", *_extreme(np.maximum))
register("Min", *_extreme(np.minimum))

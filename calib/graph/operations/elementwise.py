"""Operations on one element, or on elements that broadcasting brings together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from calib.graph.model import Array
from calib.graph.operations.access import given, incoming
from calib.graph.registry import Attributes, Inputs, Tape, register

Function = Callable[[Array, Attributes], Array]
Slope = Callable[[Array, Array, Attributes], Array]
"""The derivative, from input, output and attributes; a derivative that needs no attributes may
ignore them."""

Pair = Callable[[Array, Array], Array]
PairGradients = Callable[[Array, Array, Array], tuple[Array, Array]]


def register_unary(name: str, function: Function, slope: Slope) -> None:
    """Enter an operation with one input, element by element."""

    def forward(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
        with np.errstate(under="ignore"):  # a result too small for the type is zero
            return (function(given(inputs, 0), attributes),)

    def pullback(tape: Tape) -> tuple[Array, ...]:
        y: Array = tape.outputs[0]
        with np.errstate(under="ignore"):
            return (incoming(tape) * slope(given(tape.inputs, 0), y, tape.attributes),)

    register(name, forward, pullback)


def register_pair(name: str, function: Pair, gradients: PairGradients) -> None:
    """Enter an operation with two inputs that are broadcast to one shape.

    Args:
        name: the ONNX name.
        function: from both inputs to the output.
        gradients: from both inputs and the incoming gradient to the gradients with respect to
            both, not yet summed over the axes that broadcasting made.
    """

    def forward(inputs: Inputs, _: Attributes) -> tuple[Array, ...]:
        with np.errstate(under="ignore"):
            return (function(given(inputs, 0), given(inputs, 1)),)

    def pullback(tape: Tape) -> tuple[Array, ...]:
        a, b = given(tape.inputs, 0), given(tape.inputs, 1)
        with np.errstate(under="ignore"):
            by_a, by_b = gradients(a, b, incoming(tape))
        return unbroadcast(by_a, a.shape), unbroadcast(by_b, b.shape)

    register(name, forward, pullback)


def unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """The transpose of broadcasting: sums a gradient over the axes that broadcasting made."""
    if gradient.shape == shape:
        return gradient
    extra = gradient.ndim - len(shape)
    stretched = tuple(
        extra + axis for axis, size in enumerate(shape) if size == 1 != gradient.shape[extra + axis]
    )
    summed: Array = gradient.sum(axis=(*range(extra), *stretched), keepdims=True)
    return summed.reshape(shape) if extra else summed

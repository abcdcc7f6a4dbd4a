"""Typed access to what an operation is given: inputs, attributes, axes."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from calib.errors import GraphError
from calib.graph.model import Array
from calib.graph.registry import Attributes, Inputs, Tape


def given(inputs: Inputs, index: int) -> Array:
    """An input that must be there.

    Raises:
        GraphError: it is not.
    """
    found = optional(inputs, index)
    if found is None:
        raise GraphError(f"input {index} is missing of {len(inputs)}; the model is damaged")
    return found


def optional(inputs: Inputs, index: int) -> Array | None:
    """An input that may be left out: None then."""
    return inputs[index] if index < len(inputs) else None


def incoming(tape: Tape) -> Array:
    """The gradient with respect to the first output."""
    gradient = tape.gradients[0]
    return np.zeros_like(tape.outputs[0]) if gradient is None else gradient


def integer(attributes: Attributes, name: str, default: int) -> int:
    """An attribute that is one whole number."""
    return int(cast("int", attributes.get(name, default)))


def number(attributes: Attributes, name: str, default: float) -> float:
    """An attribute that is one number."""
    return float(cast("float", attributes.get(name, default)))


def text(attributes: Attributes, name: str, default: str) -> str:
    """An attribute that is a word."""
    return str(attributes.get(name, default))


def integers(attributes: Attributes, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """An attribute that is a list of whole numbers."""
    return tuple(int(v) for v in cast("tuple[int, ...]", attributes.get(name, default)))


def whole(values: Array) -> tuple[int, ...]:
    """An input of whole numbers (axes, shapes, pads) as a tuple."""
    return tuple(int(v) for v in values.reshape(-1))


def axes_input(inputs: Inputs, index: int, rank: int) -> tuple[int, ...] | None:
    """The axes that an input names, counted from the front; None where it is left out."""
    axes = optional(inputs, index)
    return None if axes is None else tuple(front_axis(axis, rank) for axis in whole(axes))


def along(axis: int, index: Array) -> tuple[Any, ...]:
    """An index that takes one axis by an array, and all of the axes before it."""
    return (*(slice(None),) * axis, index)


def front_axis(axis: int, rank: int) -> int:
    """The axis counted from the front.

    Raises:
        GraphError: there is no such axis.
    """
    if not -rank <= axis < rank:
        raise GraphError(f"axis {axis} does not exist in an array of {rank} axes")
    return axis % rank

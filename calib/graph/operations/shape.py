"""Changes of shape that move no number to another value."""

from __future__ import annotations

import math

import numpy as np

from calib.errors import GraphError
from calib.graph.model import Array
from calib.graph.operations.access import (
    axes_input,
    front_axis,
    given,
    incoming,
    integer,
    integers,
    whole,
)
from calib.graph.operations.elementwise import unbroadcast
from calib.graph.registry import Attributes, Inputs, Tape, register


def _reshape(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
    """To a shape in which 0 keeps the input's length (unless `allowzero`) and -1 is worked out."""
    x, wanted = given(inputs, 0), whole(given(inputs, 1))
    if not integer(attributes, "allowzero", 0):
        if any(not size and axis >= x.ndim for axis, size in enumerate(wanted)):
            raise GraphError(
                f"cannot keep an axis that an array of {x.ndim} axes does not have: {list(wanted)}"
            )
        wanted = tuple(size or x.shape[axis] for axis, size in enumerate(wanted))
    return (x.reshape(wanted),)


def _to_input_shape(tape: Tape) -> tuple[Array | None, ...]:
    """The pullback of every change of shape that keeps the order of the numbers."""
    return (incoming(tape).reshape(given(tape.inputs, 0).shape),)


def _flatten(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
    x = given(inputs, 0)
    axis = integer(attributes, "axis", 1)
    if not -x.ndim <= axis <= x.ndim:
        raise GraphError(f"axis {axis} does not exist in an array of {x.ndim} axes")
    lead = x.shape[: axis if axis >= 0 else axis + x.ndim]
    rows = math.prod(lead)
    return (x.reshape(rows, math.prod(x.shape[len(lead) :])),)


def _transpose(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
    x = given(inputs, 0)
    return (np.transpose(x, _order(x, attributes)),)


def _transpose_pullback(tape: Tape) -> tuple[Array, ...]:
    order = _order(given(tape.inputs, 0), tape.attributes)
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return (np.transpose(incoming(tape), inverse),)


def _order(x: Array, attributes: Attributes) -> tuple[int, ...]:
    return integers(attributes, "perm", tuple(reversed(range(x.ndim))))


def _squeeze(inputs: Inputs, _: Attributes) -> tuple[Array, ...]:
    x = given(inputs, 0)
    return (np.squeeze(x, axis=axes_input(inputs, 1, x.ndim)),)


def _unsqueeze(inputs: Inputs, _: Attributes) -> tuple[Array, ...]:
    x, axes = given(inputs, 0), whole(given(inputs, 1))
    rank = x.ndim + len(axes)
    return (np.expand_dims(x, tuple(front_axis(axis, rank) for axis in axes)),)


def _expand(inputs: Inputs, _: Attributes) -> tuple[Array, ...]:
    x = given(inputs, 0)
    return (np.broadcast_to(x, np.broadcast_shapes(x.shape, whole(given(inputs, 1)))),)


def _expand_pullback(tape: Tape) -> tuple[Array | None, ...]:
    return (unbroadcast(incoming(tape), given(tape.inputs, 0).shape),)


def _shape(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
    lengths = given(inputs, 0).shape
    start, end = integer(attributes, "start", 0), integer(attributes, "end", len(lengths))
    return (np.array(lengths[start:end], np.int64),)


def _no_gradient(tape: Tape) -> tuple[None, ...]:
    return (None,) * len(tape.inputs)


register("Reshape", _reshape, _to_input_shape)
register("Flatten", _flatten, _to_input_shape)
register("Squeeze", _squeeze, _to_input_shape)
register("Unsqueeze", _unsqueeze, _to_input_shape)
register("Transpose", _transpose, _transpose_pullback)
register("Expand", _expand, _expand_pullback)
register("Shape", _shape, _no_gradient)

"""Selection: parts of arrays taken, joined, bordered or chosen by a condition."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import numpy as np

from calib.errors import UnsupportedError
from calib.graph.model import Array
from calib.graph.operations.access import (
    along,
    axes_input,
    front_axis,
    given,
    incoming,
    integer,
    optional,
    text,
    whole,
)
from calib.graph.operations.elementwise import unbroadcast
from calib.graph.registry import Attributes, Inputs, Tape, register

_BORDERS = ("edge", "reflect", "wrap")
"""Modes of Pad that repeat numbers of the input."""


def _concat(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
    parts = [given(inputs, i) for i in range(len(inputs))]
    return (np.concatenate(parts, axis=integer(attributes, "axis", 0)),)


def _concat_pullback(tape: Tape) -> tuple[Array, ...]:
    axis = integer(tape.attributes, "axis", 0)
    lengths = [given(tape.inputs, i).shape[axis] for i in range(len(tape.inputs))]
    return tuple(np.split(incoming(tape), list(accumulate(lengths))[:-1], axis=axis))


def _split(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
    x, axis = given(inputs, 0), integer(attributes, "axis", 0)
    return tuple(np.split(x, list(accumulate(_lengths(inputs, attributes)))[:-1], axis=axis))


def _split_pullback(tape: Tape) -> tuple[Array | None, ...]:
    x, axis = given(tape.inputs, 0), integer(tape.attributes, "axis", 0)
    lengths = _lengths(tape.inputs, tape.attributes)
    room = np.zeros_like(x)
    parts = np.split(room, list(accumulate(lengths))[:-1], axis=axis)
    for part, gradient in zip(parts, tape.gradients, strict=False):
        if gradient is not None:
            part[...] = gradient
    return (room,)


def _lengths(inputs: Inputs, attributes: Attributes) -> tuple[int, ...]:
    """Of the parts: as named, or equal but for a shorter last one."""
    named = optional(inputs, 1)
    if named is not None:
        return whole(named)
    x = given(inputs, 0)
    size = x.shape[front_axis(integer(attributes, "axis", 0), x.ndim)]
    count = integer(attributes, "num_outputs", 1)
    step = -(-size // count)
    return tuple(min(step, size - i * step) for i in range(count))


def _slice(inputs: Inputs, _: Attributes) -> tuple[Array, ...]:
    return (given(inputs, 0)[_slices(inputs)],)


def _slice_pullback(tape: Tape) -> tuple[Array | None, ...]:
    room = np.zeros_like(given(tape.inputs, 0))
    room[_slices(tape.inputs)] = incoming(tape)
    return (room,)


def _slices(inputs: Inputs) -> tuple[slice, ...]:
    rank = given(inputs, 0).ndim
    starts, ends = whole(given(inputs, 1)), whole(given(inputs, 2))
    axes = _named_axes(inputs, tuple(range(len(starts))))
    named = optional(inputs, 4)
    steps = (1,) * len(starts) if named is None else whole(named)
    slices = [slice(None)] * rank
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        slices[axis] = slice(start, end, step)
    return tuple(slices)


def _named_axes(inputs: Inputs, default: tuple[int, ...]) -> tuple[int, ...]:
    axes = axes_input(inputs, 3, given(inputs, 0).ndim)
    return default if axes is None else axes


def _gather(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
    return (np.take(given(inputs, 0), given(inputs, 1), axis=integer(attributes, "axis", 0)),)


def _gather_pullback(tape: Tape) -> tuple[Array | None, ...]:
    x, indices = given(tape.inputs, 0), given(tape.inputs, 1)
    axis = front_axis(integer(tape.attributes, "axis", 0), x.ndim)
    room = np.zeros_like(x)
    np.add.at(room, along(axis, indices), incoming(tape))
    return (room, None)


def _pad(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
    x, value = given(inputs, 0), optional(inputs, 2)
    mode, pads = text(attributes, "mode", "constant"), _pads(inputs)
    if mode == "constant":
        shape = tuple(max(0, s + b + e) for s, (b, e) in zip(x.shape, pads, strict=True))
        fill = 0 if value is None else value.reshape(())
        y = np.full_like(x, fill, shape=shape)
        source, target = _overlap(x.shape, pads)
        y[target] = x[source]
        return (y,)
    for axis, indices in enumerate(_border_indices(x.shape, pads, mode)):
        if pads[axis] != (0, 0):
            x = np.take(x, indices, axis=axis)
    return (x,)


def _pad_pullback(tape: Tape) -> tuple[Array | None, ...]:
    x, gradient = given(tape.inputs, 0), incoming(tape)
    mode, pads = text(tape.attributes, "mode", "constant"), _pads(tape.inputs)
    if mode == "constant":
        room = np.zeros_like(x)
        source, target = _overlap(x.shape, pads)
        room[source] = gradient[target]
        outside = gradient.sum() - gradient[target].sum()
        value = optional(tape.inputs, 2)
        return (room, None, None if value is None else np.full_like(value, outside))
    for axis, indices in enumerate(_border_indices(x.shape, pads, mode)):
        if pads[axis] != (0, 0):
            shape = (*gradient.shape[:axis], x.shape[axis], *gradient.shape[axis + 1 :])
            room = np.zeros_like(gradient, shape=shape)
            np.add.at(room, along(axis, indices), gradient)
            gradient = room
    return (gradient,)


def _pads(inputs: Inputs) -> list[tuple[int, int]]:
    """Begin and end of each axis; negative ones cut."""
    rank = given(inputs, 0).ndim
    pads = whole(given(inputs, 1))
    axes = _named_axes(inputs, tuple(range(rank)))
    found = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        found[axis] = (pads[i], pads[len(axes) + i])
    return found


def _overlap(
    shape: tuple[int, ...], pads: list[tuple[int, int]]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where the numbers that padding keeps lie in the input and in the output."""
    source = tuple(
        slice(max(0, -b), size + min(0, e)) for size, (b, e) in zip(shape, pads, strict=True)
    )
    target = tuple(
        slice(max(0, b), max(0, b) + max(0, s.stop - s.start))
        for s, (b, _) in zip(source, pads, strict=True)
    )
    return source, target


def _border_indices(shape: tuple[int, ...], pads: list[tuple[int, int]], mode: str) -> list[Array]:
    """For each axis, from which index of the input each index of the output comes."""
    if mode not in _BORDERS:
        raise UnsupportedError(
            f"Pad mode {mode!r} is not supported; supported are constant, {', '.join(_BORDERS)}"
        )
    found = []
    for size, (begin, end) in zip(shape, pads, strict=True):
        cut = np.arange(size)[max(0, -begin) : size + min(0, end)]
        widths = (max(0, begin), max(0, end))
        found.append(np.pad(cut, widths, mode=mode))  # type: ignore[call-overload]  # one of three
    return found


def _where(inputs: Inputs, _: Attributes) -> tuple[Array, ...]:
    return (np.where(*(given(inputs, i) for i in range(3))),)


def _where_pullback(tape: Tape) -> tuple[Array | None, ...]:
    condition, a, b = (given(tape.inputs, i) for i in range(3))
    gradient = incoming(tape)
    by_a, by_b = np.where(condition, gradient, 0), np.where(condition, 0, gradient)
    return None, unbroadcast(by_a, a.shape), unbroadcast(by_b, b.shape)


def _register_comparison(name: str, compare: Callable[[Array, Array], Array]) -> None:
    def forward(inputs: Inputs, _: Attributes) -> tuple[Array, ...]:
        return (compare(given(inputs, 0), given(inputs, 1)),)

    register(name, forward, lambda _: (None, None))


register("Concat", _concat, _concat_pullback)
register("Split", _split, _split_pullback)
register("Slice", _slice, _slice_pullback)
register("Gather", _gather, _gather_pullback)
register("Pad", _pad, _pad_pullback)
register("Where", _where, _where_pullback)
_register_comparison("Equal", np.equal)
_register_comparison("Greater", np.greater)
_register_comparison("GreaterOrEqual", np.greater_equal)
_register_comparison("Less", np.less)
_register_comparison("LessOrEqual", np.less_equal)

"""Reductions over axes: sum, mean, largest, smallest."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from calib.graph.model import Array
from calib.graph.operations.access import axes_input, given, incoming, integer
from calib.graph.registry import Attributes, Forward, Inputs, Pullback, Tape, register

Reduce = Callable[[Array, tuple[int, ...]], Array]
"""From an array and the axes to the reduced array with those axes kept at length one."""

Spread = Callable[[Array, Array, Array, tuple[int, ...]], Array]
"""From input, output, gradient (both with kept axes) and axes to the gradient, broadcastable."""


def _reduction(reduce: Reduce, spread: Spread) -> tuple[Forward, Pullback]:
    def forward(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
        x = given(inputs, 0)
        axes = _axes(inputs, attributes)
        y = reduce(x, axes)
        return (y if integer(attributes, "keepdims", 1) else np.squeeze(y, axis=axes),)

    def pullback(tape: Tape) -> tuple[Array | None, ...]:
        x = given(tape.inputs, 0)
        axes = _axes(tape.inputs, tape.attributes)
        kept = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
        y, gradient = tape.outputs[0].reshape(kept), incoming(tape).reshape(kept)
        return (np.broadcast_to(spread(x, y, gradient, axes), x.shape),)

    return forward, pullback


def _axes(inputs: Inputs, attributes: Attributes) -> tuple[int, ...]:
    """The axes to reduce: all where none is named, unless `noop_with_empty_axes` says none."""
    rank = given(inputs, 0).ndim
    axes = axes_input(inputs, 1, rank)
    if axes or integer(attributes, "noop_with_empty_axes", 0):
        return axes or ()
    return tuple(range(rank))


def _count(x: Array, axes: tuple[int, ...]) -> int:
    return math.prod(x.shape[axis] for axis in axes)


def _sum(x: Array, axes: tuple[int, ...]) -> Array:
    total: Array = x.sum(axis=axes, keepdims=True, dtype=x.dtype)
    return total


def _sum_spread(_x: Array, _y: Array, gradient: Array, _: tuple[int, ...]) -> Array:
    return gradient


def _mean(x: Array, axes: tuple[int, ...]) -> Array:
    mean: Array = x.mean(axis=axes, keepdims=True)
    return mean.astype(x.dtype, copy=False)


def _mean_spread(x: Array, _y: Array, gradient: Array, axes: tuple[int, ...]) -> Array:
    return gradient / _count(x, axes)


def _max(x: Array, axes: tuple[int, ...]) -> Array:
    largest: Array = np.max(x, axis=axes, keepdims=True, initial=_bound(x, largest=False))
    return largest


def _min(x: Array, axes: tuple[int, ...]) -> Array:
    smallest: Array = np.min(x, axis=axes, keepdims=True, initial=_bound(x, largest=True))
    return smallest


def _bound(x: Array, *, largest: bool) -> float:
    """What the extreme of no numbers is."""
    if x.dtype == np.bool_:
        return largest
    if np.issubdtype(x.dtype, np.integer):
        limits = np.iinfo(x.dtype)
        return int(limits.max if largest else limits.min)
    return math.inf if largest else -math.inf


def _extreme_spread(x: Array, y: Array, gradient: Array, axes: tuple[int, ...]) -> Array:
    chosen = x == y  # equal extremes share the gradient
    share: Array = gradient / chosen.sum(axis=axes, keepdims=True)
    spread: Array = np.multiply(chosen, share)
    return spread


register("ReduceSum", *_reduction(_sum, _sum_spread))
register("ReduceMean", *_reduction(_mean, _mean_spread))
register("ReduceMax", *_reduction(_max, _extreme_spread))
register("ReduceMin", *_reduction(_min, _extreme_spread))

"""Pooling: the largest or the mean of each window, or of all positions."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from calib.graph.model import Array
from calib.graph.operations.access import given, incoming, integer
from calib.graph.operations.geometry import pooling_window, window_of
from calib.graph.registry import Attributes, Inputs, Tape, register
from calib.graph.window import Window, fold_taps, tap_views, taps


def _max_pool(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
    x = given(inputs, 0)
    y: Array | None = None
    for _, view in tap_views(x, _window(x, attributes), _lowest(x)):
        y = view.copy(order="K") if y is None else np.maximum(y, view, out=y)
    assert y is not None  # a window has at least one tap
    return (y,)


def _max_pool_pullback(tape: Tape) -> tuple[Array, ...]:
    x, y = given(tape.inputs, 0), tape.outputs[0]
    window = _window(x, tape.attributes)
    left = incoming(tape).copy(order="K")

    def parts() -> Iterator[Array]:
        for _, view in tap_views(x, window, _lowest(x)):
            chosen = view == y  # of equal inputs the first takes the gradient
            yield left * chosen
            left[chosen] = 0

    return (fold_taps(parts(), window, x.shape[2:]),)


def _lowest(x: Array) -> float:
    """What padding holds, so that no maximum comes from there."""
    return -math.inf if np.issubdtype(x.dtype, np.floating) else int(np.iinfo(x.dtype).min)


def _average_pool(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
    x = given(inputs, 0)
    if _takes_everything(x, attributes):
        return _global_average(inputs, attributes)
    y: Array | None = None
    for _, view in tap_views(x, _window(x, attributes)):
        y = view.copy(order="K") if y is None else np.add(y, view, out=y)
    assert y is not None  # a window has at least one tap
    return (y / _counts(x, attributes),)


def _average_pool_pullback(tape: Tape) -> tuple[Array, ...]:
    x = given(tape.inputs, 0)
    if _takes_everything(x, tape.attributes):
        return _global_average_pullback(tape)
    window = _window(x, tape.attributes)
    share = incoming(tape) / _counts(x, tape.attributes)
    return (fold_taps((share for _ in taps(window)), window, x.shape[2:]),)


def _takes_everything(x: Array, attributes: Attributes) -> bool:
    """Whether one window is the whole input, so that no tap need be looked at alone."""
    window = _window(x, attributes)
    return window.kernel == x.shape[2:] and not any(window.pads)


def _counts(x: Array, attributes: Attributes) -> Array:
    """By how many points each window's sum is divided: [*output].

    With `count_include_pad` the explicit padding counts, but never what `ceil_mode` adds.
    """
    window = _window(x, attributes)
    axes = window.axes
    pads = window_of(attributes, window.kernel, x.shape[2:]).pads
    include = integer(attributes, "count_include_pad", 0)
    counts: Array = np.ones((), x.dtype)
    for i, (size, output) in enumerate(
        zip(x.shape[2:], window.output_shape(x.shape[2:]), strict=True)
    ):
        starts = np.arange(output) * window.strides[i] - window.pads[i]
        points = starts[:, None] + np.arange(window.kernel[i]) * window.dilations[i]
        low, high = (-pads[i], size + pads[axes + i]) if include else (0, size)
        inside = ((points >= low) & (points < high)).sum(axis=1)
        counts = counts[..., None] * inside.astype(x.dtype)
    return counts


def _window(x: Array, attributes: Attributes) -> Window:
    return pooling_window(attributes, tuple(x.shape[2:]))


def _global_average(inputs: Inputs, _: Attributes) -> tuple[Array, ...]:
    x = given(inputs, 0)
    return (x.mean(axis=_spatial(x), keepdims=True),)


def _global_average_pullback(tape: Tape) -> tuple[Array, ...]:
    x = given(tape.inputs, 0)
    share = incoming(tape) / math.prod(x.shape[2:])
    return (np.broadcast_to(share.astype(x.dtype, copy=False), x.shape),)


def _global_max(inputs: Inputs, _: Attributes) -> tuple[Array, ...]:
    x = given(inputs, 0)
    return (x.max(axis=_spatial(x), keepdims=True),)


def _global_max_pullback(tape: Tape) -> tuple[Array, ...]:
    x = given(tape.inputs, 0)
    flat = x.reshape(*x.shape[:2], -1)
    by_flat = np.zeros_like(flat)
    first = flat.argmax(axis=-1)[..., None]
    np.put_along_axis(by_flat, first, incoming(tape).reshape(first.shape), axis=-1)
    return (by_flat.reshape(x.shape),)


def _spatial(x: Array) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


register("MaxPool", _max_pool, _max_pool_pullback)
register("AveragePool", _average_pool, _average_pool_pullback)
register("GlobalAveragePool", _global_average, _global_average_pullback)
register("GlobalMaxPool", _global_max, _global_max_pullback)

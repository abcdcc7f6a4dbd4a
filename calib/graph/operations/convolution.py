"""Convolution: one matrix product of windows, or a sum of shifted products where depthwise.

The result is a view [n, outputs, *spatial] of memory with the channels last. Both directions go
through the batch in blocks, so that the unrolled windows never take more than a few megabytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from calib.errors import GraphError
from calib.graph.model import Array
from calib.graph.operations.access import given, incoming, integer, optional
from calib.graph.operations.geometry import window_of
from calib.graph.registry import Attributes, Inputs, Tape, register
from calib.graph.window import Window, fold_taps, tap_views, taps, windows

_BLOCK_BYTES = 4 * 2**20
"""What the windows of one block of samples would take, unrolled."""

_TILE_BYTES = 2**19
"""What is unrolled at once for a product: it stays in the second-level cache of a small core."""


def _forward(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
    x, weight, bias = given(inputs, 0), given(inputs, 1), optional(inputs, 2)
    window, groups = _geometry(x, weight, attributes)
    shape = (x.shape[0], *window.output_shape(x.shape[2:]), weight.shape[0])
    y = np.empty(shape, np.result_type(x, weight))
    multiply = _multiply_depthwise if _is_depthwise(weight, groups) else _multiply
    for part in _blocks(y, weight, groups):
        multiply(_channels_last(x[part], window), weight, window, groups, y[part])
        if bias is not None:
            y[part] += bias
    return (np.moveaxis(y, -1, 1),)


def _pullback(tape: Tape) -> tuple[Array | None, ...]:
    x, weight = given(tape.inputs, 0), given(tape.inputs, 1)
    window, groups = _geometry(x, weight, tape.attributes)
    gradient = np.moveaxis(incoming(tape), 1, -1)
    return (
        _by_input(x, weight, window, groups, gradient) if tape.wants(0) else None,
        _by_weight(x, weight, window, groups, gradient) if tape.wants(1) else None,
        gradient.reshape(-1, weight.shape[0]).sum(axis=0) if tape.wants(2) else None,
    )


def _by_input(x: Array, weight: Array, window: Window, groups: int, gradient: Array) -> Array:
    by_x = np.empty((x.shape[0], *x.shape[2:], x.shape[1]), x.dtype)
    depthwise = _is_depthwise(weight, groups)
    turned = _turned(window)
    # Unrolling costs by the channels that are unrolled; a fold costs by those that are written.
    if turned is not None and not depthwise and weight.shape[0] <= x.shape[1]:
        weight = _transposed(weight, groups)
        for part in _blocks(by_x, weight, groups):
            y = np.moveaxis(gradient[part], -1, 1)
            _multiply(_channels_last(y, turned), weight, turned, groups, by_x[part])
        return np.moveaxis(by_x, -1, 1)
    back = _back_depthwise if depthwise else _back
    for part in _blocks(gradient, weight, groups):
        np.moveaxis(by_x, -1, 1)[part] = back(weight, window, groups, gradient[part], x.shape[2:])
    return np.moveaxis(by_x, -1, 1)


def _turned(window: Window) -> Window | None:
    """The window over the outputs in which the gradient of an input lies; None: there is none.

    With stride 1 the transpose of a convolution is a convolution with the kernel turned around.
    """
    pads = tuple(e - 1 - p for e, p in zip(window.extent() * 2, window.pads, strict=True))
    if min(pads, default=0) < 0 or any(s > 1 for s in window.strides):
        return None
    return replace(window, pads=pads)


def _transposed(weight: Array, groups: int) -> Array:
    """Each group's weight [m, c, *kernel] as [c, m, *kernel], every axis of the kernel reversed."""
    outputs, inputs, *kernel = weight.shape
    swapped = weight.reshape(groups, -1, inputs, *kernel).swapaxes(1, 2)
    joined = swapped.reshape(groups * inputs, outputs // groups, *kernel)
    return np.flip(joined, axis=tuple(range(2, joined.ndim)))


def _by_weight(x: Array, weight: Array, window: Window, groups: int, gradient: Array) -> Array:
    by_weight = np.zeros_like(weight)
    correlate = _correlate_depthwise if _is_depthwise(weight, groups) else _correlate
    for part in _blocks(gradient, weight, groups):
        block = _channels_last(x[part], window)
        by_weight += correlate(block, weight, window, groups, gradient[part])
    return by_weight


def _geometry(x: Array, weight: Array, attributes: Attributes) -> tuple[Window, int]:
    groups = integer(attributes, "group", 1)
    if x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise GraphError(
            f"a convolution of {x.shape[1]} channels in {groups} groups does not fit a weight of "
            f"shape {list(weight.shape)}"
        )
    return window_of(attributes, tuple(weight.shape[2:]), tuple(x.shape[2:])), groups


def _is_depthwise(weight: Array, groups: int) -> bool:
    return groups > 1 and weight.shape[1] == 1


def _blocks(y: Array, weight: Array, groups: int) -> Iterator[slice]:
    """Slices of the batch whose unrolled windows fit a block; y has the channels last."""
    row = weight.shape[0] if _is_depthwise(weight, groups) else math.prod(weight.shape[1:])
    sample_bytes = math.prod(y.shape[1:-1]) * row * y.dtype.itemsize
    step = max(1, _BLOCK_BYTES // max(1, sample_bytes))
    return (slice(start, start + step) for start in range(0, y.shape[0], step))


def _channels_last(x: Array, window: Window) -> Array:
    """The same values with the channels last in memory, unless padding will do that anyway."""
    if any(window.pads) or math.prod(window.kernel) == 1:
        return x
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def _multiply(x: Array, weight: Array, window: Window, groups: int, y: Array) -> None:
    """Each group's windows [positions, taps·channels] times its matrix, into y [n, *s, m]."""
    for channels, outputs in _group_slices(weight, groups):
        columns = np.moveaxis(windows(x[:, channels], window), 1, -1)
        matrix = _matrix(weight[outputs])
        for tile in _tiles(columns, window.axes):
            rows = columns[tile].reshape(-1, len(matrix))  # a view where the kernel has one tap
            np.matmul(rows, matrix, out=y[tile].reshape(-1, y.shape[-1])[:, outputs])


def _tiles(columns: Array, axes: int) -> Iterator[tuple[slice, slice]]:
    """Some samples, or some of one sample's first axis, of columns [n, *output, *kernel, c]."""
    samples, lines = columns.shape[:2]
    line_bytes = math.prod(columns.shape[2:]) * columns.itemsize
    step = max(1, _TILE_BYTES // max(1, line_bytes))
    if axes and step < lines:
        for sample in range(samples):
            for line in range(0, lines, step):
                yield slice(sample, sample + 1), slice(line, line + step)
        return
    step = max(1, step // max(1, lines))
    for sample in range(0, samples, step):
        yield slice(sample, sample + step), slice(None)


def _back(
    weight: Array, window: Window, groups: int, gradient: Array, spatial: tuple[int, ...]
) -> Array:
    """The gradient with respect to x."""
    parts = [
        fold_taps(_dense_parts(weight[outputs], gradient[..., outputs]), window, spatial)
        for _, outputs in _group_slices(weight, groups)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _correlate(x: Array, weight: Array, window: Window, groups: int, gradient: Array) -> Array:
    """The gradient with respect to the weight."""
    by_weight = np.empty_like(weight)
    flat = gradient.reshape(-1, gradient.shape[-1])
    for channels, outputs in _group_slices(weight, groups):
        count = channels.stop - channels.start
        by_matrix = (_rows(x[:, channels], window).T @ flat[:, outputs]).T
        by_weight[outputs] = np.moveaxis(by_matrix.reshape(-1, *window.kernel, count), -1, 1)
    return by_weight


def _group_slices(weight: Array, groups: int) -> Iterator[tuple[slice, slice]]:
    """The input channels and the outputs of each group."""
    inputs, outputs = weight.shape[1], weight.shape[0] // groups
    edges = ((g * inputs, g * outputs) for g in range(groups + 1))
    return ((slice(a[0], b[0]), slice(a[1], b[1])) for a, b in pairwise(edges))


def _rows(x: Array, window: Window) -> Array:
    """[n·positions, taps·channels]: a copy, or a view where the kernel has one tap."""
    columns: Array = np.moveaxis(windows(x, window), 1, -1)
    return columns.reshape(-1, math.prod(columns.shape[1 + window.axes :]))


def _matrix(weight: Array) -> Array:
    """A group's weight [m, c, *kernel] as [taps·c, m]."""
    return np.moveaxis(weight, 1, -1).reshape(weight.shape[0], -1).T


def _dense_parts(weight: Array, gradient: Array) -> Iterator[Array]:
    """What each tap adds to the input's gradient: [n, c, *s], good until the next is asked for."""
    flat = gradient.reshape(-1, gradient.shape[-1])
    room = np.empty((*gradient.shape[:-1], weight.shape[1]), gradient.dtype)
    matrices = np.moveaxis(weight.reshape(*weight.shape[:2], -1), -1, 0)
    for matrix in np.ascontiguousarray(matrices):
        np.matmul(flat, matrix, out=room.reshape(flat.shape[0], -1))
        yield np.moveaxis(room, -1, 1)


def _multiply_depthwise(x: Array, weight: Array, window: Window, groups: int, y: Array) -> None:
    """One product a tap: y[n, *s, channel, multiplier] += x as the tap sees it, times weight."""
    sums = y.reshape(*y.shape[:-1], groups, -1)
    product = np.empty_like(sums)
    for i, (tap, view) in enumerate(tap_views(x, window)):
        factor = _tap_factor(weight, tap, groups, sums.shape)
        shifted = np.moveaxis(view, 1, -1)[..., None]
        np.multiply(shifted, factor, out=product if i else sums)
        if i:
            sums += product


def _back_depthwise(
    weight: Array, window: Window, groups: int, gradient: Array, spatial: tuple[int, ...]
) -> Array:
    """The gradient with respect to x."""
    split = gradient.reshape(*gradient.shape[:-1], groups, -1)
    return fold_taps(_depthwise_parts(weight, window, split), window, spatial)


def _correlate_depthwise(
    x: Array, weight: Array, window: Window, groups: int, gradient: Array
) -> Array:
    """The gradient with respect to the weight."""
    split = gradient.reshape(*gradient.shape[:-1], groups, -1)
    product = np.empty_like(split)
    by_taps = []
    for _, view in tap_views(x, window):
        np.multiply(np.moveaxis(view, 1, -1)[..., None], split, out=product)
        by_row = product.reshape(-1, *product.shape[-3:]).sum(axis=0)  # long loops first
        by_taps.append(by_row.sum(axis=0).reshape(-1))
    return np.stack(by_taps, axis=1).reshape(weight.shape)


def _depthwise_parts(weight: Array, window: Window, split: Array) -> Iterator[Array]:
    """What each tap adds to the input's gradient: [n, c, *s], good until the next is asked for."""
    product = np.empty_like(split)
    for tap in taps(window):
        np.multiply(split, _tap_factor(weight, tap, split.shape[-2], split.shape), out=product)
        total = product[..., 0] if product.shape[-1] == 1 else product.sum(axis=-1)
        yield np.moveaxis(total, -1, 1)


def _tap_factor(weight: Array, tap: tuple[int, ...], groups: int, shape: tuple[int, ...]) -> Array:
    """One tap's weights, repeated along the last spatial axis: NumPy then runs longer loops."""
    factor: Array = np.moveaxis(weight, 0, -1)[0][tap].reshape(1, groups, -1)
    return np.repeat(factor, shape[-3], axis=0)


register("Conv", _forward, _pullback)

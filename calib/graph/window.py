"""Sliding windows over the spatial axes of [n, c, *spatial], and their transpose.

Convolutions, poolings and the rows of a linear layer all come from here. Arrays keep the NCHW
meaning of their axes but lie in memory with the channels last, so that one window's channels are
one run of bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from calib.errors import GraphError
from calib.graph.model import Array


@dataclass(frozen=True)
class Window:
    """Geometry of a window: one entry for each spatial axis; pads are all begins, then all ends."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]

    @property
    def axes(self) -> int:
        """How many spatial axes there are."""
        return len(self.kernel)

    def extent(self) -> tuple[int, ...]:
        """Input points that one window spans along each axis."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def output_shape(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        """Number of windows along each axis.

        Raises:
            GraphError: the window is larger than the padded input.
        """
        padded = [s + self.pads[i] + self.pads[self.axes + i] for i, s in enumerate(spatial)]
        shape = tuple(
            (p - e) // s + 1 for p, e, s in zip(padded, self.extent(), self.strides, strict=True)
        )
        if min(shape, default=1) < 1:
            raise GraphError(
                f"a window of {list(self.extent())} does not fit a padded input of {padded}"
            )
        return shape


def pad(x: Array, window: Window, fill: float = 0.0) -> Array:
    """The input with its borders, channels last in memory, as a view [n, c, *spatial]."""
    if not any(window.pads):
        return x
    axes = window.axes
    spatial = x.shape[2:]
    padded = [s + window.pads[i] + window.pads[axes + i] for i, s in enumerate(spatial)]
    view = np.moveaxis(np.empty((x.shape[0], *padded, x.shape[1]), x.dtype), -1, 1)
    for i, size in enumerate(spatial):  # writing the borders alone takes half the time
        along = (slice(None),) * (2 + i)
        view[(*along, slice(window.pads[i]))] = fill
        view[(*along, slice(window.pads[i] + size, None))] = fill
    view[_interior(window, spatial)] = x
    return view


def _interior(window: Window, spatial: tuple[int, ...]) -> tuple[slice, ...]:
    begins = window.pads[: window.axes]
    return (
        slice(None),
        slice(None),
        *(slice(b, b + s) for b, s in zip(begins, spatial, strict=True)),
    )


def windows(x: Array, window: Window, fill: float = 0.0) -> Array:
    """All windows, as a read-only view [n, c, *output, *kernel]."""
    output = window.output_shape(x.shape[2:])  # says, too, that no window leaves the input
    padded = pad(x, window, fill)
    bytes_apart = padded.strides[2:]
    between = [b * s for b, s in zip(bytes_apart, window.strides, strict=True)]
    within = [b * d for b, d in zip(bytes_apart, window.dilations, strict=True)]
    return np.lib.stride_tricks.as_strided(
        padded,
        (*x.shape[:2], *output, *window.kernel),
        (*padded.strides[:2], *between, *within),
        writeable=False,
    )


def fold(columns: Array, window: Window, spatial: tuple[int, ...]) -> Array:
    """The transpose of `windows`: sums [n, c, *output, *kernel] back into [n, c, *spatial]."""
    return fold_taps((columns[_tail(*tap)] for tap in taps(window)), window, spatial)


def fold_taps(parts: Iterable[Array], window: Window, spatial: tuple[int, ...]) -> Array:
    """The transpose of `tap_views`: sums one part [n, c, *output] a tap into [n, c, *spatial]."""
    axes = window.axes
    padded = [s + window.pads[i] + window.pads[axes + i] for i, s in enumerate(spatial)]
    room: Array | None = None
    for tap, part in zip(taps(window), parts, strict=True):
        if room is None:
            last = np.zeros((part.shape[0], *padded, part.shape[1]), dtype=part.dtype)
            room = np.moveaxis(last, -1, 1)
        view = room[_tail(*_tap_slices(window, tap, part.shape[2:]))]
        np.add(view, part, out=view)
    if room is None:
        raise GraphError(f"a window of kernel {list(window.kernel)} has no tap")
    return room[_interior(window, spatial)]


def taps(window: Window) -> Iterator[tuple[int, ...]]:
    """The kernel's taps in order, each by its index along every axis."""
    return itertools.product(*map(range, window.kernel))


def _tail(*index: int | slice) -> tuple[Any, ...]:
    """An index of the last axes."""
    return (..., *index)


def _tap_slices(window: Window, tap: tuple[int, ...], output: tuple[int, ...]) -> tuple[slice, ...]:
    starts = [t * d for t, d in zip(tap, window.dilations, strict=True)]
    return tuple(
        slice(b, b + (o - 1) * s + 1, s)
        for b, o, s in zip(starts, output, window.strides, strict=True)
    )


def tap_views(
    x: Array, window: Window, fill: float = 0.0
) -> Iterator[tuple[tuple[int, ...], Array]]:
    """For each tap of the kernel, the input as that tap sees it: views [n, c, *output]."""
    output = window.output_shape(x.shape[2:])
    padded = pad(x, window, fill)
    for tap in taps(window):
        yield tap, padded[_tail(*_tap_slices(window, tap, output))]

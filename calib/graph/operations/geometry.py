"""The window of a convolution or pooling, from its attributes and the size of its input."""

from __future__ import annotations

from dataclasses import replace

from calib.errors import GraphError
from calib.graph.operations.access import integer, integers, text
from calib.graph.registry import Attributes
from calib.graph.window import Window

LARGEST_PAD = 1 << 14
"""A damaged pad must not fill the memory."""


def window_of(attributes: Attributes, kernel: tuple[int, ...], spatial: tuple[int, ...]) -> Window:
    """The window with `auto_pad` worked out for an input of spatial size `spatial`.

    Raises:
        GraphError: the attributes do not fit the number of axes, a size is below 1, or a pad too
            large to be meant.
    """
    axes = len(kernel)
    window = Window(
        kernel=kernel,
        strides=integers(attributes, "strides", (1,) * axes),
        pads=integers(attributes, "pads", (0,) * (2 * axes)),
        dilations=integers(attributes, "dilations", (1,) * axes),
    )
    lengths = (len(spatial), len(window.strides), len(window.pads) / 2, len(window.dilations))
    if any(length != axes for length in lengths):
        raise GraphError(
            f"a kernel of {axes} axes does not fit an input of {len(spatial)} spatial axes with "
            f"strides {window.strides}, pads {window.pads} and dilations {window.dilations}"
        )
    if max(map(abs, window.pads), default=0) > LARGEST_PAD:
        raise GraphError(
            f"pads of {window.pads}: each is at most {LARGEST_PAD}; the model is damaged"
        )
    if min((*window.kernel, *window.strides, *window.dilations), default=1) < 1:
        raise GraphError(
            f"a kernel of {kernel} with strides {window.strides} and dilations "
            f"{window.dilations}: each is at least 1"
        )
    automatic = text(attributes, "auto_pad", "NOTSET")
    if automatic == "NOTSET":
        return window
    if automatic == "VALID":
        return replace(window, pads=(0,) * (2 * axes))
    return replace(window, pads=_same_pads(window, spatial, odd_first=automatic == "SAME_LOWER"))


def _same_pads(window: Window, spatial: tuple[int, ...], *, odd_first: bool) -> tuple[int, ...]:
    """Pads with which the output has ceil(input / stride) points; an odd one to one side."""
    totals = [
        max((-(-size // stride) - 1) * stride + extent - size, 0)
        for size, stride, extent in zip(spatial, window.strides, window.extent(), strict=True)
    ]
    begins = [-(-total // 2) if odd_first else total // 2 for total in totals]
    return (*begins, *(total - b for total, b in zip(totals, begins, strict=True)))


def pooling_window(attributes: Attributes, spatial: tuple[int, ...]) -> Window:
    """The window of a pooling, its end pads extended where `ceil_mode` makes one more window.

    A window that would start beyond the input and its begin pads is left out, as ONNX says.
    """
    window = window_of(attributes, integers(attributes, "kernel_shape", ()), spatial)
    if not integer(attributes, "ceil_mode", 0):
        return window
    axes = window.axes
    ends = []
    for i, (size, stride, extent) in enumerate(
        zip(spatial, window.strides, window.extent(), strict=True)
    ):
        begin, end = window.pads[i], window.pads[axes + i]
        count = -(-(size + begin + end - extent) // stride) + 1
        if (count - 1) * stride >= size + begin:
            count -= 1
        ends.append(max(end, (count - 1) * stride + extent - size - begin))
    return replace(window, pads=(*window.pads[:axes], *ends))

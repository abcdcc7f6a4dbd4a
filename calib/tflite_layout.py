"""How a layer's weights lie in a `.tflite` file.

TFLite puts outputs first and the inputs of a group last: `OHWI` in CONV_2D, `OI` in
FULLY_CONNECTED, and `1HWO` in DEPTHWISE_CONV_2D, where an output has its own channel of the input.
The rows of our layers run over kernel taps, then channels, so that nothing but the axis of outputs
has to move. A lies as the weights do, with as many outputs as its rank; B is a convolution of 1×1.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)

OUTPUTS_FIRST = ("OHWI", "OI")
DEPTHWISE = "1HWO"


def weight_tensor(weights: NDArray[Number], shape: tuple[int, ...], form: str) -> NDArray[Number]:
    """Weights [groups, d, outputs/groups] as the tensor of this shape and form."""
    if form == DEPTHWISE:
        taps_first = np.moveaxis(weights, 1, 0)
        return np.ascontiguousarray(taps_first.reshape(shape))
    return np.ascontiguousarray(weights.swapaxes(1, 2).reshape(shape))


def weights_of(tensor: NDArray[Number], groups: int, form: str) -> NDArray[Number]:
    """The inverse of `weight_tensor`: [groups, d, outputs/groups]."""
    if form == DEPTHWISE:
        outputs = tensor.shape[-1]
        taps_first = tensor.reshape(-1, groups, outputs // groups)
        return np.ascontiguousarray(np.moveaxis(taps_first, 0, 1))
    outputs = tensor.shape[0]
    return np.ascontiguousarray(tensor.reshape(groups, outputs // groups, -1).swapaxes(1, 2))


def row_tensor(rows: NDArray[Number], taps: int, shape: tuple[int, ...]) -> NDArray[Number]:
    """Rows [n, groups, d] as the input, of this shape, of an operator that sees one window a row.

    Args:
        rows: d runs over kernel taps, then the channels of the group.
        taps: of the kernel; 1 where all of a row lies in the last axis.
        shape: [n, height, width, channels] or [n, channels].
    """
    count, groups, inputs = rows.shape
    split = rows.reshape(count, groups, taps, inputs // taps)
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(shape))

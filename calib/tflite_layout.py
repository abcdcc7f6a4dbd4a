"""How a layer's arrays lie in the tensors of a TFLite file: for the workstation and the board.

Ours are [groups, d, outputs/groups] with d over kernel taps, then channels; TFLite's convolutions
want [outputs, height, width, channels], its depthwise ones [1, height, width, outputs]. A matrix
product stands in a file as a convolution of one tap, whose weights may have a scale for each
output, which FULLY_CONNECTED cannot in every version. (TFLite's schema and kernels: Conv2DOptions,
DepthwiseConv2DOptions.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CONVOLUTION = "convolution"
"""[outputs, height, width, inputs of a group]: weights, A, and B with one tap."""

DEPTHWISE = "depthwise"
"""[1, height, width, outputs]: weights of as many groups as channels."""

VECTOR = "vector"
"""[outputs]: scales and biases, as they are."""

FORMS = (CONVOLUTION, DEPTHWISE, VECTOR)


def weight_tensor(weight: Array, form: str, shape: Sequence[int]) -> Array:
    """Weights or codes [groups, d, outputs/groups] as the tensor of this form and shape.

    Raises:
        ValueError: the sizes do not fit.
    """
    groups, inputs, per_group = weight.shape
    if form == DEPTHWISE:
        flat = weight.transpose(1, 0, 2).reshape(inputs, groups * per_group)
    else:
        flat = weight.transpose(0, 2, 1).reshape(groups * per_group, inputs)
    return np.ascontiguousarray(flat.reshape(tuple(shape)))


def weight_of(tensor: Array, form: str, groups: int) -> Array:
    """The inverse of `weight_tensor`: [groups, d, outputs/groups].

    Raises:
        ValueError: the sizes do not fit.
    """
    if form == DEPTHWISE:
        taps = tensor.shape[1] * tensor.shape[2]
        return np.ascontiguousarray(tensor.reshape(taps, groups, -1).transpose(1, 0, 2))
    outputs = tensor.shape[0]
    split = tensor.reshape(groups, outputs // groups, -1)
    return np.ascontiguousarray(split.transpose(0, 2, 1))


def a_tensor(a: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """A [rank, d] of a layer without groups as [capacity, height, width, channels].

    Rows up to the capacity are zero.

    Raises:
        ValueError: the rank is above the capacity, or the sizes do not fit.
    """
    filled = np.zeros((shape[0], a.shape[1]), np.float32)
    filled[: len(a)] = _fitting(a, len(a), shape[0])
    return filled.reshape(tuple(shape))


def b_tensor(b: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """B [outputs, rank] as [outputs, 1, 1, capacity]; columns up to the capacity are zero.

    Raises:
        ValueError: the rank is above the capacity, or the sizes do not fit.
    """
    filled = np.zeros((b.shape[0], shape[-1]), np.float32)
    filled[:, : b.shape[1]] = _fitting(b, b.shape[1], shape[-1])
    return filled.reshape(tuple(shape))


def _fitting(array: NDArray[np.float32], rank: int, capacity: int) -> NDArray[np.float32]:
    if rank > capacity:
        raise ValueError(f"rank {rank} is above the capacity of {capacity}")
    return array


def probe_tensor(rows: Array, form: str) -> Array:
    """Rows [n, groups, d] as the input of a one-layer model.

    A convolution reads them as [n, 1, 1, groups · d]; a depthwise one, whose kernel is one line of
    all taps, as [n, 1, d, groups].
    """
    if form == DEPTHWISE:
        return np.ascontiguousarray(rows.transpose(0, 2, 1)[:, None])
    return np.ascontiguousarray(rows.reshape(len(rows), 1, 1, -1))

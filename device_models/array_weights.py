"""One linear layer as it is written into an array."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_models.errors import DeviceModelError


@dataclass(frozen=True)
class ArrayWeights:
    """One linear layer as it is written into the array.

    Raises:
        DeviceModelError: shapes, types or codes that do not fit each other.
    """

    codes: NDArray[np.int8]
    """[groups, d, m]: signed integers, or indices into the codebook."""

    scales: NDArray[np.float32]
    """[groups, blocks, m]: what one step of a code is worth, for each block of rows."""

    block_rows: int
    """Block b covers the rows from b·block_rows on; there are ceil(d / block_rows) blocks."""

    bits: int
    """Two's-complement bits of the codes; with a codebook, the bits of an index."""

    codebook: NDArray[np.float32] | None = None
    """[at most 2^bits]: a weight is codebook[code] · scale."""

    def __post_init__(self) -> None:
        """Refuse at the door what would only fail deep inside."""
        _check_layout(self)
        _check_codes(self)

    @property
    def blocks(self) -> int:
        """How many scales each column has."""
        return math.ceil(int(self.codes.shape[1]) / self.block_rows)

    def values(self) -> NDArray[np.float32]:
        """The nominal weights [groups, d, m]."""
        scale: NDArray[np.float32] = spread(self.scales, self.block_rows, self.codes.shape[1])
        if self.codebook is None:
            return self.codes.astype(np.float32) * scale
        return self.codebook[self.codes].astype(np.float32) * scale


def spread(scales: NDArray[Any], block_rows: int, rows: int) -> NDArray[Any]:
    """Scales [groups, blocks, m] row by row: [groups, rows, m]; of one block [groups, 1, m]."""
    if scales.shape[1] == 1:
        return scales
    return np.repeat(scales, block_rows, axis=1)[:, :rows]


def _check_layout(weights: ArrayWeights) -> None:
    codes, scales = weights.codes, weights.scales
    if codes.dtype != np.int8 or codes.ndim != 3 or 0 in codes.shape:
        raise DeviceModelError(
            f"weight codes are {codes.dtype} {list(codes.shape)}; needed: int8 [groups, d, m]"
        )
    if weights.block_rows < 1:
        raise DeviceModelError(f"blocks of {weights.block_rows} rows; a block has at least one")
    groups, _, outputs = codes.shape
    needed = (groups, weights.blocks, outputs)
    if scales.dtype != np.float32 or scales.shape != needed or not np.isfinite(scales).all():
        raise DeviceModelError(
            f"scales are {scales.dtype} {list(scales.shape)}; needed: finite float32 "
            f"{list(needed)}, one for each block of {weights.block_rows} rows"
        )


def _check_codes(weights: ArrayWeights) -> None:
    if not 1 <= weights.bits <= 8:
        raise DeviceModelError(f"weights of {weights.bits} bits; an array holds 1 to 8")
    low, high = -(1 << (weights.bits - 1)), (1 << (weights.bits - 1)) - 1
    if weights.codebook is not None:
        book = weights.codebook
        if book.ndim != 1 or not 1 <= len(book) <= 1 << weights.bits or not np.isfinite(book).all():
            raise DeviceModelError(
                f"a codebook of {list(book.shape)} for {weights.bits}-bit codes; "
                f"needed: 1 to {1 << weights.bits} finite weights"
            )
        low, high = 0, len(book) - 1
    least, most = int(weights.codes.min()), int(weights.codes.max())
    if least < low or most > high:
        raise DeviceModelError(
            f"weight codes from {least} to {most}; {weights.bits} bits allow {low} to {high}"
        )

"""A layer as a bit-plane array sees it: whole numbers, weight planes, input slices, row tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_models.array_weights import ArrayWeights

CODEBOOK_BITS = 8
"""Codebook weights are no binary numbers; they are written as whole numbers of so many bits."""


@dataclass(frozen=True)
class Written:
    """What stands in the cells."""

    integers: NDArray[np.int8]
    """[groups, d, m]"""

    bits: int
    """How many planes a weight takes."""

    scales: NDArray[np.float32]
    """[groups, blocks, m]: what one step of an integer is worth."""

    block_rows: int

    @property
    def blocks(self) -> tuple[slice, ...]:
        """The rows of each block."""
        return _cut(0, self.integers.shape[1], self.block_rows)


def written(weights: ArrayWeights) -> Written:
    """The weights as whole numbers.

    Integer codes stay as they are. A codebook is rounded to 8 bits of its largest magnitude: the
    rounding (at most 1/254 of the block's largest weight) is part of what this array does wrong.
    """
    if weights.codebook is None:
        return Written(weights.codes, weights.bits, weights.scales, weights.block_rows)
    largest = (1 << (CODEBOOK_BITS - 1)) - 1
    reach = np.float32(np.abs(weights.codebook).max()) or np.float32(1)
    book = np.rint(weights.codebook * (largest / reach)).astype(np.int8)
    scales = weights.scales * (reach / np.float32(largest))
    return Written(book[weights.codes], CODEBOOK_BITS, scales, weights.block_rows)


@dataclass(frozen=True)
class RowTile:
    """Rows of a layer that share the columns of one array."""

    rows: slice
    block: int
    """The block of scales that they belong to."""


def row_tiles(rows: int, height: int, block_rows: int) -> tuple[RowTile, ...]:
    """Cut a layer of so many rows into tiles of at most `height` that keep within a block.

    A scale is applied to a tile's digital result, so no tile may hold rows of two blocks.
    """
    blocks = _cut(0, rows, block_rows)
    return tuple(
        RowTile(part, index)
        for index, block in enumerate(blocks)
        for part in _cut(block.start, block.stop, height)
    )


def _cut(start: int, stop: int, step: int) -> tuple[slice, ...]:
    return tuple(slice(low, min(low + step, stop)) for low in range(start, stop, step))


def weight_planes(integers: NDArray[np.int8], bits: int) -> NDArray[np.float32]:
    """Two's-complement planes of integers [groups, d, m]: zeros and ones [groups, d, bits, m]."""
    shifts = np.arange(bits, dtype=np.uint8)[:, None]
    planes = (integers.view(np.uint8)[:, :, None, :] >> shifts) & np.uint8(1)
    return planes.astype(np.float32)


def plane_values(bits: int) -> NDArray[np.float32]:
    """What a one in each plane is worth: powers of two, the top one negative."""
    values = np.exp2(np.arange(bits, dtype=np.float32))
    values[-1] = -values[-1]
    return values


def shift_add_matrix(bits: int, outputs: int, largest: float | None) -> NDArray[Any]:
    """Shift and add over weight planes as a product: [bits·outputs, outputs].

    Args:
        bits: Planes.
        outputs: Columns of one plane.
        largest: What one plane's sum over input slices reaches; None: no whole number.

    Returns:
        float32 where every sum is a whole number that it holds, else float64.
    """
    exact = largest is not None and largest * (1 << (bits - 1)) < 1 << 24
    identity = np.eye(outputs, dtype=np.float32 if exact else np.float64)
    return np.kron(plane_values(bits)[:, None].astype(identity.dtype), identity)


@dataclass(frozen=True)
class Slices:
    """How the bits of an input are applied: a few at once, slice after slice, the lowest first."""

    bits: int
    """Of one slice."""

    count: int

    @property
    def all(self) -> NDArray[np.uint8]:
        """Their numbers."""
        return np.arange(self.count, dtype=np.uint8)

    def worth(self, numbers: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What a one in each of these slices stands for."""
        values: NDArray[np.float32] = np.exp2(numbers.astype(np.float32) * np.float32(self.bits))
        return values


def slices(input_bits: int, dac_bits: int) -> Slices:
    """Inputs of so many bits through drivers of so many."""
    return Slices(dac_bits, -(-input_bits // dac_bits))


def stack_slices(
    codes: NDArray[np.uint8],
    cut: Slices,
    live: NDArray[np.uint8],
    stacked: NDArray[np.float32],
) -> None:
    """Slices of codes [groups, n, d], and a one for the offset: [groups, slices, n, d + 1]."""
    if cut.bits == 1:
        masks = (1 << live)[:, None, None].astype(np.uint8)
        np.copyto(stacked[..., :-1], np.bitwise_and(codes[:, None], masks) != 0)
    else:
        shifted = codes[:, None] >> (live * np.uint8(cut.bits))[:, None, None]
        np.copyto(stacked[..., :-1], shifted & np.uint8((1 << cut.bits) - 1))
    stacked[..., -1] = 1

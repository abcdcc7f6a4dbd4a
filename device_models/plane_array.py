"""The bit-plane array at work: every conversion of every plane, in blocks that stay in cache.

For one row tile all input planes are stacked into the rows, and all weight planes into the
columns, of one matrix product; what the converter does to it happens in place. Shift and add is
two more products: with the powers of two of the input planes, then of the weight planes.

Whole counts stay whole numbers below 2^24 (at most 512 rows, 8 by 8 bits), so that float32 holds
them exactly; sums over tiles are taken in float64.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.contract import check_inputs
from device_models.converter import Converter
from device_models.planes import Written, shift_add_matrix
from device_models.silicon import TileCells

CACHE_FLOATS = 1 << 17
"""Column sums worked on at once: 512 KiB, within the second-level cache of a small core."""


@dataclass(frozen=True)
class Columns:
    """One row tile, in the units of its converter."""

    rows: slice
    block: int
    matrix: NDArray[np.float32]
    """[groups, rows + 1, planes·m]: cells in converter steps; the last row is the offset."""

    idle: NDArray[np.float32]
    """[groups, 1, planes·m]: what an input plane without a one converts to, noise aside."""


@dataclass(frozen=True)
class PlaneArray:
    """A layer in a bit-plane array with a converter."""

    written: Written
    columns: tuple[Columns, ...]
    converter: Converter
    shift_add: NDArray[np.float32]
    """[planes·m, m]"""

    input_bits: int

    def multiply(
        self, codes: NDArray[np.uint8], zero_point: int, generator: np.random.Generator
    ) -> NDArray[np.float32]:
        """See `Array.multiply`."""
        groups, inputs, outputs = self.written.integers.shape
        check_inputs(codes, (groups, inputs), self.input_bits)
        result = np.empty((len(codes), groups, outputs), np.float32)
        sums_per_row = self.input_bits * groups * self.shift_add.shape[0]
        step = max(1, CACHE_FLOATS // sums_per_row)
        for start in range(0, len(codes), step):
            block = codes[start : start + step].swapaxes(0, 1)
            sums = ((tile.block, self._tile_sum(tile, block, generator)) for tile in self.columns)
            result[start : start + step] = digital(self.written, sums, zero_point).swapaxes(0, 1)
        return result

    def _tile_sum(
        self, tile: Columns, codes: NDArray[np.uint8], generator: np.random.Generator
    ) -> NDArray[np.float64]:
        """Codes [groups, n, d] to the tile's whole-number result [groups, n, m]."""
        codes = codes[:, :, tile.rows]
        live = self._live_planes(codes)
        worth = np.exp2(live.astype(np.float32))
        stacked = stack_planes(codes, live)
        groups, planes, n, height = stacked.shape
        sums = np.matmul(stacked.reshape(groups, planes * n, height), tile.matrix)
        self.converter.convert(sums, generator)
        per_plane = sums.reshape(groups, planes, n * sums.shape[-1])
        added = np.matmul(worth[None], per_plane).reshape(groups, n, -1)
        if len(live) < self.input_bits:
            added += tile.idle * np.float32((1 << self.input_bits) - 1 - worth.sum())
        added *= np.float32(self.converter.step_counts)
        result: NDArray[np.float64] = np.matmul(added, self.shift_add).astype(np.float64)
        return result

    def _live_planes(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The input planes to compute; those without a one convert to `idle` unless it is noisy."""
        planes = np.arange(self.input_bits, dtype=np.uint8)
        if self.converter.noise_steps:
            return planes
        bits = int(np.bitwise_or.reduce(codes, axis=None))
        live: NDArray[np.uint8] = planes[[bool(bits >> plane & 1) for plane in range(len(planes))]]
        return live


def stack_planes(codes: NDArray[np.uint8], live: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bits of codes [groups, n, d], and a one for the offset: [groups, planes, n, d + 1]."""
    groups, n, inputs = codes.shape
    stacked = np.empty((groups, len(live), n, inputs + 1), np.float32)
    masks = (1 << live.astype(np.uint8))[:, None, None]
    np.copyto(stacked[..., :-1], np.bitwise_and(codes[:, None], masks) != 0)
    stacked[..., -1] = 1
    return stacked


def digital(
    written: Written, sums: Iterable[tuple[int, NDArray[np.float64]]], zero_point: int
) -> NDArray[np.float64]:
    """What happens behind the converters: zero point, scales, sum over blocks.

    Args:
        written: What stands in the cells.
        sums: (block, [groups, n, m]) for each tile, in order.
        zero_point: Its nominal share is taken off each block.
    """
    totals: dict[int, NDArray[np.float64]] = {}
    for block, partial in sums:
        totals[block] = totals[block] + partial if block in totals else partial
    result: NDArray[np.float64] | None = None
    for block, total in totals.items():
        nominal = written.integers[:, written.blocks[block]].sum(axis=1, dtype=np.int64)
        scaled = (total - zero_point * nominal[:, None]) * written.scales[:, [block]]
        result = scaled if result is None else result + scaled
    assert result is not None, "a layer has at least one block"
    return result


def plane_array(
    held: Written, cells: Iterable[TileCells], converter: Converter, input_bits: int
) -> PlaneArray:
    """Bring the cells of a chip into the form that multiplies fastest."""
    outputs = held.integers.shape[2]
    return PlaneArray(
        written=held,
        columns=tuple(_columns(tile, converter) for tile in cells),
        converter=converter,
        shift_add=shift_add_matrix(held.bits, outputs),
        input_bits=input_bits,
    )


def _columns(cells: TileCells, converter: Converter) -> Columns:
    groups, height = cells.counts.shape[:2]
    offsets = cells.offsets.reshape(groups, 1, -1)
    counts = cells.counts.reshape(groups, height, -1)
    matrix: NDArray[np.float32] = np.concatenate([counts, offsets], axis=1)
    matrix /= np.float32(converter.step_counts)
    idle = converter.convert(matrix[:, -1:].copy(), None)
    return Columns(cells.tile.rows, cells.tile.block, matrix, idle)

"""The bit-plane array at work: every conversion of every plane, in blocks that stay in cache.

For one row tile all input slices are stacked into the rows, and all weight planes into the
columns, of one matrix product; what the converter does to it happens in place. Shift and add is
two more products: with the powers of two of the input slices, then of the weight planes. A drop
along the columns takes a second product, of the cells weighted by their distance.

Whole counts stay whole numbers below 2^24 (at most 512 rows, 8 by 8 bits), so that float32 holds
them exactly; sums over tiles are taken in float64.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.column_errors import ColumnErrors
from device_models.contract import check_inputs
from device_models.converter import Converter
from device_models.planes import Slices, Written, stack_slices

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
    """[groups, 1, planes·m]: what an input slice without a one converts to, noise aside."""

    errors: ColumnErrors
    far: NDArray[np.float32] | None
    """[groups, rows + 1, planes·m]: what a cell loses for each step of its column's sum; None
    where it loses nothing."""


@dataclass(frozen=True)
class PlaneArray:
    """A layer in a bit-plane array with a converter."""

    written: Written
    columns: tuple[Columns, ...]
    converter: Converter
    shift_add: NDArray[np.float32]
    """[planes·m, m]"""

    slices: Slices
    input_bits: int

    def multiply(
        self, codes: NDArray[np.uint8], zero_point: int, generator: np.random.Generator
    ) -> NDArray[np.float32]:
        """See `Array.multiply`."""
        groups, inputs, outputs = self.written.integers.shape
        check_inputs(codes, (groups, inputs), self.input_bits)
        result = np.empty((len(codes), groups, outputs), np.float32)
        sums_per_row = self.slices.count * groups * self.shift_add.shape[0]
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
        live = self._live_slices(codes)
        worth = self.slices.worth(live)
        stacked = stack_slices(codes, self.slices, live)
        groups, count, n, height = stacked.shape
        driven = stacked.reshape(groups, count * n, height)
        sums = np.matmul(driven, tile.matrix)
        if tile.far is not None:
            sums -= sums * np.matmul(driven, tile.far)
        self.converter.convert(sums, generator, tile.errors)
        per_slice = sums.reshape(groups, count, n * sums.shape[-1])
        added = np.matmul(worth[None], per_slice).reshape(groups, n, -1)
        if len(live) < self.slices.count:
            added += tile.idle * (self.slices.worth(self.slices.all).sum() - worth.sum())
        added *= np.float32(self.converter.step_counts)
        result: NDArray[np.float64] = np.matmul(added, self.shift_add).astype(np.float64)
        return result

    def _live_slices(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The slices to compute; one without a bit converts to `idle` unless that is noisy."""
        numbers = self.slices.all
        if self.converter.is_noisy:
            return numbers
        bits = int(np.bitwise_or.reduce(codes, axis=None))
        mask = (1 << self.slices.bits) - 1
        lively = [bool(bits >> int(number) * self.slices.bits & mask) for number in numbers]
        live: NDArray[np.uint8] = numbers[lively]
        return live


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

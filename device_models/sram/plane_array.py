"""The bit-plane array at work: every conversion of every plane, in blocks that stay in cache.

For one row tile all input slices are stacked into the rows, and all weight planes into the
columns, of one matrix product; what the converter does to it happens in place. Shift and add is
two more products: with the powers of two of the input slices, then of the weight planes. A drop
along the columns takes a second product, of the cells weighted by their distance.

Everything but the noise is exact, and so the same in whatever order it is added: by any BLAS, in
blocks of any size, by a compiled kernel. Cells stand on a grid so fine that float32 holds each sum
of them (`plane_build.on_grid`); codes are whole numbers, and so are their weighted sums.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_models.contract import check_inputs
from device_models.sram.column_errors import NO_ERRORS, ColumnErrors
from device_models.sram.compiled import TileWork, is_compiled
from device_models.sram.converter import Converter
from device_models.sram.planes import Slices, Written, stack_slices
from device_models.sram.read_noise import ReadNoise
from device_models.sram.workspace import Workspace

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

    settled: bool
    """Whether noise can never make `idle` another code."""

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
    shift_add: NDArray[Any]
    """[planes·m, m], in a type that holds each sum of weighted codes exactly."""

    slices: Slices
    input_bits: int
    why_exact: str | None = None
    """Why a fast form was asked for and this is none."""

    def multiply(
        self, codes: NDArray[np.uint8], zero_point: int, generator: np.random.Generator
    ) -> NDArray[np.float32]:
        """See `Array.multiply`."""
        groups, inputs, outputs = self.written.integers.shape
        check_inputs(codes, (groups, inputs), self.input_bits)
        result = np.empty((len(codes), groups, outputs), np.float32)
        step = max(1, CACHE_FLOATS // self._floats_per_row)
        work, noise = Workspace(), ReadNoise(generator)
        for start in range(0, len(codes), step):
            block = codes[start : start + step].swapaxes(0, 1)
            sums = (
                (tile.block, self._tile_sum(tile, block[:, :, tile.rows], noise, work))
                for tile in self.columns
            )
            result[start : start + step] = digital(self.written, sums, zero_point).swapaxes(0, 1)
        return result

    def _tile_sum(
        self,
        tile: Columns,
        codes: NDArray[np.uint8],
        noise: ReadNoise,
        work: Workspace,
    ) -> NDArray[np.float64]:
        """Codes [groups, n, d] to the tile's result in counts [groups, n, m]."""
        live = self._live_slices(tile, codes)
        if self._can_compile and is_compiled():
            certain = tile.idle if tile.settled else None
            loop = TileWork(tile.matrix, certain, live, self.converter)
            added = loop.added_codes(codes, noise, work)
        else:
            added = self._added_codes(tile, codes, live, noise, work)
        if len(live) < self.slices.count:
            missing = self.slices.worth(self.slices.all).sum() - self.slices.worth(live).sum()
            added += tile.idle * missing
        total: NDArray[Any] = np.matmul(
            added.astype(self.shift_add.dtype, copy=False), self.shift_add
        )
        result: NDArray[np.float64] = total.astype(np.float64)
        result *= self.converter.step_counts
        return result

    @property
    def _floats_per_row(self) -> int:
        """What is kept for a row of inputs: its column sums, or what they add up to."""
        columns = self.written.integers.shape[0] * self.shift_add.shape[0]
        compiled = self._can_compile and is_compiled()
        return int(columns if compiled else columns * self.slices.count)

    @property
    def _can_compile(self) -> bool:
        """Whether the compiled loop knows these converters."""
        chain, tile = self.converter, self.columns[0]
        plain = tile.far is None and tile.errors is NO_ERRORS and not chain.nonlinear_noise_steps
        return plain and chain.reads == 1 and chain.top_code is not None and self.slices.bits == 1

    def _added_codes(
        self,
        tile: Columns,
        codes: NDArray[np.uint8],
        live: NDArray[np.uint8],
        noise: ReadNoise,
        work: Workspace,
    ) -> NDArray[np.float32]:
        """Convert, and add over the input slices: [groups, n, planes·m]."""
        groups, n, inputs = codes.shape
        stacked = work.array("stacked", (groups, len(live), n, inputs + 1), np.float32)
        stack_slices(codes, self.slices, live, stacked)
        driven = stacked.reshape(groups, len(live) * n, inputs + 1)
        sums = work.array("sums", (*driven.shape[:2], tile.matrix.shape[2]), np.float32)
        np.matmul(driven, tile.matrix, out=sums)
        if tile.far is not None:
            sums -= sums * np.matmul(driven, tile.far)
        self.converter.convert(sums, noise, tile.errors)
        per_slice = sums.reshape(groups, len(live), n * sums.shape[-1])
        added: NDArray[np.float32] = np.matmul(self.slices.worth(live)[None], per_slice)
        return added.reshape(groups, n, -1)

    def _live_slices(self, tile: Columns, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The slices to compute; one without a bit converts to `idle` where that is settled."""
        numbers = self.slices.all
        if not tile.settled:
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
        counted = total
        if zero_point:
            nominal = written.integers[:, written.blocks[block]].sum(axis=1, dtype=np.int64)
            counted = total - zero_point * nominal[:, None]
        scaled = counted * written.scales[:, [block]]
        result = scaled if result is None else result + scaled
    assert result is not None, "a layer has at least one block"
    return result

"""Tiles of analog memory at work: one matrix product a tile, and a conversion of every column.

Inputs are driven as they are signed, a slice of their magnitude at a time; all slices are stacked
into the rows of one product. What the converter does happens in place, in blocks that stay in
cache. Behind the converters, slices, tiles and blocks of rows are added digitally, each tile with
what its codes are worth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.contract import check_inputs
from device_models.errors import DeviceModelError
from device_models.memories.product_array import ReadNoise
from device_models.memories.signed_converter import SignedConverter
from device_models.sram.column_errors import ColumnErrors
from device_models.sram.planes import Slices

CACHE_FLOATS = 1 << 17
"""Column sums worked on at once: 512 KiB, within the second-level cache of a small core."""


@dataclass(frozen=True)
class Lines:
    """Both lines of every pair of a tile, along which currents drop."""

    cells: NDArray[np.float32]
    """[groups, rows, 2·m]: counts of the positive cells, then of the negative ones."""

    losses: NDArray[np.float32]
    """[groups, rows, 2·m]: what each loses for each count of its line's sum."""

    steps: NDArray[np.float32]
    """[groups, 1, m]: converter steps of one count, with the column's gain."""

    def sums(self, driven: NDArray[np.float32]) -> NDArray[np.float32]:
        """Column sums [groups, n, m] of rows [groups, n, d], in steps."""
        currents = np.matmul(driven, self.cells)
        currents -= np.abs(currents) * np.matmul(driven, self.losses)
        positive, negative = np.split(currents, 2, axis=2)
        result: NDArray[np.float32] = (positive - negative) * self.steps
        return result


@dataclass(frozen=True)
class Tile:
    """One tile of rows, in the units of its converters."""

    rows: slice
    columns: NDArray[np.float32] | Lines
    """[groups, rows, m]: what each pair adds to its column, in steps; or where currents drop."""

    offsets: NDArray[np.float32]
    """[groups, 1, m], in steps."""

    worth: NDArray[np.float32]
    """[groups, 1, m]: what a step is worth in the result."""

    errors: ColumnErrors
    noise: ReadNoise | None
    """Of the cells, in steps."""

    def sums(self, driven: NDArray[np.float32]) -> NDArray[np.float32]:
        """What stands before the converters [groups, n, m], in steps, noise aside."""
        if isinstance(self.columns, Lines):
            sums = self.columns.sums(driven)
        else:
            sums = np.matmul(driven, self.columns)
        sums += self.offsets
        return sums


@dataclass(frozen=True)
class AnalogArray:
    """A layer in tiles with converters."""

    shape: tuple[int, int, int]
    """[groups, d, m]"""

    tiles: tuple[Tile, ...]
    converter: SignedConverter
    reads: int
    slices: Slices
    input_bits: int

    def multiply(
        self, codes: NDArray[np.uint8], zero_point: int, generator: np.random.Generator
    ) -> NDArray[np.float32]:
        """See `Array.multiply`.

        Raises:
            DeviceModelError: also for a zero point that is no code.
        """
        groups, inputs, outputs = self.shape
        check_inputs(codes, (groups, inputs), self.input_bits)
        if not 0 <= zero_point < 1 << self.input_bits:
            raise DeviceModelError(
                f"a zero point of {zero_point} is no code of {self.input_bits} bits"
            )
        result = np.zeros((len(codes), groups, outputs), np.float32)
        step = max(1, CACHE_FLOATS // (self.slices.count * groups * max(outputs, inputs)))
        for start in range(0, len(codes), step):
            signed = codes[start : start + step].swapaxes(0, 1).astype(np.int16)
            signed -= np.int16(zero_point)
            block = result[start : start + step].swapaxes(0, 1)
            for tile in self.tiles:
                block += self._tile_sum(tile, signed[:, :, tile.rows], generator) * tile.worth
        return result

    def _tile_sum(
        self, tile: Tile, signed: NDArray[np.int16], generator: np.random.Generator
    ) -> NDArray[np.float32]:
        """Inputs [groups, n, rows] to the tile's codes, slices added up: [groups, n, m]."""
        groups, n, _ = signed.shape
        driven = drive(signed, self.slices)
        codes = self._converted(tile, driven, generator)
        worth = self.slices.worth(self.slices.all)
        per_slice = codes.reshape(groups, self.slices.count, -1)
        added: NDArray[np.float32] = np.matmul(worth, per_slice).reshape(groups, n, -1)
        return added

    def _converted(
        self, tile: Tile, driven: NDArray[np.float32], generator: np.random.Generator
    ) -> NDArray[np.float32]:
        """Codes [groups, slices·n, m]; of several reads the median, where they may differ."""
        sums = tile.sums(driven)
        votes = self.reads if self.converter.is_noisy or tile.noise is not None else 1
        read = [sums, *(sums.copy() for _ in range(votes - 1))]
        for one in read:
            if tile.noise is not None:
                tile.noise.add_to(one, driven, generator)
            self.converter.convert(one, generator, tile.errors)
        if votes > 1:
            np.median(read, axis=0, out=sums)
        return sums


def drive(signed: NDArray[np.int16], cut: Slices) -> NDArray[np.float32]:
    """What rows are driven by: inputs [groups, n, d], signed, to [groups, slices·n, d]."""
    groups, n, inputs = signed.shape
    driven = signed[:, None]
    if cut.count > 1:
        shifts = (cut.all * np.uint8(cut.bits))[:, None, None]
        driven = (np.abs(driven) >> shifts) & np.int16((1 << cut.bits) - 1)
        driven *= np.sign(signed)[:, None]
    rows: NDArray[np.float32] = driven.astype(np.float32)
    return rows.reshape(groups, cut.count * n, inputs)

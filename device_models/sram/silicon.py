"""What is static in a chip's bit-plane arrays: its cells as they came out of the factory.

They are functions of the model, the chip's seed, the layer's name and the chip's conditions, and
of nothing else. What a cell adds to its column when its input is one is

    (what is stored: the bit that was written, or what the cell is stuck at)
    · (value of the cell: each kind of array has its own law)
    · (gain of the column)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.contract import Placement
from device_models.sram.column_errors import NO_ERRORS, ColumnErrors, column_errors
from device_models.sram.periphery import Periphery
from device_models.sram.planes import RowTile, Written, row_tiles, weight_planes
from device_models.streams import normals, stream

CellValues = NDArray[np.float32] | None
"""[groups, d, planes, m]: what each cell would add if it held a one; None: one count each."""


@dataclass(frozen=True)
class TileCells:
    """One row tile as it came out of the factory, with the weights written into it."""

    tile: RowTile
    counts: NDArray[np.float32]
    """[groups, rows, planes, m]: what each cell adds to its column when its input is one."""

    offsets: NDArray[np.float32]
    """[groups, planes, m]: what each column shows without any input, in counts."""

    errors: ColumnErrors = NO_ERRORS


def cell_shape(held: Written) -> tuple[int, int, int, int]:
    """[groups, d, planes, m] of a layer's cells."""
    groups, rows, outputs = held.integers.shape
    return groups, rows, held.bits, outputs


def tile_cells(
    model: Periphery, placement: Placement, held: Written, values: CellValues
) -> tuple[TileCells, ...]:
    """The tiles of a layer in one chip."""
    groups, rows, planes, outputs = cell_shape(held)
    tiles = row_tiles(rows, model.rows, held.block_rows)
    cells = weight_planes(held.integers, held.bits)
    _stick(cells, model, placement)
    if values is not None:
        cells *= values
    columns = (groups, len(tiles), planes, outputs)
    gains = 1 + model.column_gain_sigma * _normals(placement, "column gain", columns)
    gains = np.maximum(gains, 0).astype(np.float32)
    offsets = _normals(placement, "column offset", columns)
    offsets *= np.float32(model.column_offset_counts)
    errors = column_errors(model, placement, len(tiles), (groups, planes, outputs))
    return tuple(
        TileCells(tile, cells[:, tile.rows] * gains[:, [index]], offsets[:, index], errors[index])
        for index, tile in enumerate(tiles)
    )


def _stick(cells: NDArray[np.float32], model: Periphery, placement: Placement) -> None:
    """Let some cells hold what they are stuck at, in place."""
    if not (model.stuck_at_zero or model.stuck_at_one):
        return
    lot = stream(placement.seed, placement.layer, "stuck cells").random(cells.shape, np.float32)
    cells[lot < model.stuck_at_zero] = 0
    cells[lot >= 1 - model.stuck_at_one] = 1


def _normals(placement: Placement, effect: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return normals(placement.seed, placement.layer, effect, shape)

"""What is static in a chip's bit-plane arrays: the currents of its cells, the columns' offsets.

They are functions of the model, the chip's seed, the layer's name and the temperature, and of
nothing else. A cell's current is

    (1 + k ΔT) · max(0, 1 + sigma_cell ε₁ + sigma_T ΔT ε₂)

with ΔT from 25 C, ε standard normal: the common factor fades all cells alike, the spread
changes the pattern itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.bitplane_model import BitPlaneSram
from device_models.contract import Placement
from device_models.planes import RowTile, Written, row_tiles, weight_planes
from device_models.streams import normals

REFERENCE_TEMPERATURE_C = 25.0
"""The temperature at which the nominal current is one count."""


@dataclass(frozen=True)
class TileCells:
    """One row tile as it came out of the factory, with the weights written into it."""

    tile: RowTile
    counts: NDArray[np.float32]
    """[groups, rows, planes, m]: what each cell adds to its column when its input is one."""

    offsets: NDArray[np.float32]
    """[groups, planes, m]: what each column shows without any input, in counts."""


def tile_cells(model: BitPlaneSram, placement: Placement, held: Written) -> tuple[TileCells, ...]:
    """The tiles of a layer in one chip."""
    groups, rows, outputs = held.integers.shape
    tiles = row_tiles(rows, model.rows, held.block_rows)
    cells = weight_planes(held.integers, held.bits)
    _vary(cells, model, placement)
    columns = (groups, len(tiles), held.bits, outputs)
    gains = 1 + model.column_gain_sigma * _normals(placement, "column gain", columns)
    gains = np.maximum(gains, 0).astype(np.float32)
    offsets = _normals(placement, "column offset", columns)
    offsets *= np.float32(model.column_offset_counts)
    return tuple(
        TileCells(tile, cells[:, tile.rows] * gains[:, [index]], offsets[:, index])
        for index, tile in enumerate(tiles)
    )


def _vary(cells: NDArray[np.float32], model: BitPlaneSram, placement: Placement) -> None:
    """Turn ones into currents, in place."""
    heat_k = placement.state.temperature_c - REFERENCE_TEMPERATURE_C
    currents: NDArray[np.float32] | None = None
    effects = (
        ("cell current", model.cell_sigma),
        ("cell temperature", model.temperature_spread_per_k * heat_k),
    )
    for effect, sigma in effects:
        if sigma:
            change = _normals(placement, effect, cells.shape)
            change *= np.float32(sigma)
            currents = change if currents is None else np.add(currents, change, out=currents)
    if currents is not None:
        currents += np.float32(1)
        cells *= np.maximum(currents, np.float32(0), out=currents)
    cells *= np.float32(max(0.0, 1 + model.temperature_gain_per_k * heat_k))


def _normals(placement: Placement, effect: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return normals(placement.seed, placement.layer, effect, shape)

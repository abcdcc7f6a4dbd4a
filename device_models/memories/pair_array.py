"""From the cells of a chip in its conditions to the array that multiplies.

All kinds of memory end here: they say what their pairs of cells conduct and how each read of them
is off, and the periphery decides what is made of it: one product, or tiles with converters.

    S = gain_column · sum_i x_i (G+_i - G-_i) / (G_max - G_min)  +  offset_column  +  noise

in counts, for the rows i of a tile and one slice x of the inputs; the tile adds
worth_block · step · ADC(S / step) to the result. Where currents drop along the two lines of a
column, each cell at a distance δ (0 at the converter, 1 at the end of a full tile) loses the part
ir_drop · δ · |I| / I_full of what it gives; I is the current of its line, and I_full that of a
line whose cells are all at G_max and driven by the largest input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.contract import Array, Placement
from device_models.memories.analog_array import AnalogArray, Lines, Tile
from device_models.memories.analog_periphery import AnalogPeriphery
from device_models.memories.analog_range import Range, largest_input, layer_range
from device_models.memories.pairs import Pairs, stuck
from device_models.memories.product_array import ProductArray, ReadNoise
from device_models.memories.signed_converter import SignedConverter
from device_models.sram.column_errors import ColumnErrors, ErrorSizes, drawn_errors
from device_models.sram.planes import row_tiles, slices
from device_models.streams import normals

Float32 = NDArray[np.float32]


def pair_array(pairs: Pairs, periphery: AnalogPeriphery | None, placement: Placement) -> Array:
    """The array of a layer whose pairs of cells are known.

    Raises:
        DeviceModelError: a range of converters that cannot be had.
    """
    if periphery is None:
        matrix = pairs.cells.weights(pairs.conductances, pairs.span)
        return ProductArray(matrix, None, placement.input_bits, pairs.noise())
    return _tiled(periphery, placement, stuck(pairs, periphery))


@dataclass(frozen=True)
class _Columns:
    """The columns of one tile as they are in the chip, in counts."""

    rows: slice
    counts: Float32
    """[groups, rows, m]: what each pair adds to its column, the column's gain included."""

    lines: tuple[Float32, Float32] | None
    """Where currents drop: see `Lines.cells` and `Lines.losses`."""

    gains: Float32
    """[groups, 1, m]"""

    offsets: Float32
    """[groups, 1, m], of the full scale."""

    worth: Float32
    """[groups, 1, m]: what a count is worth in the result."""

    errors: ColumnErrors


def _tiled(model: AnalogPeriphery, placement: Placement, pairs: Pairs) -> AnalogArray:
    columns = _columns(model, placement, pairs)
    scale = layer_range(model, placement, [(one.rows, one.counts) for one in columns])
    noise = pairs.noise()
    return AnalogArray(
        shape=placement.weights.codes.shape,
        tiles=tuple(_tile(one, scale, noise) for one in columns),
        converter=_converter(model, scale),
        reads=model.reads,
        slices=slices(placement.input_bits, model.dac_bits),
        input_bits=placement.input_bits,
    )


def _columns(model: AnalogPeriphery, placement: Placement, pairs: Pairs) -> list[_Columns]:
    groups, inputs, outputs = placement.weights.codes.shape
    tiles = row_tiles(inputs, model.rows, placement.weights.block_rows)
    counts = (pairs.conductances[0] - pairs.conductances[1]) / np.float32(pairs.span)
    shape = (len(tiles), groups, 1, outputs)
    gains = normals(placement.seed, placement.layer, "column gain", shape)
    gains *= np.float32(model.column_gain_sigma)
    gains += np.float32(1)
    np.maximum(gains, 0, out=gains)
    offsets = normals(placement.seed, placement.layer, "column offset", shape)
    offsets *= np.float32(model.column_offset)
    sizes = ErrorSizes((model.adc_bits or 2) - 1, model.inl_steps, model.sar_sigma)
    errors = drawn_errors(sizes, placement, len(tiles), (groups, outputs))
    return [
        _Columns(
            rows=tile.rows,
            counts=counts[:, tile.rows] * gains[i],
            lines=_lines(model, placement.input_bits, pairs, tile.rows),
            gains=gains[i],
            offsets=offsets[i],
            worth=pairs.cells.worth[:, [tile.block]],
            errors=errors[i],
        )
        for i, tile in enumerate(tiles)
    ]


def _lines(
    model: AnalogPeriphery, input_bits: int, pairs: Pairs, rows: slice
) -> tuple[Float32, Float32] | None:
    """The lines of one tile; one of `model.rows` full cells would lose `ir_drop` at its end."""
    if not model.ir_drop:
        return None
    both = pairs.conductances[:, :, rows] / np.float32(pairs.span)
    cells = np.concatenate([both[0], both[1]], axis=2)
    full_counts = model.rows * largest_input(model, input_bits) * pairs.high / pairs.span
    distances = (np.arange(cells.shape[1]) + 0.5) / model.rows
    losses = (distances * (model.ir_drop / full_counts)).astype(np.float32)
    return cells, cells * losses[:, None]


def _tile(one: _Columns, scale: Range, noise: ReadNoise | None) -> Tile:
    """A tile in steps; noise is that of all weights."""
    step = np.float32(scale.step_counts)
    steps = one.gains / step
    if noise is not None:
        worth = one.worth
        per_weight = np.divide(steps, worth, out=np.zeros_like(worth), where=worth != 0)
        noise = noise.of_rows(one.rows, per_weight)
    return Tile(
        rows=one.rows,
        columns=Lines(*one.lines, steps) if one.lines else one.counts / step,
        offsets=one.offsets * np.float32(scale.full_counts / scale.step_counts),
        worth=one.worth * step,
        errors=one.errors,
        noise=noise,
    )


def _converter(model: AnalogPeriphery, scale: Range) -> SignedConverter:
    full_steps = scale.full_counts / scale.step_counts
    return SignedConverter(
        step_counts=scale.step_counts,
        top_code=model.top_code,
        noise_steps=model.read_noise * full_steps,
        nonlinear_noise_steps=model.nonlinear_noise * full_steps,
    )

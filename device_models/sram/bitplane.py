"""Bit-plane compute-in-memory: binary weight planes, inputs applied a few bits a cycle.

A layer of d inputs takes ceil(d / rows) row tiles. In each tile, for each input slice p and
weight plane q, a column adds what the cells give whose bit is one, times the slice of the input;
the sum is converted and weighted by its powers of two, the top weight plane negatively:

    y = scale · (sum over tiles, p, q of ±2^(p·dac_bits + q) · ADC(S_pq)
                 -  zero_point · nominal column sum)
    S_pq = gain_column · sum_i w_qi x_pi cell_qi  +  offset_column  +  read noise

Cells, column gains, offsets and the converters' own errors are static: they belong to the chip.
The read noise is new for every conversion. What a cell gives is the law of each kind of array:
`plain_cells`, `current_cells`, `charge_cells`.

Two cases need no planes, because one product gives the same: without a converter everything is
linear; and a converter that has a code for every count, on cells without any variation or noise,
makes no error at all. A fine converter on cells *with* variation is neither: rounding to whole
counts removes small variation, which no effective weight can describe.
"""

from __future__ import annotations

from device_models.contract import Array, Placement
from device_models.fast.form import fast_form
from device_models.registry import register
from device_models.sram.bitplane_model import BitPlaneSram
from device_models.sram.periphery import Periphery
from device_models.sram.plain_cells import plain_cells
from device_models.sram.plane_array import PlaneArray
from device_models.sram.plane_build import plane_array
from device_models.sram.planes import Written, written
from device_models.sram.shortcuts import is_lossless, linear_array, lossless_array
from device_models.sram.silicon import CellValues, cell_shape, tile_cells

__all__ = ["BitPlaneSram", "bitplane_array", "program_bitplane", "program_planes"]


@register(BitPlaneSram)
def program_bitplane(model: BitPlaneSram, placement: Placement) -> Array:
    """Write the planes into cells, or take the exact short cut where there is one."""
    held = written(placement.weights)
    values = plain_cells(model, placement, cell_shape(held))
    return bitplane_array(model, placement, held, values)


def bitplane_array(
    model: Periphery, placement: Placement, held: Written, values: CellValues
) -> Array:
    """The array of a layer whose cells are known, in the form that is fastest and exact.

    Args:
        model: What stands around the cells.
        placement: The layer and the chip's conditions.
        held: The planes that are written.
        values: What the cells give.

    Raises:
        DeviceModelError: a calibrated range, or a fast form, without typical inputs.
    """
    if values is None and not model.varies and is_lossless(model):
        return lossless_array(held, placement.input_bits)
    cells = tile_cells(model, placement, held, values)
    if model.adc_bits is None and not model.bends:
        noise = model.noise_counts(placement.state)
        return linear_array(held, cells, noise, placement.input_bits, model.dac_bits)
    exact = plane_array(model, placement, held, cells)
    return fast_form(model, placement, held, cells, exact) if placement.fast else exact


def program_planes(model: BitPlaneSram, placement: Placement) -> PlaneArray:
    """Write the planes into cells that are always read one conversion at a time."""
    held = written(placement.weights)
    values = plain_cells(model, placement, cell_shape(held))
    return plane_array(model, placement, held, tile_cells(model, placement, held, values))

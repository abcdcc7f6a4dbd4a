"""Bit-plane SRAM compute-in-memory: binary weight planes, one binary input plane a cycle.

A layer of d inputs takes ceil(d / rows) row tiles. In each tile, for each input plane p and
weight plane q, a column adds the currents of the cells where weight and input bit are both one;
the sum is converted and weighted by 2^(p+q), the top weight plane negatively:

    y = scale · (sum over tiles, p, q of ±2^(p+q) · ADC(S_pq)  -  zero_point · nominal column sum)
    S_pq = gain_column · sum_i w_qi x_pi current_i  +  offset_column  +  read noise

Cells, column gains and column offsets are static: they belong to the chip. The read noise is new
for every conversion. An age changes nothing here; a temperature changes the cells.

Two cases need no planes, because one product gives the same: without a converter everything is
linear; and a converter that has a code for every count, on cells without any variation or noise,
makes no error at all. A fine converter on cells *with* variation is neither: rounding to whole
counts removes small variation, which no effective weight can describe.
"""

from __future__ import annotations

from device_models.bitplane_model import BitPlaneSram
from device_models.contract import Array, Placement
from device_models.plane_array import PlaneArray, plane_array
from device_models.planes import written
from device_models.registry import register
from device_models.shortcuts import linear_array, lossless_array
from device_models.silicon import tile_cells

__all__ = ["BitPlaneSram", "program_bitplane", "program_planes"]


@register(BitPlaneSram)
def program_bitplane(model: BitPlaneSram, placement: Placement) -> Array:
    """Write the planes into cells, or take the exact short cut where there is one."""
    held = written(placement.weights)
    if model.is_lossless and not model.is_analog:
        return lossless_array(held, placement.input_bits)
    if model.adc_bits is None:
        cells = tile_cells(model, placement, held)
        return linear_array(held, cells, model.read_noise_counts, placement.input_bits)
    return program_planes(model, placement)


def program_planes(model: BitPlaneSram, placement: Placement) -> PlaneArray:
    """Write the planes into cells that are always read one conversion at a time."""
    held = written(placement.weights)
    cells = tile_cells(model, placement, held)
    return plane_array(held, cells, model.converter, placement.input_bits)

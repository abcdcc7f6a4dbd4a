"""The cells of the plain bit-plane array: a normal spread, linear in temperature.

    (1 + k ΔT) · max(0, 1 + sigma_cell ε₁ + sigma_T ΔT ε₂)

with ΔT from 25 C, ε standard normal: the common factor fades all cells alike, the spread changes
the pattern itself. Age and supply change nothing.
"""

from __future__ import annotations

import numpy as np

from device_models.contract import REFERENCE_TEMPERATURE_C, Placement
from device_models.sram.bitplane_model import BitPlaneSram
from device_models.sram.silicon import CellValues
from device_models.streams import normals


def plain_cells(
    model: BitPlaneSram, placement: Placement, shape: tuple[int, int, int, int]
) -> CellValues:
    """The currents of all cells [groups, d, planes, m] in counts; None where all are one."""
    heat_k = placement.state.temperature_c - REFERENCE_TEMPERATURE_C
    fading = max(0.0, 1 + model.temperature_gain_per_k * heat_k)
    effects = (
        ("cell current", model.cell_sigma),
        ("cell temperature", model.temperature_spread_per_k * heat_k),
    )
    if fading == 1 and not any(sigma for _, sigma in effects):
        return None
    currents = np.ones(shape, np.float32)
    for effect, sigma in effects:
        if sigma:
            change = normals(placement.seed, placement.layer, effect, shape)
            change *= np.float32(sigma)
            currents += change
    np.maximum(currents, 0, out=currents)
    currents *= np.float32(fading)
    return currents

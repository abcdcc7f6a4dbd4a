"""Charge-domain SRAM: each cell's capacitor puts its charge onto the column.

    V_column = V_DD · Σ_i w_i x_i C_i / (Σ_i C_i + C_par)         C_par = 0.3 N C + 2.04 fF
    σ(C) / C = σ_1fF / sqrt(C / 1 fF)
    noise:   sqrt(k T / (Σ C + C_par)) of each charge sharing, beside the converter's own

A count is V_DD C / (N C + C_par): the converter is referred to the supply, so that supply,
temperature and age do not move the sums. What they move is the noise in counts, which is learnt by
nobody. So this is the array that hardly drifts, and has little to recalibrate but its mismatch.
Formulas and figures: CSNR/CACTUS, arXiv 2507.09776 (28 nm).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from device_models.contract import ABSOLUTE_ZERO_C, Array, Placement, State
from device_models.parameters import parameter
from device_models.registry import register
from device_models.sram.bitplane import bitplane_array
from device_models.sram.periphery import Periphery
from device_models.sram.planes import written
from device_models.sram.silicon import CellValues, cell_shape
from device_models.streams import normals
from device_models.validity import Validity, of_silicon

BOLTZMANN_J_PER_K = 1.380649e-23
_SOURCE = "CSNR/CACTUS, arXiv 2507.09776 (28 nm)"


@dataclass(frozen=True)
class ChargeSram(Periphery):
    """Cells with capacitors; the defaults are the preset `sram-charge`."""

    kind: ClassVar[str] = "charge-sram"

    read_noise_counts: float = parameter(
        0.02,
        unit="counts",
        meaning="standard deviation of the converter's own noise, new each time; kT/C comes on top",
        source="ASiM, arXiv 2411.11022: N(0, sigma) before rounding; value: stated assumption",
        low=0.0,
        high=512.0,
    )
    capacitor_ff: float = parameter(
        1.0, unit="fF", meaning="C: of one cell", source=_SOURCE, low=0.01, high=1000.0
    )
    mismatch_at_1ff: float = parameter(
        0.0066,
        unit="1",
        meaning="standard deviation of a capacitor of 1 fF, static; falls as 1/sqrt(C)",
        source=_SOURCE,
        low=0.0,
        high=1.0,
    )
    parasitic_per_cell: float = parameter(
        0.3,
        unit="of C",
        meaning="parasitic capacitance of the column for each cell",
        source=_SOURCE,
        low=0.0,
        high=100.0,
    )
    parasitic_ff: float = parameter(
        2.04,
        unit="fF",
        meaning="parasitic capacitance at the foot of the column",
        source=_SOURCE,
        low=0.0,
        high=1e5,
    )
    supply_v: float = parameter(
        0.9, unit="V", meaning="nominal V_DD", source="28 nm logic", low=0.01, high=5.0
    )

    def noise_counts(self, state: State) -> float:
        """The converter's noise and that of charge sharing, together."""
        return math.hypot(self.read_noise_counts, thermal_noise_counts(self, state))


def column_ff(model: ChargeSram) -> tuple[float, float]:
    """Capacitance of a column's cells, and all that is parasitic."""
    cells = model.rows * model.capacitor_ff
    return cells, model.parasitic_per_cell * cells + model.parasitic_ff


def count_v(model: ChargeSram, state: State) -> float:
    """What one cell moves its column by."""
    return state.supply_of(model.supply_v) * model.capacitor_ff / sum(column_ff(model))


def thermal_noise_counts(model: ChargeSram, state: State) -> float:
    """sqrt(kT/C) of one charge sharing, in counts."""
    farads = sum(column_ff(model)) * 1e-15
    kelvin = state.temperature_c - ABSOLUTE_ZERO_C
    return math.sqrt(BOLTZMANN_J_PER_K * kelvin / farads) / count_v(model, state)


def validity(model: ChargeSram) -> Validity:
    """Where a model holds."""
    basis = "capacitors and a converter that follow the supply"
    return of_silicon(None, model.supply_v, f"{basis}: stated assumption")


@register(ChargeSram, validity)
def program_charge(model: ChargeSram, placement: Placement) -> Array:
    """Write the planes into the cells of a chip in its conditions."""
    held = written(placement.weights)
    shares = cell_charges(model, placement, cell_shape(held))
    return bitplane_array(model, placement, held, shares)


def cell_charges(model: ChargeSram, placement: Placement, shape: tuple[int, ...]) -> CellValues:
    """What each cell adds to its column, in counts; None where all capacitors are alike.

    The sum of a column's capacitors, in which its own deviations take part, divides what each of
    them adds; rows that a layer leaves empty count as nominal.
    """
    sigma = model.mismatch_at_1ff / math.sqrt(model.capacitor_ff)
    if not sigma:
        return None
    found = normals(placement.seed, placement.layer, "cell capacitor", shape)
    found *= np.float32(sigma)
    found += np.float32(1)
    np.maximum(found, 0, out=found)
    nominal = sum(column_ff(model)) / model.capacitor_ff
    for start in range(0, shape[1], model.rows):
        tile: NDArray[np.float32] = found[:, start : start + model.rows]
        excess = tile.sum(axis=1, keepdims=True) - np.float32(tile.shape[1])
        tile /= np.float32(1) + excess / np.float32(nominal)
    return found

"""An estimate of the energy of an inference in a bit-plane SRAM array. It is not a measurement.

    E = conversions · (E_bit_line + E_adc + E_shift_add) + driven cells · E_word_line
        + surrogate MACs · E_mac

    E_bit_line  = (C_cell · rows + C_wire) · V²     the column is charged once for each read
    E_adc       = FoM · 2^bits                      Walden's figure of merit
    E_word_line = C_cell · V²                       each cell passed loads its word line

What is left out: memory that holds activations and factors, control, clock, leakage, converter
references, and the writing of the weights. Constants come from different technology nodes, each
named below. A sound use is to compare configurations with each other; a figure published for
silicon contains all that is left out here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from device_models.bitplane_model import BitPlaneSram
from device_models.counts import Counts
from device_models.errors import DeviceModelError
from device_models.parameters import parameter

_PARASITIC = "C_par = 0.3 fF · rows + 2.04 fF at 28 nm, arXiv 2507.09776"
_HOROWITZ = "Horowitz, ISSCC 2014, 45 nm at 0.9 V"

PUBLISHED_TOPS_PER_WATT = 464.0
"""Published for rank-8 paths beside bit-plane CIM, simulated, no break-down: arXiv 2411.05845."""


def _constant(default: float, unit: str, meaning: str, source: str) -> Any:
    return parameter(default, unit=unit, meaning=meaning, source=source, low=0.0, high=1e6)


@dataclass(frozen=True)
class EnergyConstants:
    """What one use of each part costs."""

    supply_v: float = _constant(0.9, "V", "supply", "nominal supply of 28 nm logic")
    cell_ff: float = _constant(0.3, "fF", "line capacitance for each cell passed", _PARASITIC)
    column_ff: float = _constant(2.04, "fF", "capacitance at the foot of a column", _PARASITIC)
    adc_fj_per_step: float = _constant(
        10.0,
        "fJ/step",
        "Walden figure of merit: energy of a conversion / 2^bits",
        "Walden 1999; SAR converters of 8 to 10 bits reached 6 to 9 fJ by 2012, nodes differ "
        "(survey by Jonsson, converterpassion.wordpress.com); rounded up",
    )
    shift_add_pj: float = _constant(
        0.1, "pJ", "one 32-bit addition; shifts are wires", f"{_HOROWITZ}: int32 add 0.1 pJ"
    )
    mac_pj: float = _constant(
        4.6,
        "pJ",
        "one float32 multiply-accumulate of the surrogate path",
        f"{_HOROWITZ}: float32 multiply 3.7 pJ, add 0.9 pJ",
    )


@dataclass(frozen=True)
class Energy:
    """Picojoules of one inference, by part."""

    word_lines_pj: float
    bit_lines_pj: float
    conversions_pj: float
    shift_add_pj: float
    surrogate_pj: float
    operations: int
    """Of the main path, one multiply-accumulate being two."""

    @property
    def total_pj(self) -> float:
        """Of the whole inference."""
        array = self.word_lines_pj + self.bit_lines_pj + self.conversions_pj + self.shift_add_pj
        return array + self.surrogate_pj

    @property
    def tops_per_watt(self) -> float:
        """Operations of the main path for each picojoule: the same figure as 10^12/s per watt."""
        return self.operations / self.total_pj if self.total_pj else 0.0


def estimate(
    model: BitPlaneSram,
    uses: Counts,
    surrogate_macs: int,
    constants: EnergyConstants | None = None,
) -> Energy:
    """Estimate the energy of one inference; see the head of this file for what it leaves out.

    Args:
        model: The array: rows and converter bits.
        uses: What the main path does for one sample, over all layers.
        surrogate_macs: Multiply-accumulates of the high-precision path for one sample.
        constants: Costs; the named ones by default.

    Raises:
        DeviceModelError: a model without a converter, whose reading has no price here.
    """
    if model.adc_bits is None:
        raise DeviceModelError(
            "no energy estimate for a bit-plane array without a converter; give it adc_bits"
        )
    cost = constants or EnergyConstants()
    line_pj_per_ff = cost.supply_v**2 / 1000
    return Energy(
        word_lines_pj=uses.driven_cells * cost.cell_ff * line_pj_per_ff,
        bit_lines_pj=uses.conversions
        * (cost.cell_ff * model.rows + cost.column_ff)
        * line_pj_per_ff,
        conversions_pj=uses.conversions * cost.adc_fj_per_step / 1000 * 2**model.adc_bits,
        shift_add_pj=uses.conversions * cost.shift_add_pj,
        surrogate_pj=surrogate_macs * cost.mac_pj,
        operations=2 * uses.multiply_accumulates,
    )

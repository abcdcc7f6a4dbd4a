"""An estimate of the energy of an inference in a bit-plane SRAM array. It is not a measurement.

    E = driven cells · C_word V² + row drives · E_driver                     input drive
      + conversions · C_column V²                                            columns
      + conversions · E_adc                                                  converters
      + sums · E_add                                                         shift and add
      + low-rank · (E_mul + E_add) + gains · (E_mul + E_add) + offsets · E_add   surrogate

    C_column    current domain: C_bit · rows + C_foot, the bit line charged to the supply each time
                charge domain:  all capacitors of the column and its parasitics, charged each time
    E_driver    50 fF · bits · V² where a driver has several bits; of one bit it is the word line
    E_adc       survey: k1 (B + log2 r) + k2 r² 4^B, r = 1 / full_scale: a range that is a part of
                the swing takes finer decisions     Gonugondla et al., TCAD 2022, arXiv 2012.13645
                walden: FoM · 2^B

The columns are an upper bound: few sums move a line by the whole supply. A level between two bits
of a driver is taken for the full swing. A shift is wires. Products of 8 bits are added in 32.

What is left out: memory for activations and factors, control, clock, leakage, references and
sampling of converters, the scaling of a column's sum (into which gain and offset could be folded;
here they are counted), the median of repeated reads, writing the weights. Figures published for
silicon contain some of that. A sound use is to compare configurations with each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

from device_models.contract import DeviceModel
from device_models.energy.constants import WALDEN, EnergyConstants
from device_models.energy.counts import Counts, SurrogateCounts
from device_models.errors import DeviceModelError
from device_models.sram.charge_sram import ChargeSram
from device_models.sram.charge_sram import column_ff as charged_ff
from device_models.sram.current_model import CurrentSram
from device_models.sram.periphery import Periphery

PUBLISHED_TOPS_PER_WATT = 464.0
"""Published for rank-8 paths beside bit-plane CIM, simulated, no break-down: arXiv 2411.05845."""


@dataclass(frozen=True)
class Energy:
    """Picojoules of one inference, by part."""

    drivers_pj: float
    columns_pj: float
    conversions_pj: float
    shift_add_pj: float
    low_rank_pj: float
    gain_offset_pj: float
    operations: int
    """Of the main path, one multiply-accumulate being two."""

    @property
    def main_pj(self) -> float:
        """Of the array."""
        return self.drivers_pj + self.columns_pj + self.conversions_pj + self.shift_add_pj

    @property
    def surrogate_pj(self) -> float:
        """Of the high-precision path."""
        return self.low_rank_pj + self.gain_offset_pj

    @property
    def total_pj(self) -> float:
        """Of the whole inference."""
        return self.main_pj + self.surrogate_pj

    @property
    def surrogate_share(self) -> float:
        """Of the whole inference."""
        return self.surrogate_pj / self.total_pj if self.total_pj else 0.0

    @property
    def tops_per_watt(self) -> float:
        """Operations of the main path for each picojoule: the same figure as 10^12/s per watt."""
        return self.operations / self.total_pj if self.total_pj else 0.0

    def document(self) -> dict[str, float]:
        """All figures by name."""
        names = ("main_pj", "surrogate_pj", "total_pj", "surrogate_share", "tops_per_watt")
        return {**asdict(self), **{name: getattr(self, name) for name in names}}


def priced(model: DeviceModel) -> Periphery:
    """The model, where its parts have prices here.

    Raises:
        DeviceModelError: it has no bit planes, or no converter.
    """
    if not isinstance(model, Periphery):
        raise DeviceModelError(
            f"no energy estimate for kind {model.kind!r}: no bit planes and converters to count"
        )
    if model.adc_bits is None:
        raise DeviceModelError(
            "no energy estimate for a bit-plane array without a converter; give it adc_bits"
        )
    return model


def estimate(
    model: DeviceModel,
    uses: Counts,
    surrogate: SurrogateCounts | None = None,
    constants: EnergyConstants | None = None,
) -> Energy:
    """Estimate the energy of one inference; see the head of this file for what it leaves out.

    Args:
        model: The array: a bit-plane model with a converter.
        uses: What the main path does for one sample.
        surrogate: What the high-precision path does; nothing by default.
        constants: Costs; the named ones by default.

    Raises:
        DeviceModelError: a model whose parts have no price here.
    """
    array, cost = priced(model), constants or EnergyConstants()
    path = surrogate or SurrogateCounts()
    square = _supply_v(array, cost) ** 2 / 1000
    several = cost.driver_ff_per_bit * array.dac_bits if array.dac_bits > 1 else 0.0
    return Energy(
        drivers_pj=(uses.driven_cells * cost.word_line_ff + uses.row_drives * several) * square,
        columns_pj=uses.conversions * column_ff(array, cost) * square,
        conversions_pj=uses.conversions * conversion_pj(array, cost),
        shift_add_pj=uses.sums * cost.int32_add_pj,
        low_rank_pj=path.low_rank * (cost.multiply_pj + cost.add_pj),
        gain_offset_pj=path.gains * (cost.multiply_pj + cost.add_pj) + path.offsets * cost.add_pj,
        operations=2 * uses.multiply_accumulates,
    )


def column_ff(model: Periphery, cost: EnergyConstants) -> float:
    """What is charged for each reading of a column, whether or not a layer fills its rows."""
    if isinstance(model, ChargeSram):
        return sum(charged_ff(model))
    return cost.bit_line_ff * model.rows + cost.column_ff


def conversion_pj(model: Periphery, cost: EnergyConstants) -> float:
    """One conversion.

    Raises:
        DeviceModelError: the model has no converter.
    """
    bits = priced(model).adc_bits or 0
    if cost.adc_form == WALDEN:
        return float(cost.adc_fj_per_step / 1e3 * 2**bits)
    finer = 1 / model.full_scale
    decisions = cost.adc_fj_per_bit / 1e3 * (bits + math.log2(finer))
    return float(decisions + cost.adc_aj / 1e6 * finer**2 * 4**bits)


def _supply_v(model: Periphery, cost: EnergyConstants) -> float:
    return model.supply_v if isinstance(model, CurrentSram | ChargeSram) else cost.supply_v


def total_energy(parts: Iterable[Energy]) -> Energy:
    """The sum over layers."""
    parts = tuple(parts)
    names = [spec.name for spec in fields(Energy)]
    return Energy(**{name: sum(getattr(part, name) for part in parts) for name in names})

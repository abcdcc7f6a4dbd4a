"""Published energy figures, and the same configuration in our model.

Figures are those of the abstracts named; what an abstract does not say is said to be assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

from energy_grid import array_alone

from device_models.energy.estimate import PUBLISHED_TOPS_PER_WATT
from device_models.sram.charge_sram import ChargeSram
from device_models.sram.current_model import CurrentSram
from device_models.sram.periphery import Periphery

MF_NET_TOPS_PER_WATT = (105.0, 84.0)


@dataclass(frozen=True)
class Macro:
    """A published figure."""

    name: str
    source: str
    node: str
    tops_per_watt: float
    device: Periphery | None
    """The nearest that our model has; None where there is nothing to compare with."""

    weight_bits: int
    input_bits: int
    differs: str
    by_bits: int = 1
    """Ours is multiplied by it: a binary array is counted with two planes, of which it has one."""

    def ours(self) -> float | None:
        """Our estimate of the same configuration, all rows used, no surrogate."""
        if self.device is None:
            return None
        found = array_alone(self.device, self.weight_bits, self.input_bits)
        return found.tops_per_watt * self.by_bits


MACROS = (
    Macro(
        "NPP, rank-8 paths beside bit-plane CIM",
        "arXiv 2411.05845",
        "not in the abstract",
        PUBLISHED_TOPS_PER_WATT,
        None,
        8,
        8,
        "simulated; array, converter, precision, network and counting of the 464 are not public",
    ),
    Macro(
        "MF-Net, 8x62 SRAM, 5-bit ADC",
        "arXiv 2102.00035",
        "45 nm",
        MF_NET_TOPS_PER_WATT[0],
        CurrentSram(rows=62, adc_bits=5),
        8,
        8,
        "an l1 operator instead of products; the array's own bit lines are the converter; "
        "62 columns summed, taken as rows here",
    ),
    Macro(
        "MF-Net, 8x30 SRAM, 4-bit ADC",
        "arXiv 2102.00035",
        "45 nm",
        MF_NET_TOPS_PER_WATT[1],
        CurrentSram(rows=30, adc_bits=4),
        8,
        8,
        "the same",
    ),
    Macro(
        "C3SRAM, charge domain, binary",
        "JSSC 2020, Jiang et al.",
        "65 nm",
        672.0,
        ChargeSram(rows=256, adc_bits=5),
        2,
        1,
        "silicon; 1-bit weights and inputs; 256 rows and 5-bit converters are assumed",
        2,
    ),
    Macro(
        "bit-scalable processor, charge domain, 8-bit codes",
        "JSSC 2020, Jia et al., 10.1109/JSSC.2020.2987714",
        "65 nm, 0.85 V",
        400.0 / 64,
        ChargeSram(rows=512, adc_bits=8, supply_v=0.85),
        8,
        8,
        "silicon; published as 400 for 1 bit, falling with the bits of both: divided by 64; "
        "590 Kb, columns longer than the 512 rows of our model; 8-bit converters are assumed",
    ),
    Macro(
        "P-8T SRAM, 256x80, 4-bit inputs, 8-bit weights, 4-bit ADC",
        "JSSC 2024, Lee et al., arXiv 2211.16008",
        "28 nm, 0.6 V",
        50.1,
        ChargeSram(rows=16, dac_bits=4, adc_bits=4, supply_v=0.6),
        8,
        4,
        "silicon; 16 products at once; a coarse-fine flash converter whose references are columns "
        "of the array",
    ),
    Macro(
        "charge-sharing accumulator, 256x128, 7-bit inputs and outputs, 4-bit weights",
        "arXiv 2605.30814",
        "65 nm",
        8.4,
        CurrentSram(rows=256, adc_bits=7),
        4,
        7,
        "input bits are accumulated as charge, so that fewer conversions are needed",
    ),
)
"""Those whose abstracts could be looked up."""

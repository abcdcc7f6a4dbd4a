"""The parameters of a current-domain SRAM array, with their units and sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from device_models.errors import DeviceModelError
from device_models.parameters import choice, parameter
from device_models.sram.periphery import Periphery

STRONG, SUBTHRESHOLD = "strong", "subthreshold"
FIXED, REPLICA = "fixed", "replica"

_PELGROM = "Pelgrom et al., JSSC 1989; A_VT of 1 to 5 mV um"
_ALPHA = "Sakurai and Newton, JSSC 1990: alpha of 1.3 (short channel) to 2"
_HEAT = "textbook: V_T falls by 1 to 2 mV/K, mobility as T^-1.5; here the two nearly cancel"
_AGEING = "textbook: bias-temperature instability as t^n, n of 0.16 to 0.25; stated assumption"


def _voltage(default: float, meaning: str, source: str) -> Any:
    return parameter(default, unit="V", meaning=meaning, source=source, low=0.01, high=5.0)


def _size(default: float, meaning: str) -> Any:
    source = "0.03 um2: a read transistor of a 28 nm class cell; stated assumption"
    return parameter(default, unit="um", meaning=meaning, source=source, low=0.005, high=100.0)


@dataclass(frozen=True)
class CurrentSram(Periphery):
    """Cells whose read transistors pull a current; the defaults are the preset `sram-bitplane`.

    The spread of the threshold, 8.2 mV, makes one of 2.1 % in the current at 25 C.
    """

    kind: ClassVar[str] = "current-sram"

    a_vt_mv_um: float = parameter(
        2.0,
        unit="mV um",
        meaning="A_VT: threshold mismatch of a pair of W L = 1 um2, static",
        source=_PELGROM,
        low=0.0,
        high=100.0,
    )
    width_um: float = _size(0.3, "W of the read transistor")
    length_um: float = _size(0.1, "L of the read transistor")
    region: str = choice(
        STRONG,
        words=(STRONG, SUBTHRESHOLD),
        meaning="the law of the current: alpha-power above the threshold, exponential below it",
        source=_ALPHA,
    )
    supply_v: float = _voltage(0.9, "nominal supply, which drives the word lines", "28 nm logic")
    threshold_v: float = _voltage(0.4, "V_T of a cell without deviation at 25 C", "28 nm logic")
    alpha: float = parameter(
        1.3,
        unit="1",
        meaning="exponent of the overdrive in strong inversion",
        source=_ALPHA,
        low=1.0,
        high=2.0,
    )
    slope_factor: float = parameter(
        1.3,
        unit="1",
        meaning="n_s: slope below the threshold, in thermal voltages",
        source="textbook: 1.2 to 1.6; stated assumption",
        low=1.0,
        high=3.0,
    )
    threshold_mv_per_k: float = parameter(
        1.7,
        unit="mV/K",
        meaning="k: how much every threshold falls with temperature",
        source=_HEAT,
        low=0.0,
        high=5.0,
    )
    threshold_spread_uv_per_k: float = parameter(
        40.0,
        unit="uV/K",
        meaning="s: standard deviation of a threshold's own change with temperature",
        source="stated assumption: 2 % of k; it makes the pattern itself change",
        low=0.0,
        high=5000.0,
    )
    mobility_exponent: float = parameter(
        1.5,
        unit="1",
        meaning="mu: mobility falls as (T / 298.15 K)^-mu",
        source=_HEAT,
        low=0.0,
        high=3.0,
    )
    ageing_mv: float = parameter(
        20.0,
        unit="mV",
        meaning="rise of the mean threshold in ten years of use",
        source=_AGEING,
        low=0.0,
        high=500.0,
    )
    ageing_exponent: float = parameter(
        0.2, unit="1", meaning="n: exponent of time", source=_AGEING, low=0.05, high=1.0
    )
    ageing_spread: float = parameter(
        0.3,
        unit="of the mean",
        meaning="r: standard deviation of a cell's own ageing",
        source="stated assumption: few traps a device, so that its own rise scatters",
        low=0.0,
        high=3.0,
    )
    reference: str = choice(
        REPLICA,
        words=(FIXED, REPLICA),
        meaning="what the converter takes for a count: the nominal current, or that of a replica "
        "cell, which follows temperature, supply and mean ageing",
        source="replica columns are usual; a fixed one lets sums leave the grid of whole counts",
    )

    def __post_init__(self) -> None:
        """Check the parameters, each and together."""
        super().__post_init__()
        above = self.supply_v > self.threshold_v
        if above != (self.region == STRONG):
            needed = "above" if self.region == STRONG else "at most"
            raise DeviceModelError(
                f"device model {self.kind}: the region {self.region} with a supply_v of "
                f"{self.supply_v} and a threshold_v of {self.threshold_v}; give a supply {needed} "
                "the threshold, or the other region"
            )

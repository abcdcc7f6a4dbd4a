"""The plain bit-plane array: binary cells whose spread is given as it is, whatever its cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from device_models.parameters import parameter
from device_models.sram.periphery import Periphery

_SPREAD = "of any cause; that of the current-domain preset is 2 %"
_HEAT = "stated assumption: biased near the point where mobility and V_T cancel"


@dataclass(frozen=True)
class BitPlaneSram(Periphery):
    """Cells with a normal spread, linear in temperature; no preset, for studies and for fits."""

    kind: ClassVar[str] = "bitplane"

    cell_sigma: float = parameter(
        0.02,
        unit="1",
        meaning="standard deviation of a cell's current, static",
        source=_SPREAD,
        low=0.0,
        high=10.0,
    )
    temperature_gain_per_k: float = parameter(
        -0.001,
        unit="1/K",
        meaning="change of every cell's current with temperature, from 25 C",
        source=_HEAT,
        low=-0.02,
        high=0.02,
    )
    temperature_spread_per_k: float = parameter(
        0.0001,
        unit="1/K",
        meaning="standard deviation of a cell's own change with temperature",
        source=_HEAT,
        low=0.0,
        high=0.02,
    )

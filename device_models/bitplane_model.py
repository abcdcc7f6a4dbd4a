"""The parameters of a bit-plane SRAM array, with their units and sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from device_models.converter import Converter, converter
from device_models.errors import DeviceModelError
from device_models.parameters import check, parameter

_CROSSSIM = "CrossSim: static gain and offset of each column's converter; value: stated assumption"
_CELL = (
    "A_VT 2 mV um (Pelgrom 1989; one device, so / sqrt 2), W L 0.03 um2: 8 mV; "
    "I ~ (V_GS - V_T)^1.3 at 0.5 V overdrive (Sakurai and Newton 1990): 2.1 %"
)
_HEAT = "stated assumption: biased near the point where mobility and V_T cancel"


@dataclass(frozen=True)
class BitPlaneSram:
    """Parameters of a bit-plane SRAM array. A count is the current of one cell.

    The defaults are the preset `sram-bitplane`. A gain or an offset makes column sums fractional,
    and what a converter then rounds away is no longer a matter of the chip alone: it acts like a
    noise that no correction can learn, as read noise does. Hence gains and noise this small.
    """

    kind: ClassVar[str] = "bitplane"

    rows: int = parameter(
        256,
        unit="rows",
        meaning="rows of one array; longer layers take several",
        source="64 to 256 in published SRAM arrays",
        low=1,
        high=512,
        whole=True,
    )
    adc_bits: int | None = parameter(
        8,
        unit="bit",
        meaning="resolution of the converter; none: no conversion at all",
        source="NeuroSim and ASiM (arXiv 2411.11022) study 4 to 8",
        low=1,
        high=12,
        whole=True,
        optional=True,
    )
    full_scale: float = parameter(
        1.0,
        unit="of rows",
        meaning="column sum that the top code stands for; larger sums are clipped",
        source="CrossSim: range calibrated per layer or the full number of rows",
        low=1 / 512,
        high=1.0,
    )
    cell_sigma: float = parameter(
        0.02,
        unit="1",
        meaning="standard deviation of a cell's current, static",
        source=_CELL,
        low=0.0,
        high=10.0,
    )
    column_gain_sigma: float = parameter(
        0.013,
        unit="1",
        meaning="standard deviation of a column's gain, static",
        source=_CROSSSIM,
        low=0.0,
        high=10.0,
    )
    column_offset_counts: float = parameter(
        0.05,
        unit="counts",
        meaning="standard deviation of a column's offset after auto-zero, static",
        source=_CROSSSIM,
        low=0.0,
        high=512.0,
    )
    read_noise_counts: float = parameter(
        0.04,
        unit="counts",
        meaning="standard deviation of the noise of one conversion, new each time",
        source="ASiM, arXiv 2411.11022: N(0, sigma) before rounding; value: stated assumption",
        low=0.0,
        high=512.0,
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

    def __post_init__(self) -> None:
        """Check the parameters, each and together."""
        check(self)
        if self.full_scale * self.rows < 1:
            raise DeviceModelError(
                f"device model bitplane: a full_scale of {self.full_scale} of {self.rows} rows is "
                f"less than one count; give at least {1 / self.rows:g}"
            )

    @property
    def converter(self) -> Converter:
        """The converter at the foot of each column."""
        return converter(self.rows, self.adc_bits, self.full_scale, self.read_noise_counts)

    @property
    def is_lossless(self) -> bool:
        """Whether the converter passes on every whole count that the rows can give."""
        chain = self.converter
        if chain.top_code is None:
            return True
        return chain.step_counts <= 1 and chain.top_code * chain.step_counts >= self.rows

    @property
    def is_analog(self) -> bool:
        """Whether anything but the converter's resolution makes an error, at any temperature."""
        return any(
            (
                self.cell_sigma,
                self.column_gain_sigma,
                self.column_offset_counts,
                self.read_noise_counts,
                self.temperature_gain_per_k,
                self.temperature_spread_per_k,
            )
        )

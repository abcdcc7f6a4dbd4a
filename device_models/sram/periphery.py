"""What stands around the cells of a bit-plane array: drivers, columns, converters, faults.

All kinds of bit-plane arrays share these parameters; each adds those of its cells. A count is what
one cell that holds a one adds to its column when it is driven by a one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from device_models.contract import State
from device_models.errors import DeviceModelError
from device_models.parameters import check, choice, parameter

LOSSLESS, FRACTION, CALIBRATED = "lossless", "fraction", "calibrated"

_CROSSSIM = "CrossSim: static gain and offset of each column's converter; value: stated assumption"
_ASIM = "ASiM, arXiv 2411.11022: N(0, sigma) before rounding; value: stated assumption"
_NONE_UNLESS_MEASURED = "none unless measured"


def _share(default: float, meaning: str, source: str) -> Any:
    return parameter(default, unit="1", meaning=meaning, source=source, low=0.0, high=1.0)


@dataclass(frozen=True)
class Periphery:
    """Abstract: parameters of a bit-plane array but for its cells.

    The defaults are those of the preset `sram-bitplane`. A gain or an offset makes column sums
    fractional, and what a converter then rounds away is no longer a matter of the chip alone: it
    acts like a noise that no correction can learn, as read noise does. Hence gains and noise this
    small.
    """

    kind: ClassVar[str]

    rows: int = parameter(
        256,
        unit="rows",
        meaning="rows of one array; longer layers take several",
        source="64 to 256 in published SRAM arrays",
        low=1,
        high=512,
        whole=True,
    )
    dac_bits: int = parameter(
        1,
        unit="bit",
        meaning="bits of an input that drive a row at once; the others follow, cycle by cycle",
        source="1: bit-serial, as most SRAM arrays; NeuroSim and CrossSim offer more",
        low=1,
        high=8,
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
    adc_range: str = choice(
        FRACTION,
        words=(LOSSLESS, FRACTION, CALIBRATED),
        meaning="what full_scale is a part of: all rows (fraction; lossless: a code for each "
        "count besides), or the largest column sum of typical inputs (calibrated)",
        source="CrossSim and NeuroSim offer the three",
    )
    full_scale: float = parameter(
        1.0,
        unit="of the range",
        meaning="column sum that the top code stands for; larger sums are clipped",
        source="CrossSim: range calibrated per layer or the full number of rows",
        low=1 / 512,
        high=1.0,
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
    inl_steps: float = parameter(
        0.0,
        unit="steps",
        meaning="standard deviation of a converter's bow at half its range, static",
        source=f"a parabola through both ends, the lowest order of an INL; {_NONE_UNLESS_MEASURED}",
        low=0.0,
        high=4096.0,
    )
    sar_sigma: float = parameter(
        0.0,
        unit="unit capacitors",
        meaning="capacitor error of a SAR converter: bit b weighs 2^b + sigma eps 2^(b/2), static",
        source=f"Spear et al., JXCDC 2023; CrossSim SAR converter; {_NONE_UNLESS_MEASURED}",
        low=0.0,
        high=10.0,
    )
    read_noise_counts: float = parameter(
        0.04,
        unit="counts",
        meaning="standard deviation of the noise of one conversion, new each time",
        source=_ASIM,
        low=0.0,
        high=512.0,
    )
    nonlinear_noise_counts: float = parameter(
        0.0,
        unit="counts",
        meaning="further noise of one conversion, over sqrt(S + 1) at a column sum of S counts",
        source=f"ASiM, arXiv 2411.11022, non-linearity noise; {_NONE_UNLESS_MEASURED}",
        low=0.0,
        high=512.0,
    )
    reads: int = parameter(
        1,
        unit="reads",
        meaning="conversions of each column sum, of which the median counts (majority vote)",
        source="ASiM, arXiv 2411.11022: a remedy for noise",
        low=1,
        high=15,
        whole=True,
    )
    ir_drop: float = _share(
        0.0,
        "loss of the cell farthest from the driver when all cells of its column conduct; in "
        "proportion to distance and to the column's sum",
        f"first order of a resistive line, as the ir_drop of aihwkit; {_NONE_UNLESS_MEASURED}",
    )
    stuck_at_zero: float = _share(
        0.0, "share of cells that hold a zero whatever is written", "MemTorch: stuck cells"
    )
    stuck_at_one: float = _share(0.0, "share of cells that hold a one", "MemTorch: stuck cells")

    def __post_init__(self) -> None:
        """Check the parameters, each and together."""
        check(self)
        if self.stuck_at_zero + self.stuck_at_one > 1:
            raise DeviceModelError(
                f"device model {self.kind}: stuck_at_zero is {self.stuck_at_zero} and stuck_at_one "
                f"{self.stuck_at_one}; together they are at most 1"
            )
        if not self.reads % 2:
            raise DeviceModelError(
                f"device model {self.kind}: reads is {self.reads}; a majority needs an odd number"
            )
        self._check_range()

    def _check_range(self) -> None:
        if self.full_scale * self.most_counts < 1:
            raise DeviceModelError(
                f"device model {self.kind}: a full_scale of {self.full_scale} of {self.rows} rows "
                f"is less than one count; give at least {1 / self.most_counts:g}"
            )
        if self.adc_range != LOSSLESS or self.adc_bits is None:
            return
        if self.full_scale != 1 or self.most_counts >= 1 << self.adc_bits:
            raise DeviceModelError(
                f"device model {self.kind}: a lossless range of {self.most_counts} counts needs a "
                f"full_scale of 1 and {self.most_counts.bit_length()} adc_bits; there are "
                f"{self.full_scale:g} and {self.adc_bits}"
            )

    @property
    def most_counts(self) -> int:
        """The largest nominal column sum."""
        return self.rows * ((1 << self.dac_bits) - 1)

    def noise_counts(self, state: State) -> float:  # noqa: ARG002  # of no matter here
        """Standard deviation of the noise of one conversion, in counts."""
        return self.read_noise_counts

    @property
    def varies(self) -> bool:
        """Whether anything around the cells makes an error beyond the converter's resolution."""
        return self.bends or any(
            (
                self.column_gain_sigma,
                self.column_offset_counts,
                self.read_noise_counts,
                self.stuck_at_zero,
                self.stuck_at_one,
            )
        )

    @property
    def bends(self) -> bool:
        """Whether a result is something else than linear in the inputs, converters aside."""
        bending = (self.inl_steps, self.sar_sigma, self.nonlinear_noise_counts, self.ir_drop)
        return any(bending) or self.reads > 1

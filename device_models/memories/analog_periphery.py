"""What stands around the cells of an analog memory: tiles, drivers, converters, faults.

A *count* is what a cell at G_max adds to its column, beyond one at G_min, when its row is driven
by an input of one. The sum of a column is signed: inputs drive their rows with either polarity,
and the currents of the two lines of differential pairs are subtracted before the converter, as by
default in CrossSim (`subtract_current_in_xbar`). The converter is symmetric, with the codes
-(2^(b-1) - 1) to 2^(b-1) - 1 for b bits, as in aihwkit (`out_res` = 1 / (2^b - 2)).

*Drivers* take so many bits of the magnitude of an input at once, its sign besides, and the rest
slice by slice (the sign-magnitude inputs of CrossSim). No bit of an input is lost.

*Ranges*. The full scale is a part of all that a tile of `rows` could give at once (fraction; the
`out_bound` of aihwkit, 10 to 12 counts of full inputs, is about 0.05 of 256 rows), or of the
largest column sum of typical inputs on this chip in its present conditions (calibrated). A
lossless range has a code for each whole sum of weight codes times inputs: nothing is lost on ideal
cells. It needs weights in whole numbers and many bits, for the tallest tile of a layer, the largest
code and the largest slice of an input.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

from device_models.errors import DeviceModelError
from device_models.parameters import check_part, choice, parameter, part
from device_models.sram.periphery import CALIBRATED, FRACTION, LOSSLESS

_CROSSSIM = "CrossSim: static gain and offset of each column's converter"
_ASIM = "ASiM, arXiv 2411.11022"
_NONE_UNLESS_MEASURED = "none unless measured"

NAME = "periphery"
"""Of the field of a memory, and of the table in a file."""


def _share(meaning: str, source: str, high: float = 1.0, unit: str = "1") -> Any:
    given = f"{source}; {_NONE_UNLESS_MEASURED}"
    return parameter(0.0, unit=unit, meaning=meaning, source=given, low=0.0, high=high)


@dataclass(frozen=True)
class AnalogPeriphery:
    """Parameters of the tiles that the cells of an analog memory stand in.

    The defaults are those of the preset `pcm-adc8`: tiles and converters without errors.
    """

    rows: int = parameter(
        256,
        unit="rows",
        meaning="rows of one tile; longer layers take several",
        source="256: a core of the HERMES chip (Le Gallo et al., Nat. Electron. 2023)",
        low=1,
        high=1024,
        whole=True,
    )
    dac_bits: int = parameter(
        8,
        unit="bit",
        meaning="bits of an input, its sign besides, that drive a row at once; the others follow, "
        "slice by slice",
        source="8 at once: aihwkit inp_res = 1 / (2^8 - 2); slices: CrossSim",
        low=1,
        high=8,
        whole=True,
    )
    adc_bits: int | None = parameter(
        8,
        unit="bit",
        meaning="resolution of the converter, its sign included; none: no conversion at all",
        source="8: aihwkit out_res = 1 / (2^8 - 2)",
        low=2,
        high=16,
        whole=True,
        optional=True,
    )
    adc_range: str = choice(
        CALIBRATED,
        words=(LOSSLESS, FRACTION, CALIBRATED),
        meaning="what full_scale is a part of: the sum of all rows at G_max with the largest "
        "input (fraction), or the largest column sum of typical inputs (calibrated); lossless: "
        "a code for each whole sum",
        source="CrossSim offers the three, aihwkit a fraction (out_bound)",
    )
    full_scale: float = parameter(
        1.0,
        unit="of the range",
        meaning="column sum that the top code stands for; larger sums are clipped",
        source="CrossSim: range calibrated per layer, or the largest sum",
        low=1e-4,
        high=4.0,
    )
    column_gain_sigma: float = _share(
        "standard deviation of a column's gain, static", _CROSSSIM, high=10.0
    )
    column_offset: float = _share(
        "standard deviation of a column's offset, static", _CROSSSIM, unit="of the full scale"
    )
    inl_steps: float = _share(
        "standard deviation of a converter's bow at half of either polarity, static",
        "a parabola through zero and the end, the lowest order of an INL",
        high=65536.0,
        unit="steps",
    )
    sar_sigma: float = _share(
        "capacitor error of a SAR converter: bit b of the magnitude weighs "
        "2^b + sigma eps 2^(b/2), static",
        "CrossSim SAR converter",
        high=10.0,
        unit="unit capacitors",
    )
    read_noise: float = _share(
        "standard deviation of the noise of one conversion, new each time",
        f"{_ASIM}: N(0, sigma) before rounding; aihwkit out_noise",
        unit="of the full scale",
    )
    nonlinear_noise: float = _share(
        "further noise of one conversion, over sqrt(|S| + 1) at a column sum of S counts",
        f"{_ASIM}, non-linearity noise",
        unit="of the full scale",
    )
    reads: int = parameter(
        1,
        unit="reads",
        meaning="reads and conversions of each column sum, of which the median counts",
        source=f"{_ASIM}: majority vote, a remedy for noise",
        low=1,
        high=15,
        whole=True,
    )
    ir_drop: float = _share(
        "loss of the cell farthest from the converter when all cells of its line conduct; in "
        "proportion to distance and to the line's current",
        "first order of a resistive line, as the ir_drop of aihwkit",
    )
    stuck_at_off: float = _share(
        "share of cells that stay at G_min whatever is written", "MemTorch: stuck cells"
    )
    stuck_at_on: float = _share("share of cells that stay at G_max", "MemTorch: stuck cells")

    def __post_init__(self) -> None:
        """Check the parameters, each and together."""
        check_part(self, NAME)
        if self.stuck_at_off + self.stuck_at_on > 1:
            raise DeviceModelError(
                f"{NAME}.stuck_at_off is {self.stuck_at_off} and {NAME}.stuck_at_on "
                f"{self.stuck_at_on}; together they are at most 1"
            )
        if not self.reads % 2:
            raise DeviceModelError(f"{NAME}.reads is {self.reads}; a majority needs an odd number")
        if self.adc_range == LOSSLESS and self.full_scale != 1:
            raise DeviceModelError(
                f"{NAME}.full_scale is {self.full_scale:g}; a lossless range needs 1"
            )

    @property
    def top_code(self) -> int | None:
        """The converter's highest code, and the magnitude of its lowest."""
        return None if self.adc_bits is None else (1 << (self.adc_bits - 1)) - 1

    @property
    def uses_range(self) -> bool:
        """Whether a result depends on the full scale."""
        shares = (self.column_offset, self.read_noise, self.nonlinear_noise)
        return self.adc_bits is not None or any(shares)


@dataclass(frozen=True)
class Memory:
    """Abstract: a memory that multiplies as one matrix product, or in tiles with converters."""

    kind: ClassVar[str]

    _: KW_ONLY
    periphery: AnalogPeriphery | None = part(AnalogPeriphery)  # noqa: RUF009  # makes a field
    """None: the bare product with the weights that the cells hold."""

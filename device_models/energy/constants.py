"""What one use of each part of an array costs: constants with unit, source and technology node.

The nodes are mixed: arrays and drivers of 28 nm, arithmetic of 45 nm, converters of a survey over
many nodes. Nothing is scaled from one node to another: a figure of another node is another
constant, given in its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from device_models.parameters import Described, check, choice, describe, parameter

SURVEY, WALDEN = "survey", "walden"
FLOAT32, FLOAT16, INT8 = "float32", "float16", "int8"
ARITHMETICS = (FLOAT32, FLOAT16, INT8)

_ZIGZAG = "ZigZag-IMC (KU Leuven), checked there against 7 chips of 28 nm"
_CACTUS = "C_par = 0.3 fF rows + 2.04 fF, arXiv 2507.09776"
_GONUGONDLA = "Gonugondla et al., TCAD 2022 (arXiv 2012.13645): k1 = 100 fJ, k2 = 1 aJ"
_HOROWITZ = "Horowitz, ISSCC 2014, at 0.9 V"
_NODE_28, _NODE_45, _NODES = "28 nm", "45 nm", "many nodes"


@dataclass(frozen=True)
class Constant(Described):
    """One constant as a listing shows it."""

    node: str
    """Technology node of the figure; "-" where it is a choice."""


def _constant(default: float, unit: str, meaning: str, source: str, node: str) -> Any:
    spec = parameter(default, unit=unit, meaning=meaning, source=source, low=0.0, high=1e6)
    return field(default=default, metadata={**spec.metadata, "node": node})


def _operation(default: float, what: str) -> Any:
    return _constant(default, "pJ", what, _HOROWITZ, _NODE_45)


@dataclass(frozen=True)
class EnergyConstants:
    """The constants of an estimate; `device_models.energy.estimate` says how they are used."""

    kind: ClassVar[str] = "energy constants"

    supply_v: float = _constant(
        0.9, "V", "supply of arrays whose model has none of its own", "28 nm logic", _NODE_28
    )
    word_line_ff: float = _constant(
        0.35, "fF", "word line for each cell passed: half a NAND gate", _ZIGZAG, _NODE_28
    )
    driver_ff_per_bit: float = _constant(
        50.0, "fF", "a row's driver for each bit, where it has several", _ZIGZAG, _NODE_28
    )
    bit_line_ff: float = _constant(
        0.35, "fF", "bit line for each row of the array: half a NAND gate", _ZIGZAG, _NODE_28
    )
    column_ff: float = _constant(2.04, "fF", "foot of a column", _CACTUS, _NODE_28)
    adc_form: str = choice(
        SURVEY,
        words=(SURVEY, WALDEN),
        meaning="law of a conversion's energy: k1 B + k2 4^B, or a figure of merit times 2^B",
        source=_GONUGONDLA,
    )
    adc_fj_per_bit: float = _constant(
        100.0, "fJ", "k1: each decision of a converter", _GONUGONDLA, _NODES
    )
    adc_aj: float = _constant(
        1.0, "aJ", "k2: of 4^B, thermal noise at the full supply", _GONUGONDLA, _NODES
    )
    adc_fj_per_step: float = _constant(
        10.0,
        "fJ",
        "Walden's figure of merit, of 2^B",
        "Walden 1999; SAR converters of 8 to 10 bits reached 6 to 9 fJ by 2012 (survey by "
        "Jonsson, converterpassion.wordpress.com); rounded up",
        _NODES,
    )
    surrogate_arithmetic: str = choice(
        FLOAT32,
        words=ARITHMETICS,
        meaning="what the high-precision path computes in; codes of 3 to 8 bits are float32 here",
        source="the emulator's own",
    )
    float32_multiply_pj: float = _operation(3.7, "float32 multiplication")
    float32_add_pj: float = _operation(0.9, "float32 addition")
    float16_multiply_pj: float = _operation(1.1, "float16 multiplication")
    float16_add_pj: float = _operation(0.4, "float16 addition")
    int8_multiply_pj: float = _operation(0.2, "8-bit multiplication")
    int32_add_pj: float = _operation(0.1, "32-bit addition: of codes, and of 8-bit products")

    def __post_init__(self) -> None:
        """Check every constant.

        Raises:
            DeviceModelError: one is out of its range.
        """
        check(self)

    @property
    def multiply_pj(self) -> float:
        """One multiplication of the high-precision path."""
        return {
            FLOAT32: self.float32_multiply_pj,
            FLOAT16: self.float16_multiply_pj,
            INT8: self.int8_multiply_pj,
        }[self.surrogate_arithmetic]

    @property
    def add_pj(self) -> float:
        """One addition of the high-precision path."""
        return {
            FLOAT32: self.float32_add_pj,
            FLOAT16: self.float16_add_pj,
            INT8: self.int32_add_pj,
        }[self.surrogate_arithmetic]


def listed(constants: EnergyConstants) -> tuple[Constant, ...]:
    """Every constant with its value, unit, meaning, source and technology node."""
    nodes = {spec.name: spec.metadata.get("node", "-") for spec in fields(constants)}
    return tuple(
        Constant(one.name, one.value, one.unit, one.meaning, one.source, nodes[one.name])
        for one in describe(constants)
    )

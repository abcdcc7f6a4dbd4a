"""Cells that are written with an error and stay as they are: what programming data alone tell.

    G = max(0, target + σ(target) ε)        σ(target) = max(0, c₀ + c₁ target + c₂ target² + …)

in microsiemens, ε standard normal and static. Nothing ages here: the sources of the two presets
give no figures from which ageing could be reproduced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from device_models.contract import Array, Placement
from device_models.memories.analog_periphery import Memory
from device_models.memories.differential_pair import differential_pairs
from device_models.memories.laws import polynomial
from device_models.memories.pair_array import pair_array
from device_models.memories.pairs import Pairs
from device_models.parameters import check, check_below, coefficients, parameter
from device_models.registry import register

_JOSHI = "Joshi et al., Nat. Commun. 11, 2473 (2020), Fig. 3b; CrossSim PCM_Joshi.py"
_MILO = "Milo et al., IRPS 2021, Fig. 4 (IGVVA-100); CrossSim RRAM_Milo.py"


def microsiemens(default: float, meaning: str, source: str) -> Any:
    """A dataclass field of a cell's conductance."""
    return parameter(default, unit="uS", meaning=meaning, source=source, low=0.0, high=1e4)


def noise_of_reading(default: float, source: str) -> Any:
    """A dataclass field of read noise."""
    return parameter(
        default,
        unit="of the largest weight",
        meaning="standard deviation of each weight from read to read, new each time",
        source=source,
        low=0.0,
        high=10.0,
    )


@dataclass(frozen=True)
class ProgrammedMemory(Memory):
    """Differential pairs with a programming error; presets `pcm-joshi` and `rram-milo`."""

    kind: ClassVar[str] = "programmed"

    g_min_us: float = microsiemens(0.25, "conductance of a cell that holds no weight", _JOSHI)
    g_max_us: float = microsiemens(25.0, "conductance of a cell that holds the largest", _JOSHI)
    programming_noise_us: tuple[float, ...] = coefficients(
        (0.28638599, 0.07585724, -0.00178767),
        unit="uS",
        meaning="standard deviation after programming: c0 + c1 G + c2 G^2 + ..., G in uS",
        source=f"{_JOSHI}; for rram-milo: {_MILO}",
        fewest=1,
    )
    read_noise: float = noise_of_reading(0.0, "the sources give none")

    def __post_init__(self) -> None:
        """Check the parameters."""
        check(self)
        check_below(self, "g_min_us", "g_max_us")


PCM_JOSHI = ProgrammedMemory()
RRAM_MILO = ProgrammedMemory(
    g_min_us=50.0, g_max_us=225.0, programming_noise_us=(4.782321, -0.009107)
)


@register(ProgrammedMemory)
def program_programmed(model: ProgrammedMemory, placement: Placement) -> Array:
    """Write a layer into the cells."""
    cells = differential_pairs(placement)
    targets = cells.between(model.g_min_us, model.g_max_us)
    conductances = cells.normals("programming")
    conductances *= cells.spread(polynomial(model.programming_noise_us, targets))
    conductances += cells.spread(targets)
    np.maximum(conductances, 0, out=conductances)
    pairs = Pairs(cells, conductances, model.g_min_us, model.g_max_us, model.read_noise)
    return pair_array(pairs, model.periphery, placement)

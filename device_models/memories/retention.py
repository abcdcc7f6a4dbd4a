"""Resistive memory whose conductances spread with time, as measured at three ages.

    G = max(0, g G_max + σ(g, t) ε(t))

σ is given at 1 s, 1 day and 2 days after programming and is linear in ln t between; before the
first and after the last it stays as it is there, for nothing was measured. ε is a standard
normal pattern that turns with ln t, so that an age is a pure function of the chip, and what
spreads later is mostly not what was spread before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from device_models.contract import Array, Placement
from device_models.memories.analog_periphery import Memory
from device_models.memories.differential_pair import differential_pairs
from device_models.memories.laws import polynomial
from device_models.memories.pair_array import pair_array
from device_models.memories.pairs import Pairs
from device_models.memories.programmed import noise_of_reading
from device_models.parameters import check, coefficients, parameter
from device_models.registry import register
from device_models.validity import ROOM_C, Validity

MEASURED_S = (1.0, 86_400.0, 172_800.0)
"""When σ was measured."""

_SOURCE = "Wan et al., Nature 608, 504 (2022); fit: aihwkit inference/noise/reram.py"
_RANGE = "measured up to two days, at room temperature; later ages keep the spread of two days"
_MEANING = "standard deviation after {}: c0 + c1 g + c2 g^2 + ..."
_READ_NOISE = "aihwkit reram.py: about 1 % to be added to the model"


@dataclass(frozen=True)
class RetentionMemory(Memory):
    """HfOx cells of a compute-in-memory chip; preset `rram-wan`."""

    kind: ClassVar[str] = "retention"

    g_max_us: float = parameter(
        40.0,
        unit="uS",
        meaning="conductance of a cell that holds the largest weight",
        source=_SOURCE,
        low=1e-3,
        high=1e4,
    )
    second_us: tuple[float, ...] = coefficients(
        (0.348, 16.030, -43.853, 45.393, -16.815),
        unit="uS",
        meaning=_MEANING.format("1 s"),
        source=_SOURCE,
        fewest=1,
    )
    day_us: tuple[float, ...] = coefficients(
        (0.701, 22.086, -50.773, 47.095, -16.458),
        unit="uS",
        meaning=_MEANING.format("1 day"),
        source=_SOURCE,
        fewest=1,
    )
    two_days_us: tuple[float, ...] = coefficients(
        (0.782, 20.274, -43.507, 37.062, -11.934),
        unit="uS",
        meaning=_MEANING.format("2 days"),
        source=_SOURCE,
        fewest=1,
    )
    wander_rad: float = parameter(
        0.085,
        unit="rad",
        meaning="how far the pattern turns for each factor e in time, from 1 s on",
        source="stated assumption: what spreads between 1 s and 2 days is independent of before",
        low=0.0,
        high=10.0,
    )
    read_noise: float = noise_of_reading(0.01, _READ_NOISE)

    def __post_init__(self) -> None:
        """Check the parameters."""
        check(self)

    def deviation_us(self, g: NDArray[np.float64], age_s: float) -> NDArray[np.float64]:
        """σ at an age, for targets of 0 to 1."""
        at = [polynomial(law, g) for law in (self.second_us, self.day_us, self.two_days_us)]
        time = _log_time(age_s)
        marks = [_log_time(mark) for mark in MEASURED_S]
        index = 0 if time < marks[1] else 1
        share = (time - marks[index]) / (marks[index + 1] - marks[index])
        between: NDArray[np.float64] = at[index] + min(share, 1.0) * (at[index + 1] - at[index])
        return between


@register(RetentionMemory, Validity(MEASURED_S[-1], *ROOM_C, _RANGE))
def program_retention(model: RetentionMemory, placement: Placement) -> Array:
    """Write a layer into the cells and let it reach its age."""
    cells = differential_pairs(placement)
    age_s = placement.state.age_s
    conductances = cells.turned("spread", model.wander_rad * _log_time(age_s))
    conductances *= cells.spread(model.deviation_us(cells.targets, age_s))
    conductances += cells.spread(cells.between(0.0, model.g_max_us))
    np.maximum(conductances, 0, out=conductances)
    pairs = Pairs(cells, conductances, 0.0, model.g_max_us, model.read_noise)
    return pair_array(pairs, model.periphery, placement)


def _log_time(age_s: float) -> float:
    """Ln of the age in seconds, of 1 s at least."""
    return math.log(max(age_s, MEASURED_S[0]))

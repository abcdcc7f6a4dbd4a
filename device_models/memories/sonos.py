"""Charge-trapping memory (SONOS) below threshold: currents that spread over five days.

    I = max(0, g I_max + σ ε)        σ = A(t) (1 - e^(-g I_max / B(t)))

A and B are linear in time between the days of measurement and stay as they are after the last.
Each read adds a new normal error of A_r (1 - e^(-I / B_r)) to each cell. The shift that all cells
of one current share, which the source fits by polynomials of degree ten, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from device_models.contract import Array, Placement
from device_models.memories.analog_periphery import Memory
from device_models.memories.differential_pair import differential_pairs
from device_models.memories.drift import elapsed
from device_models.memories.laws import saturating
from device_models.memories.pair_array import pair_array
from device_models.memories.pairs import Pairs
from device_models.parameters import check, coefficients, parameter
from device_models.registry import register
from device_models.validity import DAY_S, ROOM_C, Validity

_SOURCE = "Agrawal et al., IEDM 2022 (40 nm), Fig. 10a; fit: CrossSim SONOS.py"
_RANGE = "measured up to five days, at room temperature; later ages keep the spread of five days"


@dataclass(frozen=True)
class SonosMemory(Memory):
    """40 nm SONOS cells in differential pairs; preset `sonos`."""

    kind: ClassVar[str] = "sonos"

    current_max_na: float = parameter(
        1600.0,
        unit="nA",
        meaning="current of a cell that holds the largest weight",
        source=_SOURCE,
        low=1e-3,
        high=1e6,
    )
    spread_na: tuple[float, ...] = coefficients(
        (19.88665, 25.59102, 28.72753, 31.04318, 33.76214, 34.57909),
        unit="nA",
        meaning="A after 0, 1, 2, 3, 4, 5 days",
        source=_SOURCE,
        low=0.0,
    )
    knee_na: tuple[float, ...] = coefficients(
        (176.3115, 186.85544, 193.56834, 198.90332, 204.77023, 207.34309),
        unit="nA",
        meaning="B after 0, 1, 2, 3, 4, 5 days",
        source=_SOURCE,
        low=1e-3,
    )
    read_spread_na: float = parameter(
        12.58037,
        unit="nA",
        meaning="A_r of the read noise",
        source="the same, Fig. 11b",
        low=0.0,
        high=1e6,
    )
    read_knee_na: float = parameter(
        215.36557,
        unit="nA",
        meaning="B_r of the read noise",
        source="the same, Fig. 11b",
        low=1e-3,
        high=1e6,
    )
    wander_rad: float = parameter(
        0.5,
        unit="rad",
        meaning="how far the pattern turns for each factor e of (t + 1 day) / 1 day",
        source="stated assumption: what spreads within five days is independent of before",
        low=0.0,
        high=10.0,
    )

    def __post_init__(self) -> None:
        """Check the parameters."""
        check(self)

    def deviation_na(self, current_na: NDArray[np.float64], age_s: float) -> NDArray[np.float64]:
        """σ of cells of these target currents at an age."""
        days = np.arange(len(self.spread_na), dtype=np.float64)
        amplitude, knee = (
            float(np.interp(age_s / DAY_S, days, figures))
            for figures in (self.spread_na, self.knee_na)
        )
        return saturating(amplitude, knee, current_na)


@register(SonosMemory, Validity(5 * DAY_S, *ROOM_C, _RANGE))
def program_sonos(model: SonosMemory, placement: Placement) -> Array:
    """Write a layer into the cells and let it reach its age."""
    cells = differential_pairs(placement)
    age_s = placement.state.age_s
    targets = cells.between(0.0, model.current_max_na)
    currents = cells.turned("spread", model.wander_rad * elapsed(age_s, DAY_S))
    currents *= cells.spread(model.deviation_na(targets, age_s))
    currents += cells.spread(targets)
    np.maximum(currents, 0, out=currents)
    deviation = partial(_read_deviation, model) if model.read_spread_na else None
    pairs = Pairs(cells, currents, 0.0, model.current_max_na, read_deviation=deviation)
    return pair_array(pairs, model.periphery, placement)


def _read_deviation(model: SonosMemory, currents: NDArray[np.float32]) -> NDArray[np.float32]:
    """Both cells' noise together, for each pair of its own: [groups, d, m]."""
    each = saturating(model.read_spread_na, model.read_knee_na, currents)
    both: NDArray[np.float32] = np.hypot(each[0], each[1])
    return both

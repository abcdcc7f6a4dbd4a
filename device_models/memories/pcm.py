"""The phase-change memory of Nandakumar et al., as aihwkit computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from device_models.contract import Array, Placement
from device_models.memories.analog_periphery import Memory
from device_models.memories.laws import clipped_logarithm, polynomial
from device_models.memories.phase_change import phase_change_array
from device_models.memories.programmed import noise_of_reading
from device_models.parameters import check, coefficients, parameter
from device_models.registry import register
from device_models.validity import ROOM_C, YEAR_S, Validity

_SOURCE = "Nandakumar et al., ICECS 2019; aihwkit inference/noise/pcm.py"
WANDER_SOURCE = (
    "stated assumption: fresh and ten-year patterns correlate by 0.7, "
    "as a random walk in ln t from t_read on would"
)
READ_NOISE_SOURCE = (
    "aihwkit's presets for training take 0.0175 (w_noise); 0 in its comparisons of drift"
)

VALIDITY = Validity(
    10 * YEAR_S,
    *ROOM_C,
    "a power law extended to ten years, no temperature in the model: stated assumption",
)


@dataclass(frozen=True)
class PhaseChangeMemory(Memory):
    """Doped Ge2Sb2Te5 cells, a million of them measured, in differential pairs; preset `pcm`."""

    kind: ClassVar[str] = "pcm"

    g_max_us: float = parameter(
        25.0,
        unit="uS",
        meaning="conductance of a cell that holds the largest weight",
        source=_SOURCE,
        low=1e-3,
        high=1e4,
    )
    programming_noise_us: tuple[float, ...] = coefficients(
        (0.26348, 1.9650, -1.1731),
        unit="uS",
        meaning="standard deviation after programming: c0 + c1 g + c2 g^2 + ...",
        source=_SOURCE,
        fewest=1,
    )
    drift_start_s: float = parameter(
        20.0,
        unit="s",
        meaning="t0: conductance falls as ((t + t0) / t0)^-nu",
        source=_SOURCE,
        low=1e-3,
        high=1e6,
    )
    drift_mean: tuple[float, ...] = coefficients(
        (-0.0155, 0.0244, 0.049, 0.1),
        unit="1",
        meaning="mean of nu: a ln g + b, kept from least to most; as [a, b, least, most]",
        source=_SOURCE,
        low=-10.0,
        high=10.0,
    )
    drift_deviation: tuple[float, ...] = coefficients(
        (-0.0125, -0.0059, 0.008, 0.045),
        unit="1",
        meaning="standard deviation of nu from cell to cell, in the same form",
        source=_SOURCE,
        low=-10.0,
        high=10.0,
    )
    fluctuation: tuple[float, ...] = coefficients(
        (0.0088, 0.65, 0.2),
        unit="1",
        meaning="1/f noise relative to the cell: min(a / g^b, most); as [a, b, most]",
        source=_SOURCE,
        low=0.0,
        high=10.0,
    )
    read_time_s: float = parameter(
        250e-9,
        unit="s",
        meaning="t_read: 1/f noise gathers as sqrt(ln((t + t0 + t_read) / (2 t_read)))",
        source=_SOURCE,
        low=1e-12,
        high=1.0,
    )
    wander_rad: float = parameter(
        0.047,
        unit="rad",
        meaning="how far the 1/f pattern turns for each factor e of (t + t0) / t0",
        source=WANDER_SOURCE,
        low=0.0,
        high=10.0,
    )
    read_noise: float = noise_of_reading(0.0, READ_NOISE_SOURCE)

    def __post_init__(self) -> None:
        """Check the parameters."""
        check(self)

    def programming_deviation_us(self, g: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `device_models.memories.phase_change.PhaseChange`, as the next two."""
        return polynomial(self.programming_noise_us, g)

    def drift_exponent(
        self, g: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of the drift exponent."""
        return clipped_logarithm(self.drift_mean, g), clipped_logarithm(self.drift_deviation, g)

    def fluctuation_of(self, g: NDArray[np.float32]) -> NDArray[np.float32]:
        """The factor of the 1/f noise."""
        factor, exponent, most = self.fluctuation
        power: NDArray[Any] = np.maximum(np.power(g, np.float32(exponent)), np.float32(1e-3))
        return np.minimum(np.float32(factor) / power, np.float32(most))


@register(PhaseChangeMemory, VALIDITY)
def program_pcm(model: PhaseChangeMemory, placement: Placement) -> Array:
    """Write a layer into phase-change cells."""
    return phase_change_array(model, placement)

"""The phase-change memory of the HERMES chip, two devices in each cell, as aihwkit computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from device_models.contract import Array, Placement
from device_models.memories.analog_periphery import Memory
from device_models.memories.laws import polynomial, two_branches
from device_models.memories.pcm import READ_NOISE_SOURCE, VALIDITY
from device_models.memories.phase_change import phase_change_array
from device_models.memories.programmed import noise_of_reading
from device_models.parameters import check, coefficients, parameter
from device_models.registry import register

_SOURCE = (
    "aihwkit inference/noise/hermes.py, two devices; chip: Le Gallo et al., Nat. Electron. 2023, "
    "Khaddam-Aljameh et al., JSSC 2022"
)
_BELOW = "below the edge: a ln g + b, kept from least to most; as [a, b, least, most]"
_ABOVE = "from the edge on: c0 + c1 g + c2 g^2 + ..."


@dataclass(frozen=True)
class HermesMemory(Memory):
    """Two devices a cell, programmed together; preset `pcm-hermes`.

    The same physics as `pcm` with other constants, and formulas in two branches of g.
    """

    kind: ClassVar[str] = "pcm-hermes"

    g_max_us: float = parameter(
        20.7,
        unit="uS",
        meaning="conductance of a cell that holds the largest weight",
        source=_SOURCE,
        low=1e-3,
        high=1e4,
    )
    programming_noise_us: tuple[float, ...] = coefficients(
        (0.16603222, 4.71806468, -8.48101252, 4.68961419),
        unit="uS",
        meaning="standard deviation after programming: c0 + c1 g + c2 g^2 + ...",
        source=_SOURCE,
        fewest=1,
    )
    drift_start_s: float = parameter(
        300.0,
        unit="s",
        meaning="t0: conductance falls as ((t + t0) / t0)^-nu",
        source=_SOURCE,
        low=1e-3,
        high=1e6,
    )
    drift_mean_edge: float = parameter(
        0.0945, unit="g", meaning="edge of the mean of nu", source=_SOURCE, low=0.0, high=2.0
    )
    drift_mean_below: tuple[float, ...] = coefficients(
        (-0.0387, -0.0182, 0.0720, 0.13), unit="1", meaning=f"mean of nu {_BELOW}", source=_SOURCE
    )
    drift_mean_above: tuple[float, ...] = coefficients(
        (0.0736, -0.0126, -0.0436),
        unit="1",
        meaning=f"mean of nu {_ABOVE}",
        source=_SOURCE,
        fewest=1,
    )
    drift_deviation_edge: float = parameter(
        0.3055, unit="g", meaning="edge of the deviation of nu", source=_SOURCE, low=0.0, high=2.0
    )
    drift_deviation_below: tuple[float, ...] = coefficients(
        (-0.0117, -0.0057, 0.0091, 0.04),
        unit="1",
        meaning=f"standard deviation of nu {_BELOW}",
        source=_SOURCE,
    )
    drift_deviation_above: tuple[float, ...] = coefficients(
        (0.0073, 0.0093, -0.0118),
        unit="1",
        meaning=f"standard deviation of nu {_ABOVE}",
        source=_SOURCE,
        fewest=1,
    )
    fluctuation_edge: float = parameter(
        0.16, unit="g", meaning="edge of the 1/f noise", source=_SOURCE, low=0.0, high=2.0
    )
    fluctuation_below: tuple[float, ...] = coefficients(
        (-0.0117, -0.0069, 0.015, 0.04),
        unit="1",
        meaning=f"1/f noise relative to the cell, {_BELOW}",
        source=_SOURCE,
    )
    fluctuation_above: tuple[float, ...] = coefficients(
        (0.0123, 0.0211, -0.0280, 0.0069),
        unit="1",
        meaning=f"1/f noise relative to the cell, {_ABOVE}",
        source=_SOURCE,
        fewest=1,
    )
    read_time_s: float = parameter(
        512e-9,
        unit="s",
        meaning="t_read: 1/f noise gathers as sqrt(ln((t + t0 + t_read) / (2 t_read)))",
        source=_SOURCE,
        low=1e-12,
        high=1.0,
    )
    wander_rad: float = parameter(
        0.05,
        unit="rad",
        meaning="how far the 1/f pattern turns for each factor e of (t + t0) / t0",
        source="stated assumption: as for pcm, fresh and ten-year patterns correlate by 0.77",
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
        below, above = self.drift_mean_below, self.drift_mean_above
        mean = two_branches(below, self.drift_mean_edge, above, g)
        below, above = self.drift_deviation_below, self.drift_deviation_above
        return mean, two_branches(below, self.drift_deviation_edge, above, g)

    def fluctuation_of(self, g: NDArray[np.float32]) -> NDArray[np.float32]:
        """The factor of the 1/f noise."""
        return two_branches(
            self.fluctuation_below, self.fluctuation_edge, self.fluctuation_above, g
        )


@register(HermesMemory, VALIDITY)
def program_hermes(model: HermesMemory, placement: Placement) -> Array:
    """Write a layer into the HERMES chip's cells."""
    return phase_change_array(model, placement)

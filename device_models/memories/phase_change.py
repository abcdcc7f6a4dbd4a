"""Phase-change memory: programming noise, drift, and 1/f noise that grows with age.

With g the target and G the conductance of one cell, ε standard normal figures of that cell:

    programmed   P = max(0, g G_max + σ_prog(g) ε₁)
    drift        D = P · ((t + t₀) / t₀)^-nu                   nu = |mean(g) + σ(g) ε₂|
    1/f noise    G = max(0, D · (1 + q(P / G_max) · sqrt(ln((t + t₀ + t_read) / (2 t_read))) ε₃))

where t is the age, counted from t₀ after programming. The scheme is Nandakumar et al., ICECS
2019, in the form of aihwkit's PCMLikeNoiseModel.

What is frozen: ε₁ and ε₂ belong to the cell for good. ε₃ is the noise that has gathered since
programming; calibration and the inferences after it see the same, as in aihwkit. It is a smooth
function of ln t: the pattern turns by `wander_rad` for each factor e of (t + t₀) / t₀. So every
age has exactly the published mean and variance, and one chip is the same whenever it is asked
for the same age. What is redrawn: only `read_noise`. Temperature changes nothing here.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from device_models.contract import Array, Placement
from device_models.memories.analog_periphery import AnalogPeriphery
from device_models.memories.differential_pair import Cells, differential_pairs
from device_models.memories.drift import elapsed, fading
from device_models.memories.laws import gathered
from device_models.memories.pair_array import pair_array
from device_models.memories.pairs import Pairs


class PhaseChange(Protocol):
    """What descriptions of phase-change memory have in common; g is 0 to 1 of G_max."""

    @property
    def g_max_us(self) -> float:
        """Conductance of a cell that holds the largest weight."""
        ...

    @property
    def drift_start_s(self) -> float:
        """t₀: when drift was first read."""
        ...

    @property
    def read_time_s(self) -> float:
        """t_read of the 1/f noise."""
        ...

    @property
    def wander_rad(self) -> float:
        """How far the 1/f pattern turns for each factor e in time."""
        ...

    @property
    def read_noise(self) -> float:
        """Standard deviation of a weight from read to read, in parts of the largest weight."""
        ...

    @property
    def periphery(self) -> AnalogPeriphery | None:
        """What stands around the cells; None for the bare product."""
        ...

    def programming_deviation_us(self, g: NDArray[np.float64]) -> NDArray[np.float64]:
        """σ_prog."""
        ...

    def drift_exponent(
        self, g: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of the exponent nu."""
        ...

    def fluctuation_of(self, g: NDArray[np.float32]) -> NDArray[np.float32]:
        """The factor q of the 1/f noise, from the programmed conductance."""
        ...


def phase_change_array(model: PhaseChange, placement: Placement) -> Array:
    """Write a layer into pairs of phase-change cells and let it reach its age."""
    cells = differential_pairs(placement)
    held = conductances(model, cells, placement.state.age_s)
    pairs = Pairs(cells, held, 0.0, 1.0, model.read_noise)
    return pair_array(pairs, model.periphery, placement)


@np.errstate(under="ignore")  # next to a conductance, such a number is nothing
def conductances(model: PhaseChange, cells: Cells, age_s: float) -> NDArray[np.float32]:
    """Conductances of all cells at an age, in parts of G_max: [2, groups, d, m]."""
    programmed = cells.normals("programming")
    programmed *= cells.spread(model.programming_deviation_us(cells.targets) / model.g_max_us)
    programmed += cells.spread(cells.targets)
    np.maximum(programmed, 0, out=programmed)
    noise = _gathered_noise(model, cells, programmed, age_s)
    if age_s:
        mean, deviation = model.drift_exponent(cells.targets)
        programmed *= fading(cells, mean, deviation, elapsed(age_s, model.drift_start_s))
    noise *= programmed
    noise += programmed
    return np.maximum(noise, 0, out=noise)


def _gathered_noise(
    model: PhaseChange, cells: Cells, programmed: NDArray[np.float32], age_s: float
) -> NDArray[np.float32]:
    """The 1/f noise of every cell, relative to its conductance."""
    angle = model.wander_rad * elapsed(age_s, model.drift_start_s)
    noise = cells.turned("1/f noise", angle)
    noise *= model.fluctuation_of(programmed)
    noise *= np.float32(gathered(age_s + model.drift_start_s, model.read_time_s))
    return noise

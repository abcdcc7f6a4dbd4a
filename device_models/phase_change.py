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

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from device_models.contract import Placement
from device_models.differential_pair import Cells, differential_pairs
from device_models.product_array import ProductArray, ReadNoise

FADED = -60.0
"""No cell fades below e to this, so that float32 holds it and its products at any age."""


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


def phase_change_array(model: PhaseChange, placement: Placement) -> ProductArray:
    """Write a layer into pairs of phase-change cells and let it reach its age."""
    cells = differential_pairs(placement)
    matrix = cells.weights(conductances(model, cells, placement.state.age_s))
    noise = additive_noise(cells, model.read_noise)
    return ProductArray(matrix, None, placement.input_bits, noise)


def conductances(model: PhaseChange, cells: Cells, age_s: float) -> NDArray[np.float32]:
    """Conductances of all cells at an age, in parts of G_max: [2, groups, d, m]."""
    programmed = cells.normals("programming")
    programmed *= cells.spread(model.programming_deviation_us(cells.targets) / model.g_max_us)
    programmed += cells.spread(cells.targets)
    np.maximum(programmed, 0, out=programmed)
    noise = _gathered_noise(model, cells, programmed, age_s)
    if age_s:
        programmed *= _fading(model, cells, age_s)
    noise *= programmed
    noise += programmed
    return np.maximum(noise, 0, out=noise)


def _fading(model: PhaseChange, cells: Cells, age_s: float) -> NDArray[np.float32]:
    """((t + t₀) / t₀)^-nu of every cell."""
    mean, deviation = model.drift_exponent(cells.targets)
    exponents = cells.normals("drift")
    exponents *= cells.spread(deviation)
    exponents += cells.spread(mean)
    np.abs(exponents, out=exponents)
    exponents *= np.float32(-_elapsed(model, age_s))
    np.maximum(exponents, FADED, out=exponents)
    return np.exp(exponents, out=exponents)


def _gathered_noise(
    model: PhaseChange, cells: Cells, programmed: NDArray[np.float32], age_s: float
) -> NDArray[np.float32]:
    """The 1/f noise of every cell, relative to its conductance."""
    span = (age_s + model.drift_start_s + model.read_time_s) / (2 * model.read_time_s)
    noise = cells.turned("1/f noise", model.wander_rad * _elapsed(model, age_s))
    noise *= model.fluctuation_of(programmed)
    noise *= np.float32(math.sqrt(max(math.log(span), 0)))
    return noise


def _elapsed(model: PhaseChange, age_s: float) -> float:
    """ln((t + t₀) / t₀)."""
    return math.log1p(age_s / model.drift_start_s)


def additive_noise(cells: Cells, read_noise: float) -> ReadNoise | None:
    """The same read noise for every pair: a part of the largest weight."""
    if not read_noise:
        return None
    return ReadNoise(cells.worth * np.float32(read_noise), cells.block_rows)

"""Conductive-metal-oxide/HfOx resistive memory, with relaxation and gathered read noise.

In microsiemens, with T the target, ε standard normal figures of the cell, t the age in seconds
and of 1 s at least:

    programmed   P = T + (a₀ + a₁ T) ε₁
    relaxed      R = P - m ln t + (s₀ + s₁ ln t) ε₂
    1/f noise    G = R + k log₁₀(R) · sqrt(ln((t + t_read) / (2 t_read))) ε₃, kept in the range

ε₁ is static, ε₂ and ε₃ turn with ln t. The source has no relaxation at age 0 and 0.41 uS of it
after 1 s; here the first second is over at once. The source writes a weight into one bidirectional
cell; here it stands in a pair like all others, so that what all cells lose cancels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from device_models.contract import Array, Placement
from device_models.memories.analog_periphery import Memory
from device_models.memories.differential_pair import Cells, differential_pairs
from device_models.memories.laws import gathered, polynomial
from device_models.memories.pair_array import pair_array
from device_models.memories.pairs import Pairs
from device_models.memories.programmed import microsiemens, noise_of_reading
from device_models.parameters import check, check_below, coefficients, parameter
from device_models.registry import register
from device_models.validity import ROOM_C, YEAR_S, Validity

_SOURCE = "aihwkit inference/noise/reram.py, ReRamCMONoiseModel (Falcone et al.)"
_RANGE = "a law in ln t extended to ten years, no temperature in the model: stated assumption"


@dataclass(frozen=True)
class MetalOxideMemory(Memory):
    """CMO/HfOx cells, programmed within 0.2 % of the target; preset `rram-cmo`."""

    kind: ClassVar[str] = "rram-cmo"

    g_min_us: float = microsiemens(9.0, "conductance of a cell that holds no weight", _SOURCE)
    g_max_us: float = microsiemens(88.2, "conductance of a cell that holds the largest", _SOURCE)
    programming_noise_us: tuple[float, ...] = coefficients(
        (0.00081107, 0.00106879),
        unit="uS",
        meaning="standard deviation after programming: a0 + a1 T, T in uS",
        source=_SOURCE,
        fewest=1,
    )
    decay_us: float = parameter(
        0.08900206,
        unit="uS",
        meaning="what a cell loses on average for each factor e in time",
        source=_SOURCE,
        low=-1e3,
        high=1e3,
    )
    relaxation_us: tuple[float, ...] = coefficients(
        (0.41183342, 0.04201137),
        unit="uS",
        meaning="standard deviation of the loss: s0 + s1 ln t",
        source=_SOURCE,
        fewest=1,
    )
    fluctuation_us: float = parameter(
        0.0277316483,
        unit="uS",
        meaning="factor k of the 1/f noise",
        source=f"{_SOURCE}; characterised by Lombardo et al., DRC 2024",
        low=0.0,
        high=1e3,
    )
    read_time_s: float = parameter(
        1e-6,
        unit="s",
        meaning="t_read: from which on 1/f noise gathers",
        source=_SOURCE,
        low=1e-12,
        high=1.0,
    )
    wander_rad: float = parameter(
        0.06,
        unit="rad",
        meaning="how far the patterns turn for each factor e in time, from 1 s on",
        source="stated assumption: what is lost between 1 s and ten years is independent of before",
        low=0.0,
        high=10.0,
    )
    read_noise: float = noise_of_reading(0.01, f"{_SOURCE}: about 1 % to be added to the model")

    def __post_init__(self) -> None:
        """Check the parameters."""
        check(self)
        check_below(self, "g_min_us", "g_max_us")


@register(MetalOxideMemory, Validity(10 * YEAR_S, *ROOM_C, _RANGE))
def program_cmo(model: MetalOxideMemory, placement: Placement) -> Array:
    """Write a layer into the cells and let it reach its age."""
    cells = differential_pairs(placement)
    conductances = conductances_us(model, cells, placement.state.age_s)
    pairs = Pairs(cells, conductances, model.g_min_us, model.g_max_us, model.read_noise)
    return pair_array(pairs, model.periphery, placement)


def conductances_us(model: MetalOxideMemory, cells: Cells, age_s: float) -> NDArray[np.float32]:
    """Conductances of all cells at an age: [2, groups, d, m]."""
    age_s = max(age_s, 1.0)
    time = math.log(age_s)
    targets = cells.between(model.g_min_us, model.g_max_us)
    held = cells.normals("programming")
    held *= cells.spread(polynomial(model.programming_noise_us, targets))
    held += cells.spread(targets - model.decay_us * time)
    angle = model.wander_rad * time
    relaxation = cells.turned("relaxation", angle)
    relaxation *= np.float32(polynomial(model.relaxation_us, np.array(time)))
    held += relaxation
    noise = cells.turned("1/f noise", angle)
    noise *= np.log10(np.maximum(held, 1))  # below 1 uS the source's logarithm has no meaning
    noise *= np.float32(model.fluctuation_us * gathered(age_s, model.read_time_s))
    held += noise
    return np.clip(held, np.float32(model.g_min_us), np.float32(model.g_max_us), out=held)

"""Memory of which only the shape of its errors is known.

    P = g + σ e                 independent of the conductance
    P = g (1 + σ e)             proportional to it
    P = g + σ e / g             inversely proportional; a cell at 0 has no error
    G = P · ((t + t0) / t0)^-nu                 nu = |mean + deviation · ε|

e is static with a standard deviation of 1, normal or uniform; g runs from g_min to 1. These are
the generic devices of CrossSim, with a power law of time added for one's own measurements. As
there, an error may take a cell below 0. CrossSim gives a uniform error by its full width,
sqrt(12) times σ.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from device_models.contract import Array, Placement
from device_models.memories.analog_periphery import Memory
from device_models.memories.differential_pair import Cells, differential_pairs
from device_models.memories.drift import elapsed, fading
from device_models.memories.pair_array import pair_array
from device_models.memories.pairs import Pairs
from device_models.memories.programmed import noise_of_reading
from device_models.parameters import check, choice, parameter
from device_models.registry import register

DISTRIBUTIONS = ("normal", "uniform")
DEPENDENCES = ("independent", "proportional", "inverse-proportional")

_SOURCE = "CrossSim generic_device.py; value: stated assumption"
_NO_DRIFT = "none unless measured; power law as for phase-change memory"


@dataclass(frozen=True)
class GenericMemory(Memory):
    """Differential pairs with an error of a given shape; presets `generic-…`."""

    kind: ClassVar[str] = "generic"

    distribution: str = choice(
        "normal", words=DISTRIBUTIONS, meaning="shape of the error", source=_SOURCE
    )
    dependence: str = choice(
        "independent", words=DEPENDENCES, meaning="on the conductance", source=_SOURCE
    )
    deviation: float = parameter(
        0.02,
        unit="of G_max",
        meaning="standard deviation of the error, of the cell itself where proportional",
        source=_SOURCE,
        low=0.0,
        high=10.0,
    )
    g_min: float = parameter(
        0.0,
        unit="of G_max",
        meaning="conductance of a cell that holds no weight",
        source="0: an ideal ratio of on to off",
        low=0.0,
        high=0.99,
    )
    drift_start_s: float = parameter(
        1.0, unit="s", meaning="t0 of the power law", source=_NO_DRIFT, low=1e-6, high=1e9
    )
    drift_mean: float = parameter(
        0.0, unit="1", meaning="mean of the exponent nu", source=_NO_DRIFT, low=0.0, high=10.0
    )
    drift_deviation: float = parameter(
        0.0,
        unit="1",
        meaning="standard deviation of nu from cell to cell",
        source=_NO_DRIFT,
        low=0.0,
        high=10.0,
    )
    read_noise: float = noise_of_reading(0.0, "none unless measured")

    def __post_init__(self) -> None:
        """Check the parameters."""
        check(self)

    def deviation_of(self, g: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standard deviation of the error of cells with these targets, g_min to 1."""
        if self.dependence == "independent":
            return np.full_like(g, self.deviation)
        if self.dependence == "proportional":
            return self.deviation * g
        return np.divide(self.deviation, g, out=np.zeros_like(g), where=g > 0)


_PRESET_DEVIATIONS = {"independent": 0.02, "proportional": 0.05, "inverse-proportional": 0.001}

GENERIC_PRESETS = {
    f"generic-{distribution}-{dependence}": GenericMemory(
        distribution, dependence, _PRESET_DEVIATIONS[dependence]
    )
    for distribution, dependence in product(DISTRIBUTIONS, DEPENDENCES)
}


@register(GenericMemory)
def program_generic(model: GenericMemory, placement: Placement) -> Array:
    """Write a layer into the cells and let it reach its age."""
    cells = differential_pairs(placement)
    held = conductances(model, cells, placement.state.age_s)
    pairs = Pairs(cells, held, model.g_min, 1.0, model.read_noise)
    return pair_array(pairs, model.periphery, placement)


def conductances(model: GenericMemory, cells: Cells, age_s: float) -> NDArray[np.float32]:
    """Conductances of all cells at an age, in parts of G_max: [2, groups, d, m]."""
    targets = cells.between(model.g_min, 1.0)
    draw = cells.normals if model.distribution == "normal" else cells.uniforms
    held = draw("programming")
    held *= cells.spread(model.deviation_of(targets))
    held += cells.spread(targets)
    if age_s and (model.drift_mean or model.drift_deviation):
        mean, deviation = (
            np.full_like(targets, value) for value in (model.drift_mean, model.drift_deviation)
        )
        held *= fading(cells, mean, deviation, elapsed(age_s, model.drift_start_s))
    return held

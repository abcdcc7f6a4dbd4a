"""Current-domain SRAM: a cell's read transistor pulls a current, and threshold voltages differ.

    V_T = V_T0 - k (T - 25 C) + σ_VT ε₁ + s (T - 25 C) ε₂ + ΔV(t) · max(0, 1 + r ε₃)
    σ_VT = A_VT / sqrt(W L) / sqrt(2)                      Pelgrom 1989, of one device of a pair
    ΔV(t) = ΔV(10 years) · (t / 10 years)^n                bias-temperature instability

    strong inversion    I = (T / T₀)^-μ · (V - V_T)^α      Sakurai and Newton 1990, alpha-power law
    subthreshold        I = (T / T₀)^(2-μ) · exp((V - V_T) / (n_s U_T)),  U_T = k T / q

with T in kelvin where it is divided, V the supply, which drives the word lines, and I in parts of
the nominal current: that of V_T0 at 25 C and the nominal supply. ε are the cell's own standard
normal figures, static: a chip at given conditions is always the same chip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_models.contract import (
    ABSOLUTE_ZERO_C,
    REFERENCE_TEMPERATURE_C,
    Array,
    Placement,
    State,
)
from device_models.registry import register
from device_models.sram.bitplane import bitplane_array
from device_models.sram.current_model import FIXED, STRONG, CurrentSram
from device_models.sram.planes import written
from device_models.sram.silicon import cell_shape
from device_models.streams import normals
from device_models.validity import YEAR_S, Validity, of_silicon

__all__ = ["CurrentSram", "cell_currents", "program_current", "threshold_sigma_v"]

BOLTZMANN_V_PER_K = 8.617333e-5
"""k / q: the thermal voltage of one kelvin."""

REFERENCE_K = REFERENCE_TEMPERATURE_C - ABSOLUTE_ZERO_C
MOST_AGEING_V = 100.0
"""Every cell is off long before."""

LEAST_CURRENT = 1e-12
"""Below it a cell counts as off, so that float32 holds all products."""


def validity(model: CurrentSram) -> Validity:
    """Where a model holds."""
    basis = "laws of one device in one region, constants of a 28 nm class process"
    return of_silicon(10 * YEAR_S, model.supply_v, f"{basis}: stated assumption")


@register(CurrentSram, validity)
def program_current(model: CurrentSram, placement: Placement) -> Array:
    """Write the planes into the cells of a chip in its conditions."""
    held = written(placement.weights)
    currents = cell_currents(model, placement, cell_shape(held))
    return bitplane_array(model, placement, held, currents)


@np.errstate(under="ignore")  # just after the start, ageing is next to nothing
def cell_currents(
    model: CurrentSram, placement: Placement, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """The currents of all cells in parts of what the converter takes for one count."""
    overdrive = _overdrives(model, placement, shape)
    common, law = _law(model, placement.state)
    currents: NDArray[np.float32] = law(overdrive)
    currents *= np.float32(common / _reference(model, placement.state))
    return currents


def threshold_sigma_v(model: CurrentSram) -> float:
    """σ_VT of one cell."""
    area_um2 = model.width_um * model.length_um
    return model.a_vt_mv_um / 1000 / math.sqrt(area_um2) / math.sqrt(2)


def ageing_v(model: CurrentSram, age_s: float) -> float:
    """ΔV(t): by how much the mean threshold has risen."""
    years = age_s / (10 * YEAR_S)
    if not years:
        return 0.0
    return min(model.ageing_mv / 1000 * float(years**model.ageing_exponent), MOST_AGEING_V)


def mean_overdrive_v(model: CurrentSram, state: State) -> float:
    """V - V_T of a cell without any deviation of its own."""
    falling_v = model.threshold_mv_per_k / 1000 * _heat_k(state)
    return (
        state.supply_of(model.supply_v)
        - model.threshold_v
        + falling_v
        - ageing_v(model, state.age_s)
    )


def _heat_k(state: State) -> float:
    return state.temperature_c - REFERENCE_TEMPERATURE_C


def _overdrives(
    model: CurrentSram, placement: Placement, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """V - V_T of every cell."""
    state = placement.state

    def drawn(effect: str) -> NDArray[np.float32]:
        return normals(placement.seed, placement.layer, effect, shape)

    found = np.full(shape, mean_overdrive_v(model, state), np.float32)
    if sigma_v := threshold_sigma_v(model):
        found -= np.float32(sigma_v) * drawn("cell threshold")
    if own_v := model.threshold_spread_uv_per_k * 1e-6 * _heat_k(state):
        found -= np.float32(own_v) * drawn("cell temperature")
    if (aged_v := ageing_v(model, state.age_s)) and model.ageing_spread:
        own = np.float32(model.ageing_spread) * drawn("cell ageing")
        found -= np.float32(aged_v) * np.maximum(own, np.float32(-1))
    return found


def _law(model: CurrentSram, state: State) -> tuple[float, Any]:
    """The factor of all cells, and the current of an overdrive, both nominally 1."""
    kelvin = state.temperature_c - ABSOLUTE_ZERO_C
    nominal_v = model.supply_v - model.threshold_v
    warmth = kelvin / REFERENCE_K
    if model.region == STRONG:
        return warmth**-model.mobility_exponent, _PowerLaw(nominal_v, model.alpha)
    slope_v = model.slope_factor * BOLTZMANN_V_PER_K
    nominal = nominal_v / (slope_v * REFERENCE_K)
    return warmth ** (2 - model.mobility_exponent), _Exponential(slope_v * kelvin, nominal)


def _reference(model: CurrentSram, state: State) -> float:
    """What the converter takes for one count: the nominal current, or a replica cell's."""
    if model.reference == FIXED:
        return 1.0
    common, law = _law(model, state)
    mean = float(law(np.array(mean_overdrive_v(model, state), np.float32)))
    return max(common * mean, LEAST_CURRENT)


@dataclass(frozen=True)
class _PowerLaw:
    nominal_v: float
    alpha: float

    def __call__(self, overdrive_v: NDArray[np.float32]) -> NDArray[np.float32]:
        share = np.maximum(overdrive_v / np.float32(self.nominal_v), np.float32(0))
        current: NDArray[np.float32] = np.power(
            share, np.float32(self.alpha), out=np.zeros_like(share), where=share > 1e-6
        )
        return current


@dataclass(frozen=True)
class _Exponential:
    slope_v: float
    nominal: float

    def __call__(self, overdrive_v: NDArray[np.float32]) -> NDArray[np.float32]:
        exponent = overdrive_v / np.float32(self.slope_v) - np.float32(self.nominal)
        current: NDArray[np.float32] = np.exp(np.clip(exponent, np.log(LEAST_CURRENT), 30.0))
        return current

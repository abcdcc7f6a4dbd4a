"""Average run lengths of control charts: how many rounds until an alarm, on average.

With nothing changed that is the mean time between false alarms (ARL0), with a change the delay of
its detection. All start at zero and take independent observations of unit variance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from agent.watch.chi_square import noncentral_below

Float64 = NDArray[np.float64]
_STATES = 101
_RINGS = 50


def siegmund_cusum(reference: float, limit: float, shift: float = 0.0) -> float:
    """One-sided CUSUM, approximately: Siegmund, Sequential Analysis, 1985, section 2.6.

    ARL = (e^(-2 Δ b) + 2 Δ b - 1) / (2 Δ²), Δ = shift - k, b = h + 1.166.
    """
    drift, reach = shift - reference, limit + 1.166
    if abs(drift) < 1e-9:
        return reach**2
    return (math.exp(-2 * drift * reach) + 2 * drift * reach - 1) / (2 * drift**2)


def cusum(reference: float, limit: float, shift: float = 0.0) -> float:
    """One-sided CUSUM as a Markov chain: Brook and Evans, Biometrika 59, 1972, section 2."""
    width = 2 * limit / (2 * _STATES - 1)
    centres = width * np.arange(_STATES)
    upper = centres[None, :] + width / 2 - centres[:, None] + reference - shift
    reached = _normal_below(upper)
    moves = np.diff(reached, axis=1, prepend=0.0)  # all that falls below zero stays at zero
    return _from_start(moves, 0)


def ewma(weight: float, limit: float, shift: float = 0.0) -> float:
    """Two-sided EWMA as a Markov chain: Lucas and Saccucci, Technometrics 32, 1990, appendix.

    Args:
        weight: λ, of the newest observation.
        limit: L, in standard deviations of the EWMA in the long run, √(λ / (2 - λ)).
        shift: of the mean.
    """
    bound = limit * math.sqrt(weight / (2 - weight))
    edges = np.linspace(-bound, bound, 2 * _STATES)
    centres = (edges[1:] + edges[:-1]) / 2
    reached = _normal_below((edges[None, :] - (1 - weight) * centres[:, None]) / weight - shift)
    return _from_start(np.diff(reached, axis=1), _STATES - 1)


@lru_cache(maxsize=512)
def mewma(weight: float, limit: float, size: int) -> float:
    """MEWMA of so many independent parts, in control: Runger and Prabhu, JASA 91, 1996, section 2.

    Args:
        weight: λ, of the newest observation.
        limit: of T² = (2 - λ) / λ · ‖q‖², q the vector of EWMAs.
        size: of the vector.
    """
    radius = math.sqrt(limit * weight / (2 - weight))
    width = 2 * radius / (2 * _RINGS - 1)
    rings = np.arange(_RINGS, dtype=np.float64)
    outer = ((rings + 0.5) * width / weight) ** 2
    centres = ((1 - weight) * rings * width / weight) ** 2
    moves = np.diff(noncentral_below(outer, size, centres), axis=1, prepend=0.0)
    return _from_start(moves, 0)


def limit_for(length: Callable[[float], float], wanted: float, first: float = 1.0) -> float:
    """The limit at which a chart has the wanted run length, which grows with the limit."""
    low, high = 0.0, first
    while length(high) < wanted:
        low, high = high, 1.5 * high
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if length(middle) < wanted else (low, middle)
    return high


def _from_start(moves: Float64, start: int) -> float:
    """Steps until a chain leaves its states: (I - Q)⁻¹ 1."""
    steps = np.linalg.solve(np.eye(len(moves)) - moves, np.ones(len(moves)))
    return float(steps[start])


def _normal_below(values: Float64) -> Float64:
    """Φ, by the error function of the standard library."""
    flat = [0.5 * math.erfc(-value / math.sqrt(2)) for value in values.ravel()]
    return np.array(flat).reshape(values.shape)

"""Shapes of formulas that descriptions of analog memories share. g is 0 to 1 of the range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALLEST = 1e-7
"""Where a logarithm of g stops, as in aihwkit."""


def polynomial(constants: Sequence[float], g: NDArray[Any]) -> NDArray[Any]:
    """c₀ + c₁ g + c₂ g² + …, at least 0: these are standard deviations and exponents."""
    total = np.full_like(g, constants[-1])
    for constant in reversed(constants[:-1]):
        total *= g
        total += constant
    positive: NDArray[Any] = np.maximum(total, 0, out=total)
    return positive


def clipped_logarithm(constants: Sequence[float], g: NDArray[Any]) -> NDArray[Any]:
    """Constants (a, b, least, most): a ln g + b, kept between least and most."""
    slope, intercept, least, most = constants
    logarithm = np.log(np.maximum(g, SMALLEST))
    kept: NDArray[Any] = np.clip(slope * logarithm + intercept, least, most)
    return kept


def two_branches(
    below: Sequence[float], edge: float, above: Sequence[float], g: NDArray[Any]
) -> NDArray[Any]:
    """A clipped logarithm for g below the edge, a polynomial from the edge on."""
    return np.where(g < edge, clipped_logarithm(below, g), polynomial(above, g))


def saturating(amplitude: float, knee: float, value: NDArray[Any]) -> NDArray[Any]:
    """Amplitude · (1 - e^(-value / knee)), for values of at least 0."""
    result: NDArray[Any] = np.maximum(value, 0) / -knee
    np.expm1(result, out=result)
    result *= -amplitude
    return result


def gathered(time_s: float, read_time_s: float) -> float:
    """sqrt(ln((t + t_read) / (2 t_read))): how 1/f noise grows; 0 up to t_read."""
    return math.sqrt(max(math.log(time_s + read_time_s) - math.log(2 * read_time_s), 0.0))

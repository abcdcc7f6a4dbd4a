"""Rectified Gaussians: x = max(u, 0) with u Gaussian, the shape of what layers are given.

Most layers are fed by a ReLU: their inputs are never negative and often zero. A plain Gaussian of
the same mean and covariance is often negative, and clipping that away shifts both. So the Gaussian
*behind* the clipping is sought, whose clipped values have the mean, the spread and, to second
order, the correlations that were measured. Far above zero both are the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calib.graph.operations.error_function import erf

Float64 = NDArray[np.float64]
_LOWEST, _HIGHEST, _STEPS = -3.0, 6.0, 2001
"""Of μ/σ: below, too few drawn values would be more than zero; above, hardly any is zero."""

_TINY = float(np.finfo(np.float64).tiny)


@np.errstate(under="ignore")  # far out there is nothing
def density(a: Float64) -> Float64:
    """φ, of the standard normal distribution."""
    return np.asarray(np.exp(-0.5 * a * a) / np.sqrt(2 * np.pi))


@np.errstate(under="ignore")  # next to a half, such a number is nothing
def share_below(a: Float64) -> Float64:
    """Φ, of the standard normal distribution."""
    return np.asarray(0.5 * (1 + erf(a / np.sqrt(2))))


@np.errstate(under="ignore")  # next to the density, such a number is nothing
def clipped_moments(a: Float64) -> tuple[Float64, Float64]:
    """Mean and standard deviation of max(a + z, 0), z standard normal.

    N. Johnson, S. Kotz, N. Balakrishnan, Continuous Univariate Distributions 1, sec. 13.10.1.
    """
    below, at = share_below(a), density(a)
    mean = a * below + at
    square = (1 + a * a) * below + a * at
    return mean, np.sqrt(np.maximum(square - mean * mean, 0.0))


def behind(mean: Float64, deviation: Float64) -> tuple[Float64, Float64]:
    """The Gaussian whose values, those below zero set to zero, have these moments.

    Args:
        mean: of x, not negative.
        deviation: standard deviation of x.

    Returns:
        The Gaussian's mean and standard deviation. Where x is nearly always zero its mean is right
        and its spread is less than asked for; where x does not vary the Gaussian is x.
    """
    grid = np.linspace(_LOWEST, _HIGHEST, _STEPS)
    means, deviations = clipped_moments(grid)
    varies = (deviation > 1e-6 * mean) & (mean > _TINY) & (deviation > _TINY)
    ratio = np.where(varies, mean, 1.0) / np.where(varies, deviation, 1.0)
    place = np.interp(ratio, means / deviations, grid)  # rises throughout
    scale = np.where(varies, mean, 0.0) / np.interp(place, grid, means)
    far = ~varies | (ratio >= means[-1] / deviations[-1])
    spread = np.where(far, np.where(varies, deviation, 0.0), scale)
    return np.where(far, mean, place * scale), spread


def correlation_behind(covariance: Float64, mean: Float64, deviation: Float64) -> Float64:
    """The correlations of the Gaussians of `behind` whose clipped values have this covariance.

    With a = μ/σ the covariance of two clipped values is σᵢσⱼ Σ_k c_k(aᵢ) c_k(aⱼ) ρᵏ / k!, where
    c₁ = Φ and c₂ = φ (Mehler's formula); two terms are kept.

    Args:
        covariance: of x, [d, d].
        mean: of the Gaussians, [d].
        deviation: of the Gaussians, [d]; what does not vary is correlated with nothing.
    """
    varies = deviation > 0
    scale = np.where(varies, deviation, 1.0)
    a = np.clip(mean / scale, _LOWEST, _HIGHEST)
    first, second = share_below(a), density(a) / np.sqrt(2.0)
    linear, quadratic = np.outer(first, first), np.outer(second, second)
    wanted = covariance / np.outer(scale, scale)
    # The root of quadratic ρ² + linear ρ = wanted that is small with it, without cancellation.
    inner = np.maximum(linear * linear + 4 * quadratic * wanted, 0.0)
    found = np.clip(2 * wanted / (linear + np.sqrt(inner)), -1.0, 1.0)
    found *= np.outer(varies, varies)
    np.fill_diagonal(found, 1.0)
    return np.asarray(found)

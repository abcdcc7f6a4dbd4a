"""The distribution of squared lengths of normal vectors, central or not; NumPy alone."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
_TERMS_BEYOND = 60
"""Terms of a Poisson sum beyond its mean, in addition to nine standard deviations."""


def chi_square_below(limit: float, freedom: int) -> float:
    """P(χ² ≤ limit) with so many degrees of freedom."""
    return float(noncentral_below(np.array([limit]), freedom, np.zeros(1))[0, 0])


def chi_square_limit(share_above: float, freedom: int) -> float:
    """The limit that χ² exceeds with this probability, above 0 and below 1."""
    high = float(freedom)
    while 1 - chi_square_below(high, freedom) > share_above:
        high *= 2
    low = 0.0
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (
            (middle, high) if 1 - chi_square_below(middle, freedom) > share_above else (low, middle)
        )
    return high


@np.errstate(under="ignore")  # what is next to nothing is nothing
def noncentral_below(limits: Float64, freedom: int, centres: Float64) -> Float64:
    """P(χ² ≤ limit), [centres, limits], for squared distances of the centre from zero.

    A Poisson mixture of central distributions (Johnson, Kotz and Balakrishnan, Continuous
    Univariate Distributions 2, 1995, chapter 29), each a Poisson sum itself: for half-integers,
    P(a, x) = Σ_k e^-x x^(a + k) / Γ(a + k + 1).
    """
    most = float(max(centres.max(), limits.max())) / 2
    terms = int(most + 9 * math.sqrt(most)) + _TERMS_BEYOND
    shapes = freedom / 2 + np.arange(2 * terms)
    logs = np.array([math.lgamma(shape + 1) for shape in shapes])
    half = np.maximum(limits, 1e-300)[:, None] / 2
    pieces = np.exp(shapes * np.log(half) - half - logs)
    below = np.cumsum(pieces[:, ::-1], axis=1)[:, ::-1][:, :terms]  # by shape
    return np.asarray(_poisson(centres / 2, terms) @ below.T)


def _poisson(means: Float64, terms: int) -> Float64:
    counts = np.arange(terms)
    logs = np.array([math.lgamma(count + 1) for count in counts])
    return np.asarray(
        np.exp(counts * np.log(np.maximum(means, 1e-300))[:, None] - means[:, None] - logs)
    )

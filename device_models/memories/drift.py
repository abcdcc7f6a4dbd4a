"""Drift of conductance by a power law of time, with an exponent of its own for every cell."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from device_models.memories.differential_pair import Cells

FADED = -60.0
"""No cell fades below e to this, so that float32 holds it and its products at any age."""

LONGEST = 1e300
"""Ages are finite, and so are their ratios to any start."""


def elapsed(age_s: float, start_s: float) -> float:
    """ln((t + t0) / t0): the logarithm of time since programming, 0 at age 0."""
    return math.log1p(min(age_s / start_s, LONGEST))


@np.errstate(under="ignore")  # just after the start, drift is next to nothing
def fading(
    cells: Cells, mean: NDArray[np.float64], deviation: NDArray[np.float64], logarithm: float
) -> NDArray[np.float32]:
    """((t + t0) / t0)^-nu of every cell [2, groups, d, m], nu = |mean + deviation · ε|.

    Args:
        cells: the cells.
        mean: [levels], of the exponent, by target.
        deviation: [levels], of the exponent from cell to cell.
        logarithm: ln((t + t0) / t0).
    """
    exponents = cells.normals("drift")
    exponents *= cells.spread(deviation)
    exponents += cells.spread(mean)
    np.abs(exponents, out=exponents)
    exponents *= np.float32(-logarithm)
    np.maximum(exponents, FADED, out=exponents)
    return np.exp(exponents, out=exponents)

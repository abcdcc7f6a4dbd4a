"""What a component is worth once it is known how much of it is noise.

The maps of `calib.sums` are fitted to few rows, whose unexplained part (read noise, rounding) they
take for signal in part: with f degrees of freedom and n rows, a share f / n of its covariance N
shows up in what they explain. A component that is kept takes away what it explains, adds as much
noise as was fitted, and had the same again counted in its favour: it is worth

    λ − 2 (f / n) vᵀ N v                                  (C. Mallows, Technometrics 15, 1973).

Where nothing but noise is explained, its eigenvalues still spread up to (1 + √(m / f))² times their
mean (V. Marčenko and L. Pastur, Math. USSR-Sbornik 1, 1967): what lies below is worth nothing.
"""

from __future__ import annotations

import numpy as np

from calib.grouped_sums import GroupedStatistics
from calib.reduced_rank import Metric, Solution, unexplained
from calib.row_sums import Float64
from calib.sums import LayerStatistics

LARGEST_SHARE = 0.95
"""Of degrees of freedom among the rows: with fewer rows to spare, noise cannot be told."""


def fitted_share(s: LayerStatistics | GroupedStatistics) -> Float64:
    """Degrees of freedom of a layer's maps for each row; of each group, where there are groups."""
    return np.minimum(np.asarray(s.freedom) / max(s.rows - 1, 1), LARGEST_SHARE)


def noise_covariance(s: LayerStatistics | GroupedStatistics, gain: Float64) -> Float64:
    """The covariance N [..., m, m] of what no map explains, the part that was fitted included."""
    return unexplained(s, gain) / (1 - fitted_share(s))[..., None, None]


def component_worth(
    s: LayerStatistics | GroupedStatistics, metric: Metric, solution: Solution
) -> Float64:
    """The error [k] that each component takes away on samples to come; none is worth less than 0.

    It never rises from one component to the next, so that the first ones are the best. Of a layer
    with groups, those of each group: [groups, k]. What components only take away because the gain
    has added it is worth nothing.
    """
    seen = metric.full @ solution.directions
    noise = noise_covariance(s, solution.gain)
    share, freedom = fitted_share(s), np.asarray(s.freedom)
    fitted = share[..., None] * (seen * (noise @ seen)).sum(axis=-2)
    known = freedom > 0
    outputs = solution.gain.shape[-1]
    spread = (1 + np.sqrt(outputs / np.where(known, freedom, 1.0))) ** 2
    real = known[..., None] & (solution.values > spread[..., None] * fitted)
    worth = np.where(real, solution.values - 2 * fitted, 0.0)
    falling = np.minimum.accumulate(np.maximum(worth, 0.0), axis=-1)
    total = float(falling.sum())
    return np.asarray(falling * max(1 - solution.debt / total, 0.0) if total else falling)

"""Whether the fast form holds for a layer: found on some typical rows, tried on others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from device_models.fast_fit import Fit, Rows, fit

MOST_VARIANCE = 1.3
"""Between the variance that is found and the one that is expected."""

MOST_COMMON = 0.1
"""Correlation between the rests of two outputs, on average."""

MOST_BIAS = 0.1
"""Mean square of the outputs' mean errors, in parts of their variance."""

MOST_REST = 1.0
"""Variance of the rest, in parts of the variance of the outputs."""

LEAST_REST = 1e-5
"""The same: so small a rest, 50 dB below the outputs, need not be described well."""


def why_not(rows: Rows) -> str | None:
    """Why these rows have no fast form; None if they have one."""
    cut = rows.count * 3 // 4
    tried = rows.part(slice(cut, None))
    return _why_not(fit(rows.part(slice(cut))), tried)


def _why_not(found: Fit, tried: Rows) -> str | None:
    rest = tried.exact - found.mean(tried)
    expected = expected_variance(found, tried)
    signal = max(float(tried.exact.var(axis=1).mean()), float(np.finfo(float).tiny))
    share = max(float(expected.mean()), float(np.square(rest).mean())) / signal
    if share <= LEAST_REST:
        return None
    if share > MOST_REST:
        return f"rounding is {share:.0%} of the variance of its outputs, more than {MOST_REST:.0%}"
    if not expected.any():
        return "its rounding did not show in the first three quarters of the typical rows"
    return _misfit(rest, expected)


def _misfit(rest: NDArray[np.float64], expected: NDArray[np.float64]) -> str | None:
    """What is wrong with the rests [groups, n, m] of rows that were not fitted to."""
    rows = rest.shape[1]
    ratio = float(np.square(rest).sum() / expected.sum())
    room = MOST_VARIANCE + 3 * np.sqrt(2 / rows)
    if not 1 / room <= ratio <= room:
        return f"the variance of its rounding is {ratio:.2f} times that of the fast form"
    scaled = rest / np.sqrt(np.maximum(expected, expected.max() * 1e-6))
    bias = float(np.square(scaled.mean(axis=1)).mean())
    if bias > MOST_BIAS + 3 / rows:
        return f"the fast form is off by {np.sqrt(bias):.2f} standard deviations on average"
    common = common_share(scaled)
    if common > MOST_COMMON + 3 / np.sqrt(rows):
        return f"the rounding errors of its outputs are correlated ({common:.2f})"
    return None


def expected_variance(found: Fit, rows: Rows) -> NDArray[np.float64]:
    """Of the mean of the reads: [groups, n, m]."""
    total = np.zeros(rows.exact.shape)
    if found.rounding is not None:
        total += found.rounding.variances(rows.sums)
    if found.reading is not None:
        total += found.reading.variances(rows.sums) / rows.reads
    return total


def common_share(scaled: NDArray[np.float64]) -> float:
    """Mean correlation between the outputs of a group, of figures [groups, n, m] of variance 1."""
    outputs = scaled.shape[2]
    if outputs == 1:
        return 0.0
    together = float(scaled.mean(axis=2).var(axis=1).mean())
    alone = float(scaled.var(axis=1).mean())
    share: float = (together * outputs / max(alone, float(np.finfo(float).tiny)) - 1) / (
        outputs - 1
    )
    return share

"""Whether the fast form holds for a layer: found on some typical rows, tried on others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from device_models.fast.fit import Fit, Rows, fit

MOST_VARIANCE = 1.5
"""Between the variance that is found and the one that is expected, beyond chance."""

MOST_BIAS = 0.1
"""Mean square of the outputs' mean errors, in parts of their variance, beyond chance."""

MOST_COMMON = 0.1
"""Correlation between outputs that the fast form has not, root mean square, beyond chance."""

LEAST_TELLING = 4
"""Rows in which rounding must show for its variance to be known."""

MOST_REST = 1.0
"""Variance of the rest, in parts of the variance of the outputs."""

LEAST_REST = 1e-4
"""The same: so small a rest, 40 dB below the outputs, need not be described well."""

_TINY = float(np.finfo(float).tiny)


def why_not(rows: Rows) -> str | None:
    """Why these rows have no fast form; None if they have one."""
    cut = rows.count * 3 // 4
    found, tried = fit(rows.part(slice(cut))), rows.part(slice(cut, None))
    rest = tried.exact - found.mean(tried)
    signal = max(float(tried.exact.var(axis=1).mean()), _TINY)
    expected = expected_covariance(found, tried)
    share = max(float(_diagonal(expected).mean()), float(np.square(rest).mean())) / signal
    if share <= LEAST_REST:
        return None
    if share > MOST_REST:
        return f"its rounding has more than {MOST_REST:.0%} of the variance of its outputs"
    return _misfit(rest, expected)


def _misfit(rest: NDArray[np.float64], expected: NDArray[np.float64]) -> str | None:
    """What is wrong with rests [groups, n, m] that are to have a covariance [groups, m, m]."""
    n = rest.shape[1]
    variance = max(float(_diagonal(expected).mean()), _TINY)
    ratio = float(np.square(rest).mean()) / variance
    room = MOST_VARIANCE + 3 * np.sqrt(2 / n)
    if not 1 / room <= ratio <= room:
        return f"the variance of its rounding is {ratio:.2f} times that of the fast form"
    bias = float(np.square(rest.mean(axis=1)).mean()) / variance
    if bias > MOST_BIAS + 3 / n:
        return f"the fast form is off by {np.sqrt(bias):.2f} standard deviations on average"
    telling = rows_that_tell(rest)
    if telling < LEAST_TELLING:
        return f"its rounding shows in {telling:.0f} rows; {LEAST_TELLING} are needed to know it"
    common = common_part(rest, expected)
    if common > MOST_COMMON:
        return f"the rounding of its outputs is correlated otherwise, by {common:.2f} on average"
    return None


def _diagonal(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.diagonal(matrices, axis1=1, axis2=2)
    return found


def expected_covariance(found: Fit, rows: Rows) -> NDArray[np.float64]:
    """Of the mean of the reads, on average over rows: [groups, m, m]."""
    groups, _, outputs = rows.exact.shape
    total = np.zeros((groups, outputs, outputs))
    if found.rounding is not None:
        mixing = found.rounding.mixing.astype(np.float64)
        heights = np.square(found.rounding.of(rows.sums), dtype=np.float64)
        total += np.matmul(mixing, mixing) * heights.mean(axis=1)[:, None, None]
    if found.reading is not None:
        heights = np.square(found.reading.of(rows.sums), dtype=np.float64)
        own = np.square(found.reading.mixing, dtype=np.float64) / rows.reads
        total += own * heights.mean(axis=1)[:, None, None] * np.eye(outputs)
    return total


def rows_that_tell(rest: NDArray[np.float64]) -> float:
    """In how many rows rests [groups, n, m] stand: n / 3 for normal ones, 1 for a single spike."""
    squares = np.square(rest)
    fourth = max(float(np.square(squares).mean(axis=1).sum()), _TINY)
    n: int = rest.shape[1]
    return n * float(np.square(squares.mean(axis=1)).sum()) / fourth


def common_part(rest: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """By how much the outputs' correlations differ from those expected, chance taken off."""
    groups, n, outputs = rest.shape
    if outputs == 1:
        return 0.0
    pairs = groups * outputs * (outputs - 1)
    difference = _correlations(np.matmul(rest.swapaxes(1, 2), rest)) - _correlations(expected)
    by_chance = (1 + 4 * np.sqrt(4 / pairs)) / n
    return float(np.sqrt(max(float(np.square(difference).sum()) / pairs - by_chance, 0.0)))


def _correlations(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the outputs that vary; those with next to no variance have none."""
    variance = _diagonal(covariance)
    least = 1e-3 * variance.max(axis=1, keepdims=True)
    size = np.where(variance > least, np.sqrt(np.maximum(variance, _TINY)), np.inf)
    found: NDArray[np.float64] = covariance / size[:, :, None] / size[:, None, :]
    return found

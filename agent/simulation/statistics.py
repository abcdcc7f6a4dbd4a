"""A few statistics of many chips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

_Z95 = 1.959963984540054
"""Of the normal distribution: 95 % lie between -z and z."""


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, worst, and the 5 %, 50 % and 95 % quantiles, linear between values; at least one."""
    low, middle, high = np.quantile(np.array(values, np.float64), [0.05, 0.5, 0.95])
    return {
        "mean": math.fsum(values) / len(values),
        "worst": float(min(values)),
        "p05": float(low),
        "p50": float(middle),
        "p95": float(high),
    }


def proportion(good: int, count: int) -> dict[str, Any]:
    """A share with its 95 % interval by Wilson's score (Wilson, JASA 22, 1927, p. 209).

    Unlike the simple one it holds for few chips, and for shares of 0 and 1.
    """
    share, z2 = good / count, _Z95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z95 / (1 + z2 / count)
    half *= math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    low = 0.0 if good == 0 else max(middle - half, 0.0)
    high = 1.0 if good == count else min(middle + half, 1.0)
    return {"share": share, "low": low, "high": high, "good": good, "count": count}

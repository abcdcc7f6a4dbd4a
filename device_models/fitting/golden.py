"""The lowest point of a function of one number."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

_SHRINK = (math.sqrt(5) - 1) / 2
_GRID = 24
_STEPS = 32


def lowest(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where a loss is lowest between two ends: a grid, then golden sections about its best point.

    Args:
        loss: of one number; smooth, and with one valley about the best point of the grid.
        low: Least place.
        high: Greatest place.
    """
    grid: list[float] = np.linspace(low, high, _GRID).tolist()
    best = min(range(_GRID), key=lambda at: loss(grid[at]))
    left, right = grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)]
    inner = [right - _SHRINK * (right - left), left + _SHRINK * (right - left)]
    losses = [loss(at) for at in inner]
    for _ in range(_STEPS):
        if losses[0] < losses[1]:
            right, inner[1], losses[1] = inner[1], inner[0], losses[0]
            inner[0] = right - _SHRINK * (right - left)
            losses[0] = loss(inner[0])
        else:
            left, inner[0], losses[0] = inner[0], inner[1], losses[1]
            inner[1] = left + _SHRINK * (right - left)
            losses[1] = loss(inner[1])
    return (left + right) / 2

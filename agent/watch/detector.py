"""The shape of a detector: a memory, a step, a statistic, and its limit for a run length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Detector:
    """Pure functions that make a control chart.

    The memory of a chart is a vector; `start` gives it for so many scores, `step` takes the memory
    and the scores [size] of a round and gives the next memory, `statistic` is what the limit holds
    against, and `limit` computes that for a wanted mean number of rounds between false alarms.
    """

    name: str
    several: bool
    """Whether it takes all layers' scores at once, whitened; else one score."""

    start: Callable[[int], Float64]
    step: Callable[[Float64, Float64], Float64]
    statistic: Callable[[Float64], float]
    held: Callable[[Float64, float], Float64]
    """The memory whose statistic is at most so much, so that an alarm does not outlive its cause
    by as long as the cause has lasted."""

    limit: Callable[[float, int], float]
    source: str

"""Drift: how much worse the chip is than when it was calibrated last.

The score is the mean layer error now, divided by that just after the calibration whose factors are
active; both on the held-back samples, so that 1 means unchanged. A bundle may state a tolerance:
what the rounding of two right runtimes differs by (`calib.rounding_tolerance`). That has nothing to
do with the errors and so adds to their squares: a bundle that was calibrated here and runs on
another processor is as healthy there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.events import CALIBRATION

WATCH_FROM = 1.15
"""Below this the difference is that of read noise and of a few samples."""

DRIFTED_FROM = 1.5
"""From here on a calibration is worth a write."""

FAILED_FROM = 5.0
"""From here on the factors correct another chip than this one."""


@dataclass(frozen=True)
class Drift:
    """The state of a chip, and the score that it follows from."""

    state: str
    """`unknown`, `healthy`, `watch`, `drifted` or `failed`."""

    score: float | None


def drift(mean_error: float, baseline: float | None, tolerance: float = 0.0) -> Drift:
    """Compare a mean layer error with that after the calibration, None where there is none.

    Args:
        mean_error: now, the mean of the layers' relative errors.
        baseline: the same just after the calibration.
        tolerance: the relative error that rounding alone may make.
    """
    if baseline is None or baseline <= 0:
        return Drift("unknown", None)
    score = mean_error / math.hypot(baseline, tolerance)
    if not math.isfinite(score) or score >= FAILED_FROM:
        return Drift("failed", score)
    if score >= DRIFTED_FROM:
        return Drift("drifted", score)
    return Drift("watch" if score >= WATCH_FROM else "healthy", score)


def baseline_of(history: Iterable[Mapping[str, Any]], sequence: int) -> float | None:
    """The mean layer error noted when the active factors were accepted; None if unknown."""
    if not sequence:
        return None
    for entry in history:
        if entry.get("event") == CALIBRATION and entry.get("sequence") == sequence:
            errors = entry.get("mean_layer_error")
            after = errors.get("after") if isinstance(errors, dict) else None
            return float(after) if isinstance(after, int | float) else None
    return None

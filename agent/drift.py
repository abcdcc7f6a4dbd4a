"""Drift: how much worse the chip is than when it was calibrated last.

The score is the mean layer error now, divided by that just after the calibration whose factors are
active; both on the held-back samples, so that 1 means unchanged.
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


def drift(mean_error: float, baseline: float | None) -> Drift:
    """Compare a mean layer error with that after the calibration, None where there is none."""
    if baseline is None or baseline <= 0:
        return Drift("unknown", None)
    score = mean_error / baseline
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

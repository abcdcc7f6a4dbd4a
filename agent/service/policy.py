"""When the service calibrates by itself, and whether new factors stay: pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.drift import Drift
from agent.events import CALIBRATION, ROLLBACK
from agent.service.settings import CalibrationSettings
from calib.verify import Judgement

NEEDS_REPAIR = ("drifted", "failed")


@dataclass(frozen=True)
class Attempts:
    """What came of the latest calibrations."""

    last_s: float | None = None
    """When the last one ended, on the service's clock; None for never."""

    refusals: int = 0
    """How many in a row did not help."""


@dataclass(frozen=True)
class Situation:
    """Everything that the decision depends on."""

    now_s: float
    drift: Drift
    sequence: int
    """Of the factors in use; 0 for none."""

    attempts: Attempts
    busy: bool = False
    """A calibration runs, or new factors are on trial."""


@dataclass(frozen=True)
class Decision:
    """Whether to calibrate, and why."""

    calibrate: bool
    reason: str


def decide(settings: CalibrationSettings, situation: Situation) -> Decision:
    """What to do after a round of canaries."""
    wanted, reason = _wanted(situation)
    if not wanted:
        return Decision(False, reason)  # noqa: FBT003
    if not settings.auto:
        return Decision(False, f"{reason}; calibration.auto is off")  # noqa: FBT003
    if situation.busy:
        return Decision(False, "one is under way, or its factors are on trial")  # noqa: FBT003
    wait_s = interval_s(settings, situation.attempts.refusals) - since_s(situation)
    if wait_s > 0:
        return Decision(False, f"{reason}; the next one may be in {wait_s:.0f} s")  # noqa: FBT003
    return Decision(True, reason)  # noqa: FBT003


def interval_s(settings: CalibrationSettings, refusals: int) -> float:
    """The least time between two calibrations, after so many in a row that did not help."""
    doubled = settings.least_interval_s * 2.0 ** min(refusals, 60)
    return min(doubled, max(settings.longest_interval_s, settings.least_interval_s))


def since_s(situation: Situation) -> float:
    """How long ago the last calibration was."""
    last_s = situation.attempts.last_s
    return math.inf if last_s is None else situation.now_s - last_s


def _wanted(situation: Situation) -> tuple[bool, str]:
    drift = situation.drift
    if drift.state in NEEDS_REPAIR:
        return True, f"the chip has {drift.state}"
    if not situation.sequence and drift.state == "unknown":
        return True, "no factors run"
    return False, f"the chip is {drift.state}"


def attempts_in(history: Iterable[Mapping[str, Any]], wall_s: float, now_s: float) -> Attempts:
    """The attempts that a store's history tells of, so that a restart forgets none.

    Args:
        history: entries, oldest first.
        wall_s: Unix time.
        now_s: the same moment on the service's clock.

    Returns:
        A calibration that the clock puts into the future counts as just done: without a clock that
        can be trusted, waiting is what wears no flash.
    """
    last_s: float | None = None
    refusals = 0
    for entry in history:
        if entry.get("event") == CALIBRATION:
            time_s = entry.get("time_s")
            age_s = wall_s - time_s if isinstance(time_s, int | float) else 0.0
            last_s = now_s - max(age_s, 0.0)
            refusals = 0 if entry.get("accepted") else refusals + 1
        elif entry.get("event") == ROLLBACK and entry.get("trial"):
            refusals += 1
    return Attempts(last_s, refusals)


def trial_problem(before: Judgement, now: Judgement) -> str | None:
    """Why new factors go again; None if they stay.

    Args:
        before: the chip just before the calibration, with the old factors.
        now: what canaries say of it with the new ones.
    """
    if not (math.isfinite(now.loss) and math.isfinite(now.mean_error)):
        return "the answers of canaries are not finite"
    if now.loss > before.loss:
        return f"the loss of canaries is {now.loss:.4g}, {before.loss:.4g} before"
    if now.mean_error > before.mean_error:
        return (
            f"the layer error of canaries is {now.mean_error:.4g}, {before.mean_error:.4g} before"
        )
    return None

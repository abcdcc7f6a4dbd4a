"""New factors on trial: for some rounds of canaries they have to be better than those before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from agent.watch.rounds import CanaryRound

RUNNING, PASSED, FAILED = "running", "passed", "failed"
ROUNDS = 3
LOSS_UNIT = 5e-4


@dataclass(frozen=True)
class Trial:
    """What the factors before came to, and what those on trial have come to."""

    sequence: int
    """Of the factors on trial."""

    previous: int
    """Of those before, that a roll-back activates; 0 for none."""

    loss_before: float
    error_before: float
    """Mean layer error."""

    losses: tuple[float, ...] = ()
    errors: tuple[float, ...] = ()
    rounds: int = ROUNDS

    def document(self) -> dict[str, Any]:
        """What is kept over restarts."""
        return {**vars(self), "losses": list(self.losses), "errors": list(self.errors)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Trial | None:
        """The inverse of `document`; None for what is no trial."""
        try:
            return cls(
                int(document["sequence"]),
                int(document["previous"]),
                float(document["loss_before"]),
                float(document["error_before"]),
                tuple(float(value) for value in document["losses"]),
                tuple(float(value) for value in document["errors"]),
                int(document["rounds"]),
            )
        except (KeyError, TypeError, ValueError):
            return None


@dataclass(frozen=True)
class Outcome:
    """`running`, `passed` or `failed`, and why."""

    state: str
    reason: str


def begin_trial(sequence: int, previous: int, before: CanaryRound, rounds: int = ROUNDS) -> Trial:
    """Put factors on trial against what canaries said just before they were activated."""
    return Trial(sequence, previous, before.loss, before.mean_error, rounds=rounds)


def look_at_trial(trial: Trial, seen: CanaryRound) -> Trial:
    """Take a round of canaries with the new factors in."""
    return replace(
        trial, losses=(*trial.losses, seen.loss), errors=(*trial.errors, seen.mean_error)
    )


def judge_trial(trial: Trial) -> Outcome:
    """Whether the new factors stay: the medians of the rounds against what was before.

    Factors fail at once where a figure is no number, and where the loss is worse by more than what
    shows in answers, or the mean layer error is worse.
    """
    numbers = (*trial.losses, *trial.errors)
    if not all(math.isfinite(value) for value in numbers):
        return Outcome(FAILED, f"factors {trial.sequence} make answers that are no numbers")
    done, name = len(trial.losses), f"factors {trial.sequence}"
    if done < trial.rounds:
        return Outcome(RUNNING, f"{name} are on trial, {done} of {trial.rounds} rounds")
    loss, error = _median(trial.losses), _median(trial.errors)
    if loss > trial.loss_before + LOSS_UNIT:
        return Outcome(
            FAILED, f"{name} have a loss of {loss:.3g}, those before {trial.loss_before:.3g}"
        )
    if error > trial.error_before:
        return Outcome(
            FAILED,
            f"{name} leave a mean layer error of {error:.3g}, those before "
            f"{trial.error_before:.3g}",
        )
    return Outcome(PASSED, f"{name} hold: loss {loss:.3g}, before {trial.loss_before:.3g}")


def _median(values: tuple[float, ...]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2

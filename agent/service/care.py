"""What the service remembers of its care over restarts: a line in the store's history.

Written after each of its calibrations, when a baseline is complete, and when what has changed is
another thing than before, so that `status` can say so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent.events import CALIBRATION, WATCH
from agent.session import Session
from agent.watch.budget import Allowance, FlashBudget, full, one_day, refilled, share_left, spent
from agent.watch.clock import AgentClock, Reading, advance
from agent.watch.trial import Trial
from agent.watch.wear import Written

Entry = Mapping[str, Any]
NO_WRITE = Written()
SPARE_SHARE = 0.5
"""Of the budget that can be kept: below it, flash is for calibrations."""


@dataclass(frozen=True)
class Care:
    """Budgets and intervals, in agent time."""

    budget: FlashBudget
    last_attempt_s: float | None = None
    """When a calibration ended last."""

    cost: Written = NO_WRITE
    """Of the last one that was written; the next is expected to be like it."""

    trial: Trial | None = None
    """Of the factors that run."""

    def wrote(self, written: Written, allowance: Allowance, now_s: float) -> Care:
        """Something more has been written."""
        budget = refilled(self.budget, allowance, now_s)
        return replace(self, budget=spent(budget, written.bytes, written.erases))

    def can_spare(self, allowance: Allowance, now_s: float) -> bool:
        """Whether there is flash for a note that no restart needs: half of what can be kept."""
        budget = refilled(self.budget, allowance, now_s)
        return share_left(budget, allowance, FlashBudget(0.0, 0.0, now_s)) >= SPARE_SHARE

    def document(self) -> dict[str, Any]:
        """What is kept over restarts."""
        return {
            "budget": self.budget.document(),
            "last_attempt_s": self.last_attempt_s,
            "cost": [self.cost.bytes, self.cost.erases],
            "trial": None if self.trial is None else self.trial.document(),
        }


@dataclass(frozen=True)
class Recalled:
    """What a history tells of the care until now."""

    clock: AgentClock
    care: Care
    refusals: int
    """Calibrations in a row that did not help since the last note, which may have been made by
    others, or by a service that was killed before it could note them."""

    accepted: bool
    """Whether one of them has helped, so that no refusal of before counts."""


def recall(history: Sequence[Entry], allowance: Allowance, reading: Reading) -> Recalled:
    """Go on from a store's history.

    Args:
        history: entries, oldest first.
        allowance: how much flash may be worn.
        reading: what the machine's clocks say now.
    """
    places = [place for place, entry in enumerate(history) if entry.get("event") == WATCH]
    note = history[places[-1]] if places else {}
    clock = advance(AgentClock.of(_table(note.get("clock"))), reading)
    later = [
        entry
        for entry in history[places[-1] + 1 if places else 0 :]
        if entry.get("event") == CALIBRATION
    ]
    care = _care(_table(note.get("care")), allowance, clock.agent_s)
    if not places and not later:
        care = replace(care, budget=full(allowance, clock.agent_s))  # nothing was written yet
    refusals, accepted = 0, False
    for entry in later:
        helped = bool(entry.get("accepted"))
        refusals, accepted = 0 if helped else refusals + 1, accepted or helped
        written = Written.of([_number(entry.get("bytes_written")), 1])
        care = care.wrote(written, allowance, clock.agent_s)
        ago_s = _passed_s(entry, reading)
        care = replace(care, last_attempt_s=clock.agent_s - ago_s)
        care = replace(care, cost=written) if helped else care
    return Recalled(clock, care, refusals, accepted)


def chip_note(history: Iterable[Entry], runs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The newest note of the chip with these factors; empty where there is none."""
    found: Mapping[str, Any] = {}
    for entry in history:
        if entry.get("event") == WATCH and entry.get("runs") == runs:
            found = _table(entry.get("chip"))
    return found


def what_runs(session: Session, sequence: int) -> dict[str, Any]:
    """Bundle, chip and factors in few words, by which a note is found again."""
    described = json.dumps(session.installed.chip, sort_keys=True, default=str).encode()
    return {
        "bundle": session.installed.bundle_id[:16],
        "chip": hashlib.sha256(described).hexdigest()[:16],
        "factors": sequence,
    }


def _care(document: Mapping[str, Any], allowance: Allowance, now_s: float) -> Care:
    """The inverse of `Care.document`; what is damaged begins anew, with the budget of a day."""
    budget = FlashBudget.of(_table(document.get("budget")), allowance, now_s)
    try:
        last = document["last_attempt_s"]
        last_s = None if last is None else float(last)
        cost = Written(*(_number(value) for value in document["cost"]))
    except (KeyError, TypeError, ValueError):
        return Care(one_day(allowance, now_s) if not document else budget)
    return Care(budget, last_s, cost, Trial.of(_table(document.get("trial"))))


def _passed_s(entry: Entry, reading: Reading) -> float:
    """How long ago an entry was made; 0 where no clock can be believed: waiting wears no flash."""
    then_s = entry.get("time_s")
    if not isinstance(then_s, int | float):
        return 0.0
    then = AgentClock(0.0, Reading(0.0, float(then_s), ""))
    return advance(then, reading).agent_s


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0

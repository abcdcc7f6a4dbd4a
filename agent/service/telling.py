"""What the keeper tells: lines for the log, and notes in the store's history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.api import Agent
from agent.drift import Drift
from agent.errors import AgentError, StoreLockedError
from agent.events import WATCH, record
from agent.loop import Calibration
from agent.notices import Notice, TellNotice, warning
from agent.service.canaries import Round
from agent.service.chip_watch import NEEDS_REPAIR, ChipWatch
from agent.watch.diagnosis import NOTHING, Diagnosis
from agent.watch.policy import HOUR_S, Decision
from agent.watch.wear import Written

NOTE_INTERVAL_S = HOUR_S
"""Between two notes that only say what has changed."""


class Telling:
    """Says what happens to an agent's chip."""

    def __init__(self, agent: Agent, tell: TellNotice) -> None:
        """Nothing has been said."""
        self._agent, self._tell = agent, tell
        self._said: tuple[str, str] | None = None
        self._noted = NOTHING
        self._noted_s = -float("inf")
        self._unkept = False

    def round(self, done: Round, drift: Drift, found: Diagnosis) -> None:
        """A round of canaries; what has changed is told when it is another thing than before."""
        figures = {
            "drift": drift.state,
            "score": drift.score,
            "changed": found.changed,
            "mean_relative_error": done.judgement.mean_error,
            "held_back_loss": done.judgement.loss,
            "factors": done.sequence,
            "canaries": done.canaries,
            "busy_ms": 1000 * done.busy_s,
        }
        self._tell(Notice("canaries", figures))
        if (drift.state, found.changed) != self._said:
            self._said = (drift.state, found.changed)
            bad = drift.state in NEEDS_REPAIR or found.changed != NOTHING
            fields = {"drift": drift.state, "changed": found.changed, "reason": found.reason}
            self._tell(Notice("watch", fields, "warning" if bad else "info"))

    def decision(self, decision: Decision, *, starts: bool, auto: bool) -> None:
        """What the policy says."""
        held = decision.action == "calibrate" and not auto
        reason = f"{decision.reason}; calibration.auto is off" if held else decision.reason
        fields = {
            "calibrate": starts,
            "gain": decision.gain,
            "price": decision.price,
            "reason": reason,
        }
        self._tell(Notice("decision", fields, "notice" if starts else "debug"))

    def calibration(self, done: Calibration, written: Written) -> None:
        """One has ended."""
        figures = {
            "accepted": done.verdict.accepted,
            "factors": self._agent.sequence,
            "seconds": done.seconds,
            "bytes_written": written.bytes,
            "reason": done.verdict.reason,
        }
        self._tell(Notice("calibration", figures, "notice"))

    def waits(self, error: AgentError) -> None:
        """A person's calibration goes first."""
        self._tell(Notice("calibration", {"reason": str(error)}))

    def passed(self, reason: str) -> None:
        """A trial has ended well."""
        fields = {"passed": True, "factors": self._agent.sequence, "reason": reason}
        self._tell(Notice("trial", fields))

    def failed(self, reason: str, failed: int) -> None:
        """A trial has ended in a roll-back."""
        factors = self._agent.sequence
        self._tell(warning("trial", reason, passed=False, failed=failed, factors=factors))

    def problem(self, event: str, error: Exception) -> None:
        """Something could not be done."""
        self._tell(warning(event, str(error) or type(error).__name__))

    def clock(self) -> None:
        """The wall clock ran backwards."""
        said = "the clock was set back; budgets and intervals are counted without it"
        self._tell(warning("clock", said))

    def wants_note(self, found: Diagnosis, now_s: float) -> bool:
        """Whether the store should know of a change, or of what could not be noted before."""
        news = found.changed != self._noted or self._unkept
        return news and now_s - self._noted_s >= NOTE_INTERVAL_S

    def note(
        self, found: Diagnosis, chip: ChipWatch, fields: Mapping[str, Any], now_s: float
    ) -> int:
        """Note in the history what has changed, and what a restart has to know.

        Returns:
            The bytes written; none where another holds the store, or it cannot be written.
        """
        said = {
            "sequence": self._agent.sequence,
            "drift": {"state": chip.drift.state, "score": chip.drift.score},
            "changed": found.changed,
            "reason": found.reason,
        }
        store = self._agent.session.store
        try:
            with store.lock():
                size, sentence = record(store, WATCH, {**said, **fields})
        except StoreLockedError:
            self._unkept = True
            self._noted_s = -float("inf")  # with the next round
            return 0
        except AgentError as error:
            size, sentence = 0, f"not noted in the history: {error}"
        self._unkept, self._noted_s = sentence is not None, now_s
        if sentence is None:
            self._noted = found.changed
        else:
            self._tell(warning("store", sentence))
        return size

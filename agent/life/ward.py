"""One chip in one agent's care: its factors, its store, and what has been written there."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.events import CALIBRATION, record
from agent.loop import Calibration, CalibrationRequest, ClosedLoop, Commit
from agent.report import history_fields
from agent.store.slot_header import RETIRED_WORD
from agent.store.store import Store
from agent.watch.wear import Written
from calib.errors import CalibError
from calib.factors import Factors


@dataclass(frozen=True)
class Tried:
    """A calibration that was tried."""

    accepted: bool
    promising: bool
    """Whether its forecast saw something to gain."""

    reason: str
    written: Written
    sequence: int
    """Of the factors that run now; 0 for none."""


@dataclass
class Ward:
    """A chip and its store."""

    loop: ClosedLoop
    store: Store
    sequence: int = 0
    written: Written = field(default_factory=Written)
    accepted: int = 0
    refused: int = 0
    rollbacks: int = 0

    def calibrate(self, samples: int, now_s: float) -> Tried:
        """Close the loop once, and keep all that the agent keeps: factors, buffer, history.

        Args:
            samples: of the references.
            now_s: since the life began, for the history.
        """
        sizes: list[int] = []
        before = self.loop.factors
        try:
            done = self.loop.calibrate(CalibrationRequest(samples), _Counting(self.store, sizes))
        except CalibError as error:  # no sensible factors can be found
            self.loop.factors = before
            return self._noted(Tried(False, True, str(error), Written(), self.sequence))  # noqa: FBT003  # a record of five
        sizes += self._recorded(done, now_s)
        self.sequence = self.sequence if done.commit is None else done.commit.sequence
        verdict = done.verdict
        promising = done.forecast.promising
        return self._noted(
            Tried(verdict.accepted, promising, verdict.reason, Written.of(sizes), self.sequence)
        )

    def roll_back(self, factors: Factors) -> Written:
        """Let the factors of before run again."""
        self.rollbacks += 1
        done = self.store.rollback()
        self.sequence, self.loop.factors = done.after, factors
        written = Written(len(RETIRED_WORD), 0)  # a word is programmed, and nothing erased
        self.written += written
        return written

    def _recorded(self, done: Calibration, now_s: float) -> list[int]:
        noted, _ = record(self.store, CALIBRATION, history_fields(done), now_s)
        return [self.store.write_buffer(self.loop.buffer.to_bytes()), noted]

    def _noted(self, tried: Tried) -> Tried:
        self.written += tried.written
        self.accepted += tried.accepted
        self.refused += not tried.accepted
        return tried


@dataclass(frozen=True)
class _Counting:
    """A store whose writes are counted."""

    store: Store
    sizes: list[int]

    def commit(self, payload: bytes) -> Commit:
        """See `agent.loop.FactorStore`."""
        done = self.store.commit_factors(payload)
        self.sizes.append(done.bytes_written)
        return Commit(done.sequence, done.bytes_written)

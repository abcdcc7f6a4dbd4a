"""What the service does for its chip: looks at rounds of canaries, calibrates, judges the result.

A calibration runs in a thread of its own, so that requests go on; there is never more than one. A
person's goes first: while another process holds the store, ours waits for the next round.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from agent.api import Agent
from agent.drift import Drift
from agent.errors import AgentError, StoppedError, StoreLockedError
from agent.loop import Calibration, CalibrationRequest
from agent.notices import Notice, TellNotice, warning
from agent.service.canaries import Round
from agent.service.policy import Situation, attempts_in, decide, trial_problem
from agent.service.settings import CalibrationSettings
from calib.errors import CalibError
from calib.verify import Judgement
from device_models.errors import DeviceModelError


class Watch(Protocol):
    """What makes a state of rounds of canaries."""

    def begin(self) -> None:
        """Forget what was seen: other factors run, or another chip."""
        ...

    def look(self, judgement: Judgement) -> Drift:
        """The state after one more round.

        Raises:
            StoreError: what it compares with cannot be read.
        """
        ...


@dataclass(frozen=True)
class RatioWatch:
    """The simplest watch: the layer error of this round over that after the calibration."""

    agent: Agent

    def begin(self) -> None:
        """Nothing is remembered."""

    def look(self, judgement: Judgement) -> Drift:
        """See `Watch.look`."""
        return self.agent.drift(judgement)


_Runs = tuple[str, object, int]
"""What runs: the bundle, the chip, and the number of the factors."""


@dataclass(frozen=True)
class _Trial:
    """New factors that have to show themselves."""

    before: Judgement
    """How the chip did with the old ones."""

    runs: _Runs
    """What is on trial."""


@dataclass
class _Job:
    """A calibration in its thread."""

    thread: threading.Thread
    done: Calibration | None = None
    error: Exception | None = None


class Keeper:
    """Keeps a chip calibrated; called by the service's main loop.

    Args:
        agent: whose.
        settings: when and how; may be replaced.
        watch: what states follow from.
        tell: is told what happens.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        agent: Agent,
        settings: CalibrationSettings,
        watch: Watch,
        tell: TellNotice,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is under way."""
        self.settings = settings
        self._agent, self._watch, self._tell, self._clock = agent, watch, tell, clock
        self._job: _Job | None = None
        self._trial: _Trial | None = None
        self._runs = self._what_runs()
        history = agent.session.store.read_history().entries
        self._attempts = attempts_in(history, time.time(), clock())

    def turn(self) -> bool:
        """Look after a calibration under way; called often, takes no time.

        Returns:
            Whether other factors run than at the last turn, or on another chip.
        """
        if self._job is not None and not self._job.thread.is_alive():
            self.finish()
        runs = self._what_runs()
        changed, self._runs = runs != self._runs, runs
        if changed:
            self._watch.begin()
        if self._trial is not None and self._trial.runs != runs:
            self._trial = None
        return changed

    def round(self, done: Round) -> None:
        """Look at a round of canaries and do what follows from it."""
        try:
            drift = self._watch.look(done.judgement)
            self._tell_round(done, drift)
            if self._trial is not None and self._trial.runs == self._what_runs():
                self._judge(self._trial.before, done.judgement)
                return
            self._decide(drift)
        except (AgentError, CalibError, DeviceModelError) as error:
            self._tell(warning("keeper", str(error)))

    def finish(self) -> None:
        """Wait for a calibration under way; one that the agent was told to stop ends soon."""
        if self._job is not None:
            self._job.thread.join()
            job, self._job = self._job, None
            self._ended(job)

    def _decide(self, drift: Drift) -> None:
        busy = self._job is not None or self._trial is not None
        now_s = self._clock()
        situation = Situation(now_s, drift, self._agent.sequence, self._attempts, busy)
        decision = decide(self.settings, situation)
        level = "notice" if decision.calibrate else "debug"
        fields = {"calibrate": decision.calibrate, "reason": decision.reason}
        self._tell(Notice("decision", fields, level))
        if decision.calibrate:
            self._start()

    def _start(self) -> None:
        chosen = self.settings
        request = CalibrationRequest(chosen.samples, chosen.select, chosen.method)

        def work() -> None:
            try:
                job.done = self._agent.calibrate(request)
            except Exception as error:  # noqa: BLE001  # told by the main loop
                job.error = error

        job = _Job(threading.Thread(target=work, name="npp-calibration", daemon=True))
        self._job = job
        job.thread.start()

    def _ended(self, job: _Job) -> None:
        match job.error:
            case StoreLockedError() as error:  # a person's goes first: ours is for the next round
                self._tell(Notice("calibration", {"reason": str(error)}))
                return
            case StoppedError():
                return
            case Exception() as error:
                self._attempted(helped=False)
                self._tell(warning("calibration", str(error) or type(error).__name__))
                return
        assert job.done is not None
        verdict, commit = job.done.verdict, job.done.commit
        self._attempted(helped=verdict.accepted)
        figures = {
            "accepted": verdict.accepted,
            "factors": self._agent.sequence,
            "seconds": job.done.seconds,
            "bytes_written": 0 if commit is None else commit.bytes_written,
            "reason": verdict.reason,
        }
        self._tell(Notice("calibration", figures, "notice"))
        self._trial = _Trial(verdict.before, self._what_runs()) if verdict.accepted else None

    def _judge(self, before: Judgement, now: Judgement) -> None:
        """End the trial of new factors."""
        problem = trial_problem(before, now)
        if problem is None:
            self._trial = None
            self._tell(Notice("trial", {"passed": True, "factors": self._agent.sequence}))
            return
        failed = self._agent.sequence
        self._agent.rollback(trial=True)
        self._trial = None
        self._attempted(helped=False)
        factors = self._agent.sequence
        self._tell(warning("trial", problem, passed=False, failed=failed, factors=factors))

    def _what_runs(self) -> _Runs:
        installed = self._agent.session.installed
        return installed.bundle_id, installed.chip, self._agent.sequence

    def _attempted(self, *, helped: bool) -> None:
        refusals = 0 if helped else self._attempts.refusals + 1
        self._attempts = replace(self._attempts, last_s=self._clock(), refusals=refusals)

    def _tell_round(self, done: Round, drift: Drift) -> None:
        figures = {
            "drift": drift.state,
            "score": drift.score,
            "mean_relative_error": done.judgement.mean_error,
            "held_back_loss": done.judgement.loss,
            "factors": done.sequence,
            "canaries": done.canaries,
            "busy_ms": 1000 * done.busy_s,
        }
        self._tell(Notice("canaries", figures))

"""What takes time is done in a thread, one job at a time, so that the line stays answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agent.errors import AgentError
from agent.link.board import Outcome, Report, Say
from agent.link.refusal import busy
from calib.errors import CalibError
from device_models.errors import DeviceModelError

RUNNING, DONE, FAILED = "running", "done", "failed"
_MOST_NOTES = 20

Work = Callable[[Report, Say], Outcome]
Finished = Callable[["Job"], None]


@dataclass(frozen=True)
class Job:
    """A job as it stands."""

    number: int
    kind: str
    """The command that it does."""

    state: str = RUNNING
    done: int = 0
    total: int = 0
    exit_code: int | None = None
    notes: tuple[str, ...] = ()
    """Sentences for a person, oldest first."""

    failure: str | None = None
    document: Mapping[str, Any] | None = None
    event: Mapping[str, Any] | None = None


class Jobs:
    """One job at a time, and how the last one ended.

    Args:
        finished: is told of each job that ends, in the job's thread.
    """

    def __init__(self, finished: Finished = lambda _job: None) -> None:
        """Begin with no job."""
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._thread: threading.Thread | None = None
        self._finished = finished

    @property
    def last(self) -> Job | None:
        """The job that runs, or the last that ran."""
        return self._job

    @property
    def running(self) -> Job | None:
        """The job that runs."""
        job = self._job
        return job if job is not None and job.state == RUNNING else None

    def start(self, kind: str, work: Work) -> Job:
        """Begin a job.

        Raises:
            Refusal: another one runs.
        """
        with self._lock:
            if self.running is not None:
                raise busy(f"{self.running.kind} runs")
            number = 1 if self._job is None else self._job.number % 0xFFFF + 1
            job = self._job = Job(number, kind)
            self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
            self._thread.start()
            return job

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until nothing runs."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self, work: Work) -> None:
        try:
            outcome = work(self._report, self._say)
        except (AgentError, CalibError, DeviceModelError) as error:
            self._end(FAILED, getattr(error, "exit_code", 1), failure=str(error))
        except Exception as error:  # noqa: BLE001  # the line outlives whatever a job does
            text = f"unexpected {type(error).__name__}: {error or 'no message'}"
            self._end(FAILED, 1, failure=f"{text}; npp-agent has a defect: report it")
        else:
            for sentence in outcome.warnings:
                self._say(sentence)
            self._end(DONE, outcome.exit_code, outcome)

    def _end(
        self, state: str, exit_code: int, outcome: Outcome | None = None, failure: str | None = None
    ) -> None:
        assert self._job is not None
        self._job = replace(
            self._job,
            state=state,
            exit_code=exit_code,
            failure=failure,
            document=None if outcome is None else outcome.document,
            event=None if outcome is None else outcome.event,
        )
        self._finished(self._job)

    def _report(self, done: int, total: int) -> None:
        assert self._job is not None
        self._job = replace(self._job, done=done, total=total)

    def _say(self, sentence: str) -> None:
        assert self._job is not None
        self._job = replace(self._job, notes=(*self._job.notes, sentence)[-_MOST_NOTES:])

"""The agent as a Python object: a store's network that answers, and looks after its factors.

    with Agent.open("store") as agent:
        answers = agent.infer(x)
        if agent.measure().drift.state == "drifted":
            agent.calibrate()

Requests may come from any thread, and go on while the agent measures, calibrates, or takes over
what another process did to the store. One agent runs on a store at a time.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agent.allocator import keep_freed_memory
from agent.drift import Drift
from agent.errors import StoppedError
from agent.events import ROLLBACK, record
from agent.follower import Follower
from agent.inputs import as_samples
from agent.loop import Calibration, CalibrationRequest
from agent.newest import Newest
from agent.notices import Notice, TellNotice, silent, warning
from agent.places import default_store
from agent.running import CheckedCommitter, Running, opened
from agent.serving import Served
from agent.session import Session, stored_buffer
from agent.store.lock import in_service
from agent.store.slots import Rollback
from agent.store.store import Store
from calib.verify import Judgement

DEFAULT_REQUEST = CalibrationRequest()


@dataclass(frozen=True)
class Measurement:
    """How the chip does now, and how that compares with just after its calibration."""

    judgement: Judgement
    drift: Drift


class Agent:
    """A running agent; made by `Agent.open`."""

    def __init__(self, running: Running, tell: TellNotice = silent) -> None:
        """Answer from now on."""
        self._running, self._tell = running, tell
        self._changing = threading.Lock()
        """Held while the runtime is used for more than an answer, and while factors change."""

        self._stopping = threading.Event()
        self._newest = Newest(running.session, tell)
        self._failure: str | None = None
        self._ends = contextlib.ExitStack()

    @classmethod
    def open(  # noqa: PLR0913  # each a keyword
        cls,
        store: str | Path | None = None,
        *,
        follow_s: float | None = 1.0,
        tell: TellNotice = silent,
        age_s: float | None = None,
        temperature_c: float | None = None,
        supply_v: float | None = None,
    ) -> Self:
        """Load what is installed in a store, and answer.

        Args:
            store: its directory; by default `$NPP_STORE`, else the system's or the user's.
            follow_s: how often to look whether another process changed the store; None for never,
                then `refresh` does it.
            tell: is told what happens, from any thread.
            age_s: of an emulated chip, in seconds; by default as the store remembers.
            temperature_c: of an emulated chip.
            supply_v: of an emulated chip's arrays.

        Raises:
            StoreLockedError: another agent runs on this store, or another process changes it.
            AgentError: nothing is installed, or it cannot be loaded.
            DeviceModelError: the chip's description is not known, or the conditions cannot be.
        """
        place = Store(default_store() if store is None else Path(store))
        conditions = {"age_s": age_s, "temperature_c": temperature_c, "supply_v": supply_v}
        place.state()  # that nothing is installed is said before a directory is missed
        with contextlib.ExitStack() as ends:
            ends.enter_context(in_service(place.path))
            agent = cls(opened(place, **conditions), tell)
            ends.callback(agent._end)
            if follow_s is not None:
                ends.callback(Follower(agent.refresh, follow_s, agent._failed).close)
            agent._ends = ends.pop_all()
        for sentence in agent._running.session.warnings:
            tell(warning("store", sentence))
        return agent

    @property
    def session(self) -> Session:
        """What is installed, as it was loaded last."""
        return self._running.session

    @property
    def sequence(self) -> int:
        """The number of the factors that answer; 0 for none."""
        return self._running.serving.sequence

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return self._running.shape

    def infer(self, x: ArrayLike) -> NDArray[np.float32]:
        """Answer one sample, or several behind each other.

        Args:
            x: of `input_shape`, or [n, *input_shape]; any numeric type.

        Returns:
            The answer, or [n, ...] answers; logits where there are classes.

        Raises:
            InputError: another shape, no numbers, or numbers that are not finite.
            RuntimeUnavailableError: the runtime fails.
        """
        running = self._running
        samples, single = as_samples(x, running.shape)
        answers = running.serving.infer(samples).answers
        return answers[0] if single else answers

    def serve(self, x: ArrayLike) -> Served:
        """The same, [n, ...] answers always, with the number of the factors that gave them.

        Raises:
            InputError, RuntimeUnavailableError: as for `infer`.
        """
        running = self._running
        return running.serving.infer(as_samples(x, running.shape)[0])

    def measure(self) -> Measurement:
        """Run the held-back samples on the chip and compare each layer with its reference.

        Raises:
            RuntimeUnavailableError: the runtime fails.
            StoreError: the history cannot be read.
        """
        with self._changing:
            judgement = self.session.loop.measure()
            return Measurement(judgement, self.drift(judgement))

    def drift(self, judgement: Judgement) -> Drift:
        """How a measurement compares with how the chip was just after its calibration.

        Raises:
            StoreError: the history cannot be read.
        """
        return self._running.drift(judgement)

    def calibrate(self, request: CalibrationRequest = DEFAULT_REQUEST) -> Calibration:
        """Close the loop once; factors that help are durable and in use when this returns.

        Requests go on meanwhile. A calibration that does not help is no error: its `verdict` says
        that it was refused, and why.

        Args:
            request: what to choose, see `CalibrationRequest`.

        Raises:
            StoreLockedError: another process changes the store: it goes first.
            StoppedError: the agent was told to stop; nothing was changed.
            AgentError: the store refuses, or the runtime cannot do what is asked.
            CalibError: no sensible factors can be found.
        """
        with self._changing, self._running.session.store.lock():
            self._take_over()
            running, session = self._running, self._running.session
            session.loop.buffer, _ = stored_buffer(session.store)  # another may have written it
            keep_freed_memory()
            watched = session.watched(lambda _done, _of: self._go_on(), 0)
            committer = CheckedCommitter(running, self._go_on)
            done = watched.loop.calibrate(request, committer, lambda _: self._go_on())
            if request.dry_run:
                return done
            recorded = session.record(done)
            done = replace(done, noted_bytes=recorded.sizes)
            for sentence in recorded.warnings:
                self._tell(warning("calibration", sentence))
            if done.commit is not None:
                self._running = running.now(done.factors, done.commit.sequence)
                self._newest.is_in(self.session)
            return done

    def rollback(self, to: int | None = None, *, trial: bool = False) -> Rollback:
        """Let older factors run again; the newer ones are retired for good.

        Args:
            to: their number, 0 for none; by default those before the active ones.
            trial: for the history: the newer ones were on trial, and did not pass it.

        Raises:
            NothingToRollBackError: they are not there.
            StoreLockedError: another process changes the store.
            AgentError: the store refuses, or the older factors cannot be used.
        """
        with self._changing, self._running.session.store.lock():
            store = self._running.session.store
            done = store.rollback(to)
            fields = {"sequence": done.after, "from_sequence": done.before}
            fields |= {"trial": True} if trial else {}
            _, sentence = record(store, ROLLBACK, fields)
            if sentence is not None:
                self._tell(warning("rollback", sentence))
            self._take_over()
            return done

    def refresh(self) -> bool:
        """Take over what another process did to the store; says whether there was anything.

        Other factors are swapped in; another bundle, chip or state of the chip is loaded anew.
        What cannot be taken over leaves the agent as it was, and is told.

        Raises:
            StoreError: the store cannot be read, or has gone; the agent answers on.
        """
        with self._changing:
            changed = self._take_over()
        if self._failure is not None:
            self._failure = None
            self._tell(Notice("store", {"state": "readable again"}))
        return changed

    @contextlib.contextmanager
    def between_changes(self) -> Iterator[Session | None]:
        """The session, for something short with its runtime; None while that is in use."""
        free = self._changing.acquire(blocking=False)
        try:
            yield self._running.session if free else None
        finally:
            if free:
                self._changing.release()

    def stop(self) -> None:
        """Let a calibration under way end without a commit, unless it commits already."""
        self._stopping.set()

    def close(self) -> None:
        """Stop, wait for what is under way, and give back what is held."""
        self.stop()
        self._ends.close()

    def __enter__(self) -> Self:
        """The agent itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _take_over(self) -> bool:
        """Follow the store; the caller holds `_changing`."""
        before, self._running = self._running, self._newest.of(self._running)
        return self._running is not before

    def _go_on(self) -> None:
        if self._stopping.is_set():
            raise StoppedError("the agent was told to stop: nothing was changed")

    def _failed(self, error: Exception) -> None:
        """The store cannot be followed: told once, until it can be again."""
        if str(error) != self._failure:
            self._failure = str(error)
            self._tell(warning("store", str(error), factors=self.sequence))

    def _end(self) -> None:
        with self._changing:
            self._running.session.close()

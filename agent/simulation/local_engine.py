"""Workers on this machine: processes that are started anew, and replaced when they die.

Each has one chip at a time and a pipe of its own, so that it is always known whose chip was lost;
a pool of `concurrent.futures` breaks as a whole when one of its processes is killed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from agent.errors import AgentError
from agent.simulation.engine import MOST_LOSSES, Finished, GivenUp, Outcome, Tell
from agent.simulation.interrupts import interrupts_wait
from agent.simulation.plan import Task
from agent.simulation.worker import READY, work
from agent.simulation.workload import Workload
from agent.threads import one_thread


@dataclass(frozen=True)
class _Worker:
    """A process, our end of its pipe, and the chip that it has or will have."""

    process: SpawnProcess
    connection: Connection
    task: Task

    def send(self, *messages: object) -> None:
        """Send what it waits for; if it is dead, that is seen when its answer is waited for."""
        with contextlib.suppress(OSError):
            for message in messages:
                self.connection.send(message)

    def end(self) -> None:
        """Nothing is lost that is not done again."""
        self.connection.close()
        self.process.kill()
        self.process.join()


@dataclass(frozen=True)
class LocalEngine:
    """See `agent.simulation.engine.Engine`."""

    workers: int

    def __call__(self, workload: Workload, tasks: Sequence[Task], tell: Tell) -> Iterator[Outcome]:
        """Simulate chips.

        Raises:
            AgentError: workers die before anything is finished, or what a chip raised.
        """
        pool = _Pool(workload, self.workers, deque(tasks), tell)
        try:
            while pool.waiting or pool.busy:
                pool.fill()
                yield from pool.outcomes()
        finally:
            for worker in pool.busy:
                worker.end()


@dataclass
class _Pool:
    """Workers that have a chip, and the chips that nobody has."""

    workload: Workload
    size: int
    waiting: deque[Task]
    tell: Tell
    busy: list[_Worker] = field(default_factory=list)
    losses: Counter[Task] = field(default_factory=Counter)
    anything_done: bool = False

    def fill(self) -> None:
        """Start workers while there are chips for them."""
        while self.waiting and len(self.busy) < self.size:
            self.busy.append(_started(self.waiting.popleft()))

    def outcomes(self) -> Iterator[Outcome]:
        """What became of the chips of those that have answered or died; waits for the first."""
        found = wait([worker.connection for worker in self.busy])
        for worker in [worker for worker in self.busy if worker.connection in found]:
            answer = _received(worker)
            if answer == READY:
                worker.send(self.workload, tuple(worker.task))
                continue
            self.busy.remove(worker)
            if answer is None:
                yield from self._lost(worker)
            elif isinstance(answer, Exception):
                worker.end()
                raise answer
            else:
                self._give_next(worker)
                yield Finished(answer)

    def _give_next(self, worker: _Worker) -> None:
        self.anything_done = True
        if self.waiting:
            following = replace(worker, task=self.waiting.popleft())
            following.send(tuple(following.task))
            self.busy.append(following)
        else:
            worker.end()

    def _lost(self, worker: _Worker) -> Iterator[Outcome]:
        """A worker has died: its chip is done again, unless it was its third."""
        task, why = worker.task, _death(worker)
        self.losses[task] += 1
        if self.losses[task] < MOST_LOSSES:
            self.tell(f"a worker {why} while it had {_chip(task)}: it is done again")
            self.waiting.appendleft(task)
        elif self.anything_done:
            yield GivenUp(task, f"its worker {why}, {MOST_LOSSES} times")
        else:
            raise AgentError(_hopeless(why))


def _started(task: Task) -> _Worker:
    """A new worker; what it needs is sent when it says that it is ready.

    Were it handed over with the start, `multiprocessing` would wait for ever for a process that
    dies before it has read it.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs,), daemon=True)
    # An interrupt from the terminal is for us alone, also before the worker can say so. The tracker
    # is begun before, as beginning it unblocks the signal again.
    resource_tracker.ensure_running()
    with interrupts_wait(), one_thread():
        process.start()
    theirs.close()
    return _Worker(process, ours, task)


def _received(worker: _Worker) -> Any:
    """`READY`, a chip's record or the exception that ended it; None from a worker that died."""
    try:
        return worker.connection.recv()
    except (EOFError, OSError):
        return None


def _death(worker: _Worker) -> str:
    """How a worker died, as the second part of a sentence."""
    worker.process.join()
    worker.connection.close()
    code = worker.process.exitcode or 0
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _chip(task: Task) -> str:
    return f"chip {task.seed}" + (f" of group {task.group + 1}" if task.group else "")


def _hopeless(why: str) -> str:
    hint = "it may need more memory than there is: try --workers 1, or fewer --images"
    return f"each worker {why} before it finished a single chip; {hint}"

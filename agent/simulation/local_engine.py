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
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from agent.errors import AgentError
from agent.simulation.engine import MOST_LOSSES, Finished, GivenUp, Outcome, Tell
from agent.simulation.plan import Task
from agent.simulation.worker import work
from agent.simulation.workload import Workload
from agent.threads import one_thread


@dataclass(frozen=True)
class _Worker:
    """A process, our end of its pipe, and the chip that it has."""

    process: SpawnProcess
    connection: Connection
    task: Task

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
        waiting = deque(tasks)
        losses: Counter[Task] = Counter()
        anything_done = False
        busy: list[_Worker] = []
        try:
            while waiting or busy:
                while waiting and len(busy) < self.workers:
                    busy.append(_started(workload, waiting.popleft()))
                for worker in _ready(busy):
                    busy.remove(worker)
                    answer = _received(worker)
                    if answer is not None:
                        anything_done = True
                        if waiting:
                            busy.append(_given(worker, waiting.popleft()))
                        else:
                            worker.end()
                        yield Finished(answer)
                        continue
                    losses[worker.task] += 1
                    why = _death(worker)
                    if losses[worker.task] < MOST_LOSSES:
                        tell(f"a worker {why} while it had {_chip(worker.task)}: it is done again")
                        waiting.appendleft(worker.task)
                    elif anything_done:
                        yield GivenUp(worker.task, f"its worker {why}, {MOST_LOSSES} times")
                    else:
                        raise AgentError(_hopeless(why))
        finally:
            for worker in busy:
                worker.end()


def _started(workload: Workload, task: Task) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, workload), daemon=True)
    # An interrupt from the terminal is for us alone, also before the worker can say so: a blocked
    # signal stays blocked in a process that is started meanwhile. The tracker, which the first
    # start would begin, unblocks it.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        with one_thread():
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    theirs.close()
    return _given(_Worker(process, ours, task), task)


def _given(worker: _Worker, task: Task) -> _Worker:
    with contextlib.suppress(OSError):  # it is dead, as is seen when its answer is waited for
        worker.connection.send(tuple(task))
    return _Worker(worker.process, worker.connection, task)


def _ready(busy: Sequence[_Worker]) -> list[_Worker]:
    """Those that have answered or died; waits for the first."""
    found = wait([worker.connection for worker in busy])
    return [worker for worker in busy if worker.connection in found]


def _received(worker: _Worker) -> dict[str, Any] | None:
    """A chip's record; None from a worker that died.

    Raises:
        Exception: what the chip raised.
    """
    try:
        answer = worker.connection.recv()
    except (EOFError, OSError):
        return None
    if isinstance(answer, Exception):
        worker.end()
        raise answer
    record: dict[str, Any] = answer
    return record


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

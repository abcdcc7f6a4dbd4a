"""A worker process: opens the workload once, then does one chip after another."""

from __future__ import annotations

import contextlib
import signal
from multiprocessing.connection import Connection
from typing import Any

from agent.allocator import keep_freed_memory
from agent.simulation.chip_life import Workshop, chip_life
from agent.simulation.plan import Task
from agent.simulation.workload import Workload


def work(connection: Connection, workload: Workload) -> None:
    """Take chips from a connection until it is closed, and send back what became of each.

    What is sent is a chip's record, or the exception that ended it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us hears it, and ends us
    keep_freed_memory()
    workshop: Workshop | None = None
    with contextlib.suppress(EOFError, OSError):  # who started us has ended
        while True:
            task = Task(*connection.recv())
            workshop = workshop or Workshop.of(workload)
            connection.send(_answer(workshop, task))


def _answer(workshop: Workshop, task: Task) -> dict[str, Any] | Exception:
    try:
        return chip_life(workshop, task)
    except Exception as error:  # noqa: BLE001  # it ends the run, in the process that shows it
        error.add_note(f"chip of group {task.group}, seed {task.seed}")
        return error

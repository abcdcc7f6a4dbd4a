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

READY = "ready"
"""The first thing that a worker says: it has started and reads what is sent."""


def work(connection: Connection) -> None:
    """Say `READY`, take the workload, then chips until the connection is closed.

    What is sent for each chip is its record, or the exception that ended it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us hears it, and ends us
    keep_freed_memory()
    workshop: Workshop | None = None
    with contextlib.suppress(EOFError, OSError):  # who started us has ended
        connection.send(READY)
        workload: Workload = connection.recv()
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

"""Workers of a cluster, through Dask: `dask scheduler` and `dask worker` run already.

The workload is a task of its own, so that it is sent to each worker once, and made again by the
scheduler if every worker that held it is lost. Dask does the chips of a lost worker again.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from agent import __version__
from agent.allocator import keep_freed_memory
from agent.errors import AgentError, RuntimeUnavailableError
from agent.simulation.chip_life import Workshop, chip_life
from agent.simulation.engine import MOST_LOSSES, Finished, GivenUp, Outcome, Tell
from agent.simulation.plan import Task
from agent.simulation.workload import Workload
from agent.threads import is_one_thread
from calib.errors import CalibError
from device_models.errors import DeviceModelError

if TYPE_CHECKING:
    from distributed import Client, Future

AHEAD = 2
"""Chips in flight for each worker: one that it works on, one that waits there."""

PATIENCE_S = 10
_OURS = (AgentError, CalibError, DeviceModelError)


@dataclass(frozen=True)
class DaskEngine:
    """See `agent.simulation.engine.Engine`."""

    address: str

    def __call__(self, workload: Workload, tasks: Sequence[Task], tell: Tell) -> Iterator[Outcome]:
        """Simulate chips.

        Raises:
            RuntimeUnavailableError: Dask is not installed, the address leads nowhere, there are no
                workers, or they have another npp-agent.
            AgentError: a worker failed, or what a chip raised.
        """
        client = _connected(self.address)
        try:
            workers = _ready_workers(client, self.address, tell)
            yield from _outcomes(client, self.address, workload, tasks, AHEAD * workers, tell)
        finally:
            client.close(timeout=PATIENCE_S)


def _connected(address: str) -> Client:
    try:
        from distributed import Client  # noqa: PLC0415 - optional, and slow to import
        from distributed.comm import get_address_host_port  # noqa: PLC0415 - the same
    except ImportError as error:
        raise RuntimeUnavailableError(
            "--scheduler needs Dask, which is not installed here: pip install 'npp-agent[cluster]'"
        ) from error
    # What it would log in many lines, we say in one.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    try:
        get_address_host_port(address, strict=True)
        with warnings.catch_warnings():
            # It warns of other versions in many lines; ours are compared below, in a sentence.
            warnings.simplefilter("ignore")
            return Client(address, timeout=PATIENCE_S, set_as_default=False)
    except Exception as error:  # Dask raises many kinds: unknown protocols, hosts, versions
        raise RuntimeUnavailableError(
            f"no Dask scheduler answers at {address[:80]} ({_said(error)}); start one with 'dask "
            "scheduler' and give the address that it prints, such as tcp://HOST:8786"
        ) from error


def _ready_workers(client: Client, address: str, tell: Tell) -> int:
    """How many worker processes there are; they have what it takes."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE_S)
        facts = client.run(worker_facts)
    except TimeoutError as error:
        raise RuntimeUnavailableError(
            f"the scheduler at {address} has no workers; start some with 'dask worker {address}'"
        ) from error
    except Exception as error:  # whatever unpickling our function there leads to
        raise RuntimeUnavailableError(_no_agent(error)) from error
    ours = worker_facts()
    for worker, said in facts.items():
        for what in ("npp-agent", "NumPy"):
            if said[what] != ours[what]:
                raise RuntimeUnavailableError(
                    f"the worker {worker} has {what} {said[what]}, here it is {ours[what]}: "
                    "figures would differ; install the same there"
                )
    loose = sum(not said["one thread"] for said in facts.values())
    if loose:
        tell(
            f"{loose} of {len(facts)} workers may give NumPy several threads, which changes the "
            "last bits of figures: start them with OMP_NUM_THREADS=1"
        )
    return len(facts)


def worker_facts() -> dict[str, Any]:
    """What decides whether a worker gives the same figures as we do."""
    return {"npp-agent": __version__, "NumPy": np.__version__, "one thread": is_one_thread()}


def _outcomes(  # noqa: PLR0913, PLR0917  # what, where, and whom to tell
    client: Client,
    address: str,
    workload: Workload,
    tasks: Sequence[Task],
    in_flight: int,
    tell: Tell,
) -> Iterator[Outcome]:
    run = f"npp-agent-{os.getpid()}-{os.urandom(4).hex()}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the workload is large is known
        held = client.submit(_held, workload, key=f"{run}-workload", pure=False)
    waiting = iter(tasks)
    chips: dict[str, Task] = {}

    def submitted(count: int) -> set[Future]:
        """The next chips, at most so many."""
        futures = set()
        for task in islice(waiting, count):
            key = f"{run}-{task.group}-{task.seed}"
            chips[key] = task
            futures.add(client.submit(chip_on_worker, held, run, tuple(task), key=key, pure=False))
        return futures

    flying = submitted(in_flight)
    while flying:
        done = _first_done(client, address, flying, tell)
        flying = (flying - done) | submitted(len(done))
        for future in done:
            yield _outcome(future, chips.pop(future.key), address)
            future.release()


def _first_done(client: Client, address: str, flying: set[Future], tell: Tell) -> set[Future]:
    """Those of the chips in flight that are done; waits for the first, also where nobody works."""
    from distributed import wait  # noqa: PLC0415 - it is there by now

    told = False
    while True:
        try:
            with client.as_current():
                found: set[Future] = wait(flying, PATIENCE_S, "FIRST_COMPLETED").done
        except TimeoutError:
            if not told and not client.scheduler_info()["workers"]:
                tell(f"no worker is left; waiting for another: dask worker {address}")
                told = True
        except (CancelledError, OSError) as error:
            raise AgentError(f"the Dask scheduler at {address} is gone ({_said(error)})") from error
        else:
            return found


def _outcome(future: Future, task: Task, address: str) -> Outcome:
    from distributed import KilledWorker  # noqa: PLC0415 - it is there by now

    try:
        return Finished(future.result())
    except KilledWorker:
        return GivenUp(task, f"its worker died, more than {MOST_LOSSES} times")
    except _OURS:
        raise
    except Exception as error:
        raise AgentError(
            f"a worker of {address} failed at chip {task.seed} of group {task.group + 1} "
            f"({_said(error)}); look at what it printed"
        ) from error


def _held(workload: Workload) -> Workload:
    """What is sent to each worker once."""
    return workload


_lock = threading.Lock()
_opened: dict[str, Workshop] = {}


def chip_on_worker(workload: Workload, run: str, task: tuple[int, int]) -> dict[str, Any]:
    """One chip, on a worker of the cluster, which opens the workload once.

    A worker with several threads does one chip after another all the same: its memory is that of
    one, and the references that a network remembers belong to one thread at a time.
    """
    with _lock:
        if run not in _opened:
            keep_freed_memory()
            _opened.clear()  # that of an earlier run
            _opened[run] = Workshop.of(workload)
        return chip_life(_opened[run], Task(*task))


def _no_agent(error: Exception) -> str:
    return (
        f"the workers cannot run npp-agent ({_said(error)}); install npp-agent {__version__} and "
        f"NumPy {np.__version__} there"
    )


def _said(error: Exception) -> str:
    words = str(error).split("\n", maxsplit=1)[0][:160]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__

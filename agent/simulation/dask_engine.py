"""Workers of a cluster, through Dask: `dask scheduler` and `dask worker` run already.

The workload is a task of its own, so that it is sent to each worker once, and made again by the
scheduler if every worker that held it is lost. Dask does the chips of a lost worker again.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
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
            _check_workers(client, self.address, tell)
            yield from _Flight(client, self.address, workload, iter(tasks), tell).outcomes()
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


def _check_workers(client: Client, address: str, tell: Tell) -> None:
    """There are workers, and they have what it takes."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE_S)
        single = client.run(check_versions, *_versions())
    except TimeoutError as error:
        raise RuntimeUnavailableError(
            f"the scheduler at {address} has no workers; start some with 'dask worker {address}'"
        ) from error
    except AgentError:
        raise
    except Exception as error:  # whatever unpickling our function there leads to
        raise RuntimeUnavailableError(
            f"the workers cannot run npp-agent ({_said(error)}); install npp-agent {__version__} "
            f"and NumPy {np.__version__} there"
        ) from error
    if not all(single.values()):
        tell(
            f"{sum(not one for one in single.values())} of {len(single)} workers may give NumPy "
            "several threads, which changes the last bits of figures: start them with "
            "OMP_NUM_THREADS=1"
        )


def _versions() -> tuple[str, str]:
    return __version__, np.__version__


def check_versions(agent_wanted: str, numpy_wanted: str) -> bool:
    """On a worker: compare what decides about figures; whether NumPy has one thread there.

    Raises:
        RuntimeUnavailableError: another version.
    """
    wanted = (agent_wanted, numpy_wanted)
    for name, here, there in zip(("npp-agent", "NumPy"), _versions(), wanted, strict=True):
        if here != there:
            raise RuntimeUnavailableError(
                f"the worker on {socket.gethostname()} has {name} {here}, the simulation was "
                f"started with {there}: figures would differ; install the same there"
            )
    return is_one_thread()


@dataclass
class _Flight:
    """Chips on their way: never more than the workers need not to wait for one."""

    client: Client
    address: str
    workload: Workload
    waiting: Iterator[Task]
    tell: Tell
    run: str = field(default_factory=lambda: f"npp-agent-{os.getpid()}-{os.urandom(4).hex()}")
    chips: dict[str, Task] = field(default_factory=dict)

    def outcomes(self) -> Iterator[Outcome]:
        """What becomes of all of them, in the order in which they are done."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the workload is large is known
            held = self.client.submit(_held, self.workload, key=f"{self.run}-workload", pure=False)
        flying = self._submitted(held, self._room(0))
        while flying:
            done = self._first_done(flying)
            flying -= done
            flying |= self._submitted(held, self._room(len(flying)))
            for future in done:
                yield _outcome(future, self.chips.pop(future.key), self.address)
                future.release()

    def _submitted(self, held: Future, count: int) -> set[Future]:
        """The next chips, at most so many."""
        futures = set()
        for task in islice(self.waiting, count):
            key = f"{self.run}-{task.group}-{task.seed}"
            self.chips[key] = task
            arguments = (held, self.run, tuple(task), _versions())
            futures.add(self.client.submit(chip_on_worker, *arguments, key=key, pure=False))
        return futures

    def _room(self, flying: int) -> int:
        """How many more may be on their way; workers come and go."""
        return max(AHEAD * max(self._workers(), 1) - flying, 0)

    def _workers(self) -> int:
        try:
            return len(self.client.nthreads())
        except (CancelledError, OSError) as error:
            raise self._gone(error) from error

    def _first_done(self, flying: set[Future]) -> set[Future]:
        """Those that are done; waits for the first, also where nobody works."""
        from distributed import wait  # noqa: PLC0415 - it is there by now

        told = False
        while True:
            try:
                with self.client.as_current():
                    found: set[Future] = wait(flying, PATIENCE_S, "FIRST_COMPLETED").done
            except TimeoutError:
                if not told and not self._workers():
                    self.tell(f"no worker is left; waiting for another: dask worker {self.address}")
                    told = True
            except (CancelledError, OSError) as error:
                raise self._gone(error) from error
            else:
                return found

    def _gone(self, error: BaseException) -> AgentError:
        return AgentError(f"the Dask scheduler at {self.address} is gone ({_said(error)})")


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


def chip_on_worker(
    workload: Workload, run: str, task: tuple[int, int], versions: tuple[str, str]
) -> dict[str, Any]:
    """One chip, on a worker of the cluster, which opens the workload once.

    A worker with several threads does one chip after another all the same: its memory is that of
    one, and the references that a network remembers belong to one thread at a time.
    """
    with _lock:
        if run not in _opened:
            check_versions(*versions)  # this worker may have come later than all were asked
            keep_freed_memory()
            _opened.clear()  # that of an earlier run
            _opened[run] = Workshop.of(workload)
        return chip_life(_opened[run], Task(*task))


def _said(error: BaseException) -> str:
    words = str(error).split("\n", maxsplit=1)[0][:160]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__

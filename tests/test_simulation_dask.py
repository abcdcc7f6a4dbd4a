"""Simulations on a cluster: a real Dask scheduler and workers, on the loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from agent import __version__
from agent.errors import RuntimeUnavailableError
from agent.simulation.dask_engine import check_versions
from tests.agent_stores import ROOT
from tests.simulations import (
    Lot,
    ended,
    finished_chips,
    same,
    simulated,
    started,
    wait_until,
)

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow


@dataclass
class Cluster:
    """A scheduler and its workers, all processes of this machine."""

    folder: Path
    scheduler: subprocess.Popen[str]
    workers: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def address(self) -> str:
        found: str = json.loads((self.folder / "scheduler.json").read_text())["address"]
        return found

    def add_worker(self, *options: str) -> None:
        scratch = ("--local-directory", str(self.folder / "scratch"))
        fixed = ("--nthreads", "1", "--no-nanny", *scratch)
        self.workers.append(dask("worker", self.address, *fixed, *options))

    def end(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.communicate()


def dask(command: str, *arguments: str) -> subprocess.Popen[str]:
    where = ("--host", "127.0.0.1", "--no-dashboard")
    return subprocess.Popen(
        [sys.executable, "-m", "dask", command, *arguments, *where],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    file = tmp_path / "scheduler.json"
    scheduler = dask("scheduler", "--port", "0", "--scheduler-file", str(file))
    try:
        wait_until(lambda: file.exists() and file.read_text().endswith("}"), scheduler)
        running = Cluster(tmp_path, scheduler)
    except BaseException:
        scheduler.kill()
        raise
    yield running
    running.end()


def test_a_cluster_that_loses_a_worker_gives_the_same_to_the_bit(
    cluster: Cluster, tmp_path: Path
) -> None:
    lot = Lot.made(tmp_path)
    local, out = tmp_path / "local", tmp_path / "cluster"
    assert simulated(*lot.arguments, "--out", local).code == 0
    cluster.add_worker()
    cluster.add_worker()
    process = started(*lot.arguments, "--scheduler", cluster.address, "--out", out)
    wait_until(lambda: len(finished_chips(out)) >= 2, process)
    cluster.workers[0].send_signal(signal.SIGKILL)
    at_death = len(finished_chips(out))
    said = ended(process)
    assert said.code == 0, said.err
    assert at_death < lot.chips, "the worker was killed when all was done"
    assert said.document["failed"] == []
    assert same(out, local)


def test_a_cluster_whose_last_worker_is_lost_waits_for_another(
    cluster: Cluster, tmp_path: Path
) -> None:
    lot = Lot.made(tmp_path)
    out = tmp_path / "cluster"
    cluster.add_worker()
    process = started(*lot.arguments, "--scheduler", cluster.address, "--out", out)
    wait_until(lambda: finished_chips(out), process)
    cluster.workers[0].send_signal(signal.SIGKILL)
    cluster.workers[0].wait()
    kept = finished_chips(out)
    assert len(kept) < lot.chips, "the worker was killed when all was done"
    cluster.add_worker()
    said = ended(process)
    assert said.code == 0, said.err
    assert finished_chips(out)[: len(kept)] == kept
    assert sorted(chip["seed"] for chip in finished_chips(out)) == list(range(lot.chips))


def test_an_interrupt_and_a_lost_scheduler_keep_what_is_finished(
    cluster: Cluster, tmp_path: Path
) -> None:
    lot = Lot.made(tmp_path)
    out = tmp_path / "cluster"
    arguments = (*lot.arguments, "--scheduler", cluster.address, "--out", out)
    cluster.add_worker()
    process = started(*arguments)
    wait_until(lambda: finished_chips(out), process)
    os.killpg(process.pid, signal.SIGINT)
    said = ended(process)
    assert said.code == 130
    assert "chips; they are kept in" in said.sentence()
    kept = finished_chips(out)
    process = started(*arguments)
    wait_until(lambda: len(finished_chips(out)) > len(kept), process)
    cluster.scheduler.kill()
    said = ended(process)
    assert said.code == 1
    assert "is gone" in said.err
    assert "Traceback" not in said.err
    assert finished_chips(out)[: len(kept)] == kept


def test_workers_without_npp_agent_or_with_another_are_one_sentence(
    cluster: Cluster, tmp_path: Path
) -> None:
    lot = Lot.made(tmp_path)
    (tmp_path / "absent.py").write_text("import sys\nsys.modules['agent'] = None\n")
    cluster.add_worker("--preload", str(tmp_path / "absent.py"))
    said = simulated(*lot.arguments, "--scheduler", cluster.address)
    assert said.code == 1
    assert "the workers cannot run npp-agent" in said.sentence()
    assert "ModuleNotFoundError" in said.err
    with pytest.raises(RuntimeUnavailableError, match=r"has npp-agent .*, the simulation was"):
        check_versions("0.0.1", np.__version__)
    with pytest.raises(
        RuntimeUnavailableError, match=r"has NumPy .*with 1.0: figures would differ"
    ):
        check_versions(__version__, "1.0")


def test_addresses_that_lead_nowhere_are_one_sentence(cluster: Cluster, tmp_path: Path) -> None:
    lot = Lot.made(tmp_path)
    for address in ("nonsense", "foo://x:1", "tcp://127.0.0.1:1"):
        said = simulated(*lot.arguments, "--scheduler", address)
        assert said.code == 1
        assert f"no Dask scheduler answers at {address}" in said.sentence()
    said = simulated(*lot.arguments, "--scheduler", cluster.address)
    assert said.code == 1
    assert "has no workers; start some with 'dask worker" in said.sentence()

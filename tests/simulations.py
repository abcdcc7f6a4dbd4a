"""Simulations started as processes of their own, for tests that interrupt and kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.simulation.journal import JOURNAL_NAME
from agent.simulation.outputs import REPORT, SUMMARY, TABLE
from tests.agent_stores import ROOT, Said, bundle, data

PATIENCE_S = 240


@dataclass(frozen=True)
class Lot:
    """A small bundle and data, and chips with read noise: in another order it would be other."""

    folder: Path
    chips: int = 12

    @classmethod
    def made(cls, folder: Path) -> Lot:
        """Write both files."""
        bundle(folder / "small.npp")
        data(folder / "data.npz")
        return cls(folder)

    @property
    def arguments(self) -> tuple[object, ...]:
        """Of `npp-agent simulate`."""
        files = (self.folder / "small.npp", "--data", self.folder / "data.npz")
        return (*files, "--chip", "sonos", "--ages", "1,1h,1d", "--chips", self.chips, "--json")


def same(one: Path, other: Path) -> bool:
    """Whether two runs left the same, to the bit."""
    names = (SUMMARY, TABLE, REPORT)
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def started(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """`npp-agent simulate`, in a group of its own as in a terminal."""
    return subprocess.Popen(
        [sys.executable, "-m", "agent.cli", "simulate", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str]) -> Said:
    """What it said, once it has ended."""
    out, err = process.communicate(timeout=PATIENCE_S)
    return Said(process.returncode, out, err)


def simulated(*arguments: object, **environment: str) -> Said:
    """The same from beginning to end."""
    return ended(started(*arguments, **environment))


def finished_chips(folder: Path) -> list[dict[str, Any]]:
    """The chips in a journal, without its head; a line that is being written is none yet."""
    path = folder / JOURNAL_NAME
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True)[1:] if line.endswith("\n")]


def wait_until(found: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait for something that a running process brings about."""
    deadline = time.monotonic() + PATIENCE_S
    while not found():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The worker processes that it started, by their ids."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        if parent == process.pid and b"spawn_main" in command:
            found.append(int(entry.name))
    return found


def kill_a_worker(process: subprocess.Popen[str], *, but: frozenset[int] = frozenset()) -> int:
    """Kill a worker outright, one that is none of `but`; returns its id."""
    wait_until(lambda: set(workers_of(process)) - but, process)
    victim = next(iter(set(workers_of(process)) - but))
    os.kill(victim, signal.SIGKILL)
    return victim

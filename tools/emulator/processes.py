"""Processes of subjects and rivals, each in a Python of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.subjects import Rival, Subject

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def peer_environment(*more: Path) -> dict[str, str]:
    """The environment of a process beside this one: one thread, and the project importable.

    Args:
        more: further folders to import from.
    """
    folders = (ROOT, ROOT / "tools", *more)
    threads = dict.fromkeys(ONE_THREAD, "1")
    return {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(map(str, folders))}


@dataclass(frozen=True)
class Peers:
    """Where rivals are."""

    aihwkit_python: Path | None = None
    crosssim: Path | None = None
    """Its checkout."""

    crosssim_python: Path | None = None

    def missing(self, rival: Rival) -> str | None:
        """Why a rival cannot be started; None where it can."""
        if rival.project == "aihwkit":
            return None if self.aihwkit_python else "--aihwkit-python is not given"
        both = self.crosssim and self.crosssim_python
        return None if both else "--crosssim and --crosssim-python are not given"


@dataclass
class Running:
    """A subject's process."""

    process: subprocess.Popen[str]
    ready: Mapping[str, Any] = field(default_factory=dict)
    """What it said first: `classes`, `build_ms`, `versions`; or `missing`."""

    def ask(self, word: str) -> dict[str, Any]:
        """One line out, one line in."""
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next line.

        Raises:
            SystemExit: the process has ended.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args!r} ended without an answer: see above")
        return dict(json.loads(line))

    def stop(self) -> float:
        """End it; gives the peak resident megabytes."""
        peak_mb = float(self.ask("stop")["peak_mb"])
        self.process.communicate()
        return peak_mb


def start(subject: Subject, bundle: Path, batch: Path) -> Running:
    """Start one of our subjects on a bundle and a batch of samples (.npy)."""
    environment = {**peer_environment(), "NPP_NUMBA": "1" if subject.numba else "0"}
    script = [str(HERE / "worker.py"), str(bundle), str(batch), subject.name]
    return _started([sys.executable, *script], environment)


def start_rival(rival: Rival, peers: Peers, bundle: Path, batch: Path) -> Running:
    """Start a rival that is not missing."""
    python, more = peers.aihwkit_python, list[Path]()
    if rival.project == "crosssim":
        assert peers.crosssim is not None
        python, more = peers.crosssim_python, [peers.crosssim]
    script = [str(HERE / "rival_worker.py"), str(bundle), str(batch), rival.name]
    return _started([str(python), *script], peer_environment(*more))


def _started(command: Sequence[str], environment: Mapping[str, str]) -> Running:
    process = subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    running = Running(process)
    running.ready = running.answer()
    if "missing" in running.ready:
        process.communicate()
    return running

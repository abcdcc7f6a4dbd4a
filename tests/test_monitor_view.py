"""The live view of `monitor` on a real terminal: what tmux sees of it, and what its keys do."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.link.service import ServeOptions
from agent.store.store import Store
from tests.agent_stores import ROOT, bundle, npp
from tests.links import reached
from tests.monitoring_servers import eventually, program

OPEN = ServeOptions(allow_unauthenticated=True)
Capture = pytest.CaptureFixture[str]
WIDTH, HEIGHT = 110, 36


@dataclass(frozen=True)
class Terminal:
    """A tmux session of its own server."""

    tmux: tuple[str, ...]

    def screen(self) -> str:
        """What stands on it."""
        return self.said("capture-pane", "-p")

    def types(self, key: str) -> None:
        """Type a key."""
        self.said("send-keys", key)

    def shows(self, *words: str) -> str:
        """The screen, once all of this stands on it."""
        found: Callable[[], str] = lambda: (  # noqa: E731  # beside its only use
            screen if all(word in (screen := self.screen()) for word in words) else ""
        )
        return eventually(found, every_s=0.1)

    def said(self, *arguments: str) -> str:
        """What a command of tmux prints."""
        done = subprocess.run(
            [*self.tmux, *arguments], capture_output=True, text=True, check=True, timeout=30
        )
        return done.stdout


@contextmanager
def terminal(command: list[str], folder: Path) -> Iterator[Terminal]:
    """A terminal in which a command runs; afterwards its shell says the exit code."""
    tmux = (program("tmux", "tmux"), "-S", str(folder / "tmux"), "-f", "/dev/null")
    found = Terminal(tmux)
    shell = f"{shlex.join(command)}; echo ended with $?; exec sleep 600"
    subprocess.run(
        [*tmux, "new-session", "-d", "-x", f"{WIDTH}", "-y", f"{HEIGHT}", shell],
        cwd=ROOT,
        env={**os.environ, "LC_ALL": "C.UTF-8", "TMUX": ""},
        check=True,
    )
    try:
        yield found
    finally:
        found.said("kill-server")


@pytest.mark.slow
def test_the_view_shows_the_board_and_its_keys_work(tmp_path: Path, capsys: Capture) -> None:
    program("tmux", "tmux")
    store = tmp_path / "store"
    packed = bundle(tmp_path / "small.npp")
    npp(capsys, "install", packed, "--store", store, "--chip", "mismatch-30")
    with reached(store, "tcp-listen://:0", options=OPEN) as (port, _):
        command = [sys.executable, "-m", "agent.cli", "monitor", port, "--every-s", "0.1"]
        with terminal(command, tmp_path) as view:
            view.shows("small on mismatch-30", "factors none", "m measure", "q quit")
            view.types("m")
            view.shows("unknown", "measure done")
            view.types("c")
            screen = view.shows("healthy", "factors 1", "calibrate done", "calibration: job 2")
            assert "has begun" not in screen
            layers = npp(capsys, "measure", "--port", port, "--json").document["layers"]
            rows = {line.split()[1]: line for line in screen.splitlines() if "│" in line}
            for layer in layers:
                assert layer["name"] in screen
            assert any("█" in row for row in rows.values()), screen
            assert any(block in screen for block in "▁▂▃▄▅▆▇"), screen
            view.types("r")
            view.shows("y for yes")
            view.types("n")
            view.shows("m measure")
            assert Store(store).load_factors() is not None
            view.types("r")
            view.shows("y for yes")
            view.types("y")
            view.shows("factors none")
            assert Store(store).load_factors() is None
            view.types("q")
            view.shows("ended with 0")

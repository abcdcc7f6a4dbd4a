"""`npp-agent run` as a process: answers, signals, systemd, others on the same store."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from agent.api import Agent
from agent.running import Running, active_sequence
from agent.session import open_session
from agent.store.bundle import open_bundle
from agent.store.disk import SystemDisk
from agent.store.package import read_package
from agent.store.store import Store
from agent.workstation.demo_bundle import DEMO_BUNDLE
from tests.agent_stores import ROOT, labelled, npp, npp_process
from tests.plugin_sites import installed as plugin_installed
from tests.test_agent_api import put

WAIT_S = 120.0
QUICK = {"NPP_CANARIES_EVERY_S": "0", "NPP_CANARIES_SHARE": "0.5", "NPP_SERVICE_FOLLOW_S": "0.02"}


MENDING = {**QUICK, "NPP_CALIBRATION_LEAST_INTERVAL_S": "0.1"}


def reference_inputs(bundle: Path) -> np.ndarray[Any, Any]:
    """Some of the samples that a bundle was packed with, [n, ...]."""
    network = read_package(open_bundle(bundle)).network
    return network.references.block(np.arange(32), with_rows=False).inputs


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return put(tmp_path / "store", tmp_path)


def npy(*arrays: Any) -> bytes:
    file = io.BytesIO()
    for x in arrays:
        np.save(file, x)
    return file.getvalue()


@dataclass
class Service:
    """A service that runs, its log in a file."""

    process: subprocess.Popen[bytes]
    log: Path
    answers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def input(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def wait_for(self, text: str) -> None:
        ends = time.monotonic() + WAIT_S
        while text not in self.said():
            assert self.process.poll() is None or text in self.said(), self.said()
            assert time.monotonic() < ends, self.said()
            time.sleep(0.01)

    def ask(self, x: Any) -> dict[str, Any]:
        self.input.write(npy(x))
        self.input.flush()
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def end(self, which: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(which)
        return self.process.wait(WAIT_S)


@contextlib.contextmanager
def running(store: Path, *options: object, **environment: str) -> Iterator[Service]:
    log = store.parent / "log"
    arguments = ("-m", "agent.cli", "run", "--store", str(store), *map(str, options))
    with (
        log.open("wb") as stream,
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
        ) as process,
    ):
        service = Service(process, log)
        try:
            service.wait_for("event=ready")
            yield service
        finally:
            process.kill()


def piped(store: Path, content: bytes, *options: object) -> subprocess.CompletedProcess[bytes]:
    """A service whose whole input is this."""
    arguments = (
        "-m",
        "agent.cli",
        "run",
        "--source",
        "-",
        "--store",
        str(store),
        *map(str, options),
    )
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, input=content, capture_output=True, check=False
    )


def test_every_sample_is_answered_in_order_and_the_end_of_input_ends_it(store: Path) -> None:
    x, _ = labelled(6, 5)
    bad = np.zeros(3)
    done = piped(store, npy(x[0], x[1:4], bad, x[4].astype(np.float64), x[5]))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["number"] for line in lines] == list(range(1, 8))
    assert [line["source"] for line in lines] == ["1", "2", "2", "2", "3", "4", "5"]
    assert "shape [3]" in lines.pop(4)["error"]
    with Agent.open(store, follow_s=None) as agent:
        wanted = agent.infer(x)
    found = np.array([line["answer"] for line in lines], np.float32)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    assert [line["class"] for line in lines] == found.argmax(axis=1).tolist()
    assert {line["factors"] for line in lines} == {0}
    assert b"event=stopped reason=" in done.stderr
    assert b"answers=6 errors=1" in done.stderr


def test_junk_ends_it_with_an_error_after_what_came_before(store: Path) -> None:
    x, _ = labelled(1, 5)
    done = piped(store, npy(x) + b"no array at all")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith("npp-agent: standard input: array 2 does not begin as one")
    done = piped(store, npy(x)[:-5])
    assert done.returncode == 1
    assert b"array 1 ends early" in done.stderr


def test_a_directory_is_answered_once(store: Path, tmp_path: Path) -> None:
    x, _ = labelled(3, 5)
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    np.save(inputs / "a.npy", x[0])
    np.savez(inputs / "b.npz", x=x)
    said = npp_process("run", "--store", store, "--source", inputs, "--once", "--json")
    assert said.code == 0, said.err
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert sorted((line["source"], line["index"]) for line in lines) == [
        ("a.npy", 0),
        ("b.npz", 0),
        ("b.npz", 1),
        ("b.npz", 2),
    ]


def test_signals_stop_it_with_exit_code_0(store: Path) -> None:
    for which in (signal.SIGTERM, signal.SIGINT):
        with running(store, "--source", "-") as service:
            assert service.ask(labelled(1, 5)[0])["number"] == 1
            assert service.end(which) == 0
            assert f"reason={which.name}" in service.said()


def test_a_persons_calibration_is_taken_over(store: Path) -> None:
    x, _ = labelled(1, 5)
    with running(store, "--source", "-", **QUICK) as service:
        before = service.ask(x)
        assert npp_process("calibrate", "--store", store).code == 0
        service.wait_for("event=factors factors=1")
        after = service.ask(x)
        assert service.end() == 0
    assert (before["factors"], after["factors"]) == (0, 1)
    assert before["answer"] != after["answer"]


def test_it_calibrates_by_itself(store: Path) -> None:
    with running(store, "--auto", **QUICK) as service:
        service.wait_for("event=trial passed=true factors=1")
        assert service.end() == 0
    assert active_sequence(Store(store)) == 1


def test_a_chip_that_ages_while_it_runs_is_seen_and_mended(tmp_path: Path) -> None:
    """The whole story, on the bundle of the demo and phase-change memory."""
    store = tmp_path / "store"
    done = npp_process("install", DEMO_BUNDLE, "--store", store, "--chip", "pcm")
    assert done.code == 0, done.err
    x = reference_inputs(DEMO_BUNDLE)
    with running(store, "--source", "-", "--auto", **MENDING) as service:
        service.wait_for("event=trial passed=true factors=1")
        service.wait_for("drift=healthy score=1")
        assert npp_process("measure", "--store", store, "--age-s", 3e7).code == 0
        service.wait_for("event=reloaded")
        service.wait_for("event=watch drift=drifted changed=chip")
        service.wait_for("event=trial passed=true factors=2")
        ends = time.monotonic() + WAIT_S  # how many inputs are looked at depends on their pace
        while "changed=input" not in service.said() and time.monotonic() < ends:
            for sample in x:
                assert service.ask(0.2 * sample)["factors"] in {1, 2}
        service.wait_for("changed=input")
        assert service.end() == 0
    lines = service.said().splitlines()
    order = ["event=watch drift=drifted", "calibrate=true gain=", "accepted=true factors=2"]
    places = [next(n for n, line in enumerate(lines) if part in line) for part in order]
    assert "event=reloaded" in "".join(lines[: places[0]])
    said = npp_process("status", "--store", store, "--json").document
    assert said["sequence"] == 2
    assert said["watch"]["drift"]["state"] == "healthy"


def test_a_calibration_under_way_ends_without_a_trace_or_with_its_commit(store: Path) -> None:
    with running(store, "--auto", **QUICK) as service:
        service.wait_for("event=decision calibrate=true")  # it has just begun
        assert service.end() == 0
    history = [e["event"] for e in Store(store).read_history().entries]
    assert history.count("calibration") == active_sequence(Store(store))
    assert npp_process("status", "--store", store).code == 0


class StoppingDisk(SystemDisk):
    """A disk on whose first write of factors somebody says stop."""

    def __init__(self) -> None:
        self.agent: Agent | None = None

    def write(self, handle: int, offset: int, data: bytes) -> None:
        if self.agent is not None:
            self.agent.stop()
        super().write(handle, offset, data)


def test_a_commit_that_has_begun_is_finished(store: Path) -> None:
    disk = StoppingDisk()
    agent = Agent(Running.of(open_session(Store(store, disk))))
    disk.agent = agent
    assert agent.calibrate().verdict.accepted
    assert agent.sequence == active_sequence(Store(store)) == 1
    assert [e["event"] for e in Store(store).read_history().entries] == ["calibration"]


def test_sighup_reads_the_configuration_again(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("", encoding="utf-8")
    with running(store, "--config", file) as service:
        file.write_text("[log]\nlevel = 'debug'\n[service]\nfollow_s = 3\n", encoding="utf-8")
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("event=reload changed=true")
        service.wait_for("takes a restart")
        file.write_text("[log]\nlevel = 'lots'\n[canaries]\nshare = 7\n", encoding="utf-8")
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("log.level is 'lots'")
        service.wait_for("canaries.share is 7.0")
        assert service.end() == 0


def test_systemd_hears_of_it_and_its_journal_gets_priorities(store: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    log = store.parent / "log"
    log.touch()
    facts = log.stat()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(path)
        heard.settimeout(WAIT_S)
        environment = {
            "NOTIFY_SOCKET": path,
            "WATCHDOG_USEC": "20000",
            "JOURNAL_STREAM": f"{facts.st_dev}:{facts.st_ino}",
        }
        with running(store, **environment) as service:
            assert heard.recv(500).startswith(b"READY=1\nSTATUS=")
            assert heard.recv(500) == b"WATCHDOG=1"
            assert service.end() == 0
        told = b""
        while told != b"STOPPING=1":
            told = heard.recv(500)
    for line in service.said().splitlines():
        assert line.startswith("<6>event="), line


def test_one_agent_runs_on_a_store(store: Path) -> None:
    with running(store) as service:
        said = npp_process("run", "--store", store)
        assert said.code == 4
        assert "another agent runs on" in said.sentence()
        assert npp_process("status", "--store", store).code == 0
        assert service.end() == 0


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--store", "nowhere"), "no bundle is installed in nowhere"),
        (("--source", "no/such/directory"), "is no directory; make it first"),
        (("--source", "nobody"), "no plugin offers a source of that name"),
        (("--config", "nothing.toml"), "cannot read the configuration nothing.toml"),
    ],
)
def test_what_cannot_run(
    options: tuple[str, str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = npp(capsys, "run", *options)
    assert said.code == 1
    assert what in said.sentence()


def test_nobody_reads_the_answers(store: Path) -> None:
    x, _ = labelled(1, 5)
    with running(store, "--source", "-") as service:
        assert service.process.stdout is not None
        service.process.stdout.close()
        service.input.write(npy(x))
        service.input.flush()
        assert service.process.wait(WAIT_S) == 1
    assert "Traceback" not in service.said()


SOURCE = """
import numpy as np

def frames():
    for number in range(3):
        yield f"frame-{number}", np.full((2, 8, 8), number / 10)
"""


def test_a_plugin_brings_a_source(store: Path, tmp_path: Path) -> None:
    site = plugin_installed(tmp_path / "site", "camera", SOURCE, {"ours": "camera:frames"})
    entries = next(site.glob("*/entry_points.txt"))
    entries.write_text(entries.read_text().replace("npp_agent.devices", "npp_agent.sources"))
    path = os.pathsep.join([str(site), str(ROOT)])
    said = npp_process("run", "--store", store, "--source", "ours", PYTHONPATH=path)
    assert said.code == 0, said.err
    names = [json.loads(line)["source"] for line in said.out.splitlines()]
    assert names == ["frame-0", "frame-1", "frame-2"]
    said = npp_process("run", "--store", store, "--source", "theirs", PYTHONPATH=path)
    assert "(installed: ours)" in said.sentence()


def resident_megabytes(process: int) -> float:
    text = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if "VmRSS" in line)


@pytest.mark.slow
def test_memory_stays_flat(store: Path) -> None:
    x, _ = labelled(50, 5)
    content = npy(*x)
    assert len(content) < 2**16  # what a pipe takes while nobody reads it
    with running(store, "--source", "-", NPP_CANARIES_EVERY_S="1") as service:
        assert service.process.stdout is not None
        sizes = []
        for number in range(100_000 // len(x)):
            service.input.write(content)
            service.input.flush()
            for _ in x:
                service.process.stdout.readline()
            if number % 100 == 0:
                sizes.append(resident_megabytes(service.process.pid))
        assert service.end() == 0
    assert max(sizes[1:]) - min(sizes[1:]) <= 2.0, sizes

"""Commands that ask a board at the other end of a line say what they say on the board."""

from __future__ import annotations

import csv
import errno
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agent.link.authentication import make_key, read_key
from agent.link.remote import Reach
from agent.link.service import ServeOptions
from agent.link.staging import StagingArea
from agent.link.watching import LineState, Snapshot, Watching
from agent.store.bundle import open_bundle
from agent.store.layout import UPLOADS_MARK
from agent.store.package import package_bytes, read_package
from agent.store.store import Store
from agent.workstation.metrics import Metrics
from agent.workstation.monitor_view import screen, sparkline
from tests.agent_stores import ROOT, bundle, npp, npp_process
from tests.fake_disks import FailingDisk
from tests.fakes import copy_tree
from tests.links import reached

Capture = pytest.CaptureFixture[str]
CHIP = ("--chip", "mismatch-30")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(tmp_path_factory.mktemp("packed") / "small.npp")


@pytest.fixture
def store(packed: Path, tmp_path: Path, capsys: Capture) -> Path:
    path = tmp_path / "store"
    assert npp(capsys, "install", packed, "--store", path, *CHIP).code == 0
    return path


def without_time(document: Any) -> Any:
    """The document without what no two runs have in common."""
    if isinstance(document, dict):
        return {
            name: without_time(value)
            for name, value in document.items()
            if name not in {"seconds", "time_s", "store", "other_bytes_written", "bytes_used"}
        }
    return [without_time(one) for one in document] if isinstance(document, list) else document


def test_a_board_says_over_a_line_what_it_says_by_itself(
    store: Path, tmp_path: Path, capsys: Capture
) -> None:
    there = copy_tree(store, tmp_path / "there")
    with reached(there) as (port, _):
        for arguments in (
            ("status",),
            ("measure",),
            ("measure", "--fail-above", "0.01"),
            ("measure", "--age-s", "100"),
            ("calibrate", "--samples", "16"),
            ("calibrate", "--samples", "16", "--rank", "0", "--dry-run"),
            ("measure",),
            ("history",),
            ("history", "--last", "1"),
            ("status",),
            ("rollback",),
            ("rollback",),
        ):
            here = npp(capsys, *arguments, "--json", "--store", store)
            said = npp(capsys, *arguments, "--json", "--port", port)
            assert said.code == here.code, (arguments, said.err)
            if said.out:
                assert without_time(said.document) == without_time(here.document), arguments
            else:
                assert here.sentence().removeprefix("npp-agent: ") in said.sentence(), arguments


def test_tables_are_the_same_too(store: Path, tmp_path: Path, capsys: Capture) -> None:
    there = copy_tree(store, tmp_path / "there")
    with reached(there) as (port, _):
        for name in ("measure", "history"):
            assert npp(capsys, name, "--port", port).out == npp(capsys, name, "--store", store).out
        said = npp(capsys, "calibrate", "--port", port)
        assert "recoverable: layer error" in said.err
        assert "accepted: " in said.out


def test_a_refused_calibration_has_its_exit_code(store: Path, capsys: Capture) -> None:
    with reached(store) as (port, _):
        assert npp(capsys, "calibrate", "--port", port).code == 0
        said = npp(capsys, "calibrate", "--port", port, "--rank", "0", "--samples", "4")
        assert said.code == 3
        assert "refused: " in said.out


def test_a_store_that_another_holds_is_busy(store: Path, capsys: Capture) -> None:
    with reached(store) as (port, _), Store(store).lock():
        said = npp(capsys, "calibrate", "--port", port)
        assert said.code == 4
        assert "another npp-agent works on" in said.sentence()


def test_wrong_choices_are_told_by_the_board(store: Path, capsys: Capture) -> None:
    with reached(store) as (port, _):
        said = npp(capsys, "rollback", "--to", "7", "--port", port)
        assert said.code == 1
        assert "the board says: " in said.sentence()


def test_an_empty_board_says_what_to_do(tmp_path: Path, capsys: Capture) -> None:
    with reached(tmp_path / "none") as (port, _):
        for name in ("status", "measure", "calibrate", "history"):
            said = npp(capsys, name, "--port", port)
            assert said.code == 1
            assert "npp-agent install" in said.sentence()


def test_the_key_opens_a_board_on_the_network(store: Path, tmp_path: Path, capsys: Capture) -> None:
    make_key(tmp_path / "key")
    make_key(tmp_path / "other")
    options = ServeOptions(key=read_key(tmp_path / "key"))
    with reached(store, "tcp-listen://:0", options=options) as (port, _):
        assert npp(capsys, "measure", "--port", port).code == 0
        assert "needs the shared key" in npp(capsys, "calibrate", "--port", port).sentence()
        wrong = npp(capsys, "calibrate", "--port", port, "--key", tmp_path / "other")
        assert "name the right key" in wrong.sentence()
        right = npp(capsys, "calibrate", "--port", port, "--key", tmp_path / "key", "--json")
        assert right.document["accepted"]
        missing = npp(capsys, "calibrate", "--port", port, "--key", tmp_path / "nothing")
        assert "the key cannot be read" in missing.sentence()


def test_config_makes_a_key(tmp_path: Path, capsys: Capture) -> None:
    said = npp(capsys, "config", "--make-key", tmp_path / "key", "--json")
    assert said.document == {"key": str(tmp_path / "key")}
    again = npp(capsys, "config", "--make-key", tmp_path / "key")
    assert "never overwritten" in again.sentence()


def test_a_bundle_is_deployed(store: Path, tmp_path: Path, capsys: Capture) -> None:
    newer = bundle(tmp_path / "newer one.npp", scheme="int4")
    with reached(store) as (port, _):
        npp(capsys, "calibrate", "--port", port)
        said = npp(capsys, "deploy", port, newer, "--json")
        assert said.code == 0, said.err
        document = said.document
        assert document["installed"]["scheme"] == "int4"
        assert document["installed"]["chip"] == {"name": "mismatch-30", "seed": 0}
        assert document["bytes_sent"] == document["bundle_bytes"] == newer.stat().st_size
        status = npp(capsys, "status", "--port", port, "--json").document
        assert (status["scheme"], status["sequence"]) == ("int4", 0)
        again = npp(capsys, "deploy", port, newer)
        assert "canaries" in again.out
    assert [path.name for path in (store / "upload").iterdir()] == [UPLOADS_MARK]
    assert npp(capsys, "uninstall", "--store", store, "--json").document["directory_removed"]


def test_an_upload_can_wait_and_goes_on(store: Path, tmp_path: Path, capsys: Capture) -> None:
    newer = bundle(tmp_path / "newer.npp", scheme="int4")
    with reached(store) as (port, _):
        first = npp(capsys, "deploy", port, newer, "--upload-only", "--json").document
        assert first["installed"] is None
        staged = store / "upload" / "newer.npp"
        staged.write_bytes(staged.read_bytes()[:1000])
        second = npp(capsys, "deploy", port, newer, "--json").document
        assert second["resumed_at"] == 1000
        assert second["bytes_sent"] == newer.stat().st_size - 1000
        assert second["installed"]["scheme"] == "int4"


def refused_deploy(capsys: Capture, port: str, path: Path, store: Path) -> str:
    before = Store(store).state()
    said = npp(capsys, "deploy", port, path)
    assert said.code == 1
    assert Store(store).state() == before
    return said.sentence()


def test_what_is_not_deployed(store: Path, packed: Path, tmp_path: Path, capsys: Capture) -> None:
    damaged = tmp_path / "damaged.npp"
    damaged.write_bytes(packed.read_bytes()[:-100])
    floats = bundle(tmp_path / "float.npp", scheme="float")
    with reached(store) as (port, _):
        assert "damaged" in refused_deploy(capsys, port, damaged, store)
        assert "holds float weights" in refused_deploy(capsys, port, floats, store)
        missing = npp(capsys, "deploy", port, tmp_path / "nothing.npp")
        assert missing.code == 1
    with reached(store, allow_unsigned=False) as (port, _):
        assert "this board knows no key" in refused_deploy(capsys, port, packed, store)


def test_a_bundle_for_another_runtime_is_not_installed(
    store: Path, tmp_path: Path, capsys: Capture
) -> None:
    package = read_package(open_bundle(bundle(tmp_path / "a.npp")))
    other = tmp_path / "other.npp"
    other.write_bytes(package_bytes(replace(package, runtime="abacus")))
    with reached(store) as (port, _):
        assert "wants the runtime 'abacus'" in refused_deploy(capsys, port, other, store)


def test_a_full_disk_is_told_and_nothing_is_left_half(
    store: Path, packed: Path, tmp_path: Path, capsys: Capture
) -> None:
    disk = FailingDisk(7, errno.ENOSPC)
    with reached(store, staging=StagingArea(tmp_path / "upload", disk=disk)) as (port, _):
        assert "the disk is full" in refused_deploy(capsys, port, packed, store)
        disk.fail_at = 10**9
        assert npp(capsys, "deploy", port, packed).code == 0
    small = StagingArea(tmp_path / "small", limit_bytes=100)
    with reached(store, staging=small) as (port, _):
        assert "does not fit" in refused_deploy(capsys, port, packed, store)


def test_ports_that_cannot_be_used(tmp_path: Path, capsys: Capture) -> None:
    for name, arguments in (("status", ()), ("calibrate", ()), ("rollback", ())):
        said = npp(capsys, name, *arguments, "--port", tmp_path / "ttyUSB7")
        assert said.code == 1
        assert "there is no port" in said.sentence()
    said = npp(capsys, "monitor", tmp_path / "ttyUSB7", "--once")
    assert "npp-agent doctor" in said.sentence()


def test_monitor_once(store: Path, capsys: Capture) -> None:
    with reached(store) as (port, _):
        assert "no layer has been measured yet" in npp(capsys, "monitor", port, "--once").out
        npp(capsys, "calibrate", "--port", port)
        said = npp(capsys, "monitor", port, "--once", "--json").document
        assert said["board"]["state"] == "healthy"
        assert {layer["name"] for layer in said["layers"]} == {
            layer["name"]
            for layer in npp(capsys, "measure", "--port", port, "--json").document["layers"]
        }
        text = npp(capsys, "monitor", port, "--once").out
        assert "relative error" in text
        assert all(len(line) <= 100 for line in text.splitlines())


def test_monitor_writes_rows(store: Path, tmp_path: Path, capsys: Capture) -> None:
    target = tmp_path / "board.csv"
    with reached(store) as (port, _):
        npp(capsys, "monitor", port, "--once", "--csv", target)
        assert not target.exists(), "before a measurement the columns are not known"
        npp(capsys, "measure", "--port", port)
        for _ in range(2):
            assert npp(capsys, "monitor", port, "--once", "--csv", target).code == 0
    with target.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert {"time_s", "state", "score", "mean_error", "error c1"} & set(rows[0])
    assert all(float(value) > 0 for name, value in rows[0].items() if name.startswith("error "))
    target.write_text("other,columns\n", encoding="utf-8")
    with reached(store) as (port, _):
        npp(capsys, "measure", "--port", port)
        said = npp(capsys, "monitor", port, "--once", "--csv", target)
        assert "has other columns" in said.err


def test_prometheus_reads_the_figures(store: Path, capsys: Capture) -> None:
    with reached(store) as (port, _):
        npp(capsys, "calibrate", "--port", port)
        watching, metrics = Watching(Reach(port), lambda _event: None), Metrics("0")
        metrics.take(watching.look())
        watching.close()
        address = f"http://127.0.0.1:{metrics.port}/metrics"
        with urllib.request.urlopen(address) as answer:  # our own, on the loopback
            text = answer.read().decode()
        metrics.lost("gone")
        with urllib.request.urlopen(address) as answer:  # the same
            down = answer.read().decode()
        metrics.close()
    for line in (
        "npp_up 1.0",
        'npp_drift_state{state="healthy"} 1.0',
        "npp_calibrations_total 1.0",
    ):
        assert line in text.splitlines(), text
    assert text.count("npp_layer_relative_error_ratio{") == text.count("npp_layer_rank{") > 1
    assert "npp_up 0.0" in down.splitlines()
    assert "npp_layer" not in down


def test_prometheus_addresses_that_cannot_be(store: Path, capsys: Capture) -> None:
    with reached(store) as (port, _):
        for address in ("x", "localhost:99999", ""):
            said = npp(capsys, "monitor", port, "--once", "--prometheus", address)
            assert "is no address" in said.sentence()


def test_the_live_view_draws_a_board() -> None:
    board = {
        "model": "small\x1b[2J",
        "chip": "ideal",
        "state": "drifted",
        "score": 2.5,
        "factors": 3,
        "written_bytes": 4096,
        "temperature_c": 40.5,
        "job": {"kind": "calibrate", "state": "running", "done": 1, "total": 4},
    }
    layers = ({"name": "conv", "error": 0.5, "sqnr_db": 6.0, "rank": 8, "baseline": 0.1},)
    snapshot = Snapshot(0.0, board, layers, LineState(0.004, 9, 2, 1))
    console = Console(width=100, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115, PTH123  # drawn nowhere
    console.print(screen(snapshot, {"conv": [0.1, 0.2, 0.5]}, ["12:00 drift: x"], "keys"))
    text = console.export_text()
    console.file.close()
    for word in ("drifted", "score 2.5", "40.5 °C", "calibrate 25 %", "▂▄█", "0.1000", "drift: x"):
        assert word in text, text
    assert "\x1b" not in text
    assert sparkline([]) == ""
    assert sparkline([0.0, 0.0]) == "▁▁"


@contextmanager
def running(store: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`npp-agent run` as a process of its own, once it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "agent.cli", "run", "--store", str(store), *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "event=ready" in line:
            break
    drain = threading.Thread(target=process.stderr.read, daemon=True)
    drain.start()
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        drain.join()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


@pytest.mark.slow
def test_a_running_agent_is_reached_and_takes_over_what_a_line_changes(
    store: Path, tmp_path: Path
) -> None:
    link = tmp_path / "tty"
    ports = ("--port", f"pty:{link}", "--port", "tcp-listen://:0", "--source", "-")
    with running(store, *ports) as process:
        done = npp_process("calibrate", "--port", link, "--json")
        assert done.code == 0, done.err
        assert done.document["accepted"]
        until = time.monotonic() + 30
        while time.monotonic() < until:
            seen = npp_process("monitor", link, "--once", "--json").document
            if seen["board"]["state"] == "healthy":
                break
        assert seen["board"]["factors"] == 1
        assert seen["layers"]
        assert process.poll() is None, "the end of its source does not end it"
    assert process.returncode == 0
    assert not link.exists()


def test_run_says_what_is_wrong_with_a_port(store: Path, tmp_path: Path) -> None:
    said = npp_process("run", "--store", store, "--port", tmp_path / "ttyUSB7")
    assert said.code == 1
    assert "there is no port" in said.err.splitlines()[-1]

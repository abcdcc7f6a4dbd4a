"""What others hear of the service: its log, systemd's notifications, answers, signals."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.notices import Notice
from agent.service.answers import AnswerWriter
from agent.service.journal import Log, fields_text, is_journal
from agent.service.notify import Notifier
from agent.service.signals import Signals
from agent.service.sources import Frame
from agent.serving import Served


def test_a_line_for_the_journal_and_one_for_a_person() -> None:
    notice = Notice("factors", {"factors": 3, "swap_ms": 9.3141592, "why": None, "ok": True})
    for journal, line in (
        (True, "<6>event=factors factors=3 swap_ms=9.314 ok=true\n"),
        (False, "1970-01-01T00:01:00Z info event=factors factors=3 swap_ms=9.314 ok=true\n"),
    ):
        stream = io.StringIO()
        Log(stream, journal=journal, clock=lambda: 60.0)(notice)
        assert stream.getvalue() == line


def test_what_is_worth_less_is_left_out() -> None:
    stream = io.StringIO()
    log = Log(stream, "notice", journal=True)
    for level in ("debug", "info", "notice", "warning", "error"):
        log(Notice("x", level=level))
    assert stream.getvalue() == "<5>event=x\n<4>event=x\n<3>event=x\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a b", '"a b"'),
        ('say "no"', r'"say \"no\""'),
        ("two\nlines", '"two lines"'),
        ("", '""'),
        ("a=b", '"a=b"'),
        (Path("store/a"), "store/a"),
        (float("nan"), "nan"),
        (0, "0"),
    ],
)
def test_values_stay_on_their_line_and_in_their_place(value: object, text: str) -> None:
    assert fields_text({"x": value}) == f"x={text}"


def test_a_log_that_nobody_reads_ends_nothing() -> None:
    stream = io.StringIO()
    stream.close()
    Log(stream)(Notice("x"))


def test_the_journal_is_the_stream_that_is_named(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        facts = os.fstat(file.fileno())
        assert is_journal(file, {"JOURNAL_STREAM": f"{facts.st_dev}:{facts.st_ino}"})
        assert not is_journal(file, {"JOURNAL_STREAM": "1:1"})
        assert not is_journal(file, {})
    assert not is_journal(io.StringIO(), {"JOURNAL_STREAM": "1:1"})


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(path)
        one.settimeout(10)
        yield one, path


def test_systemd_hears_ready_reloading_and_stopping(listener: tuple[socket.socket, str]) -> None:
    heard, path = listener
    notifier = Notifier({"NOTIFY_SOCKET": path})
    notifier.ready("two\nlines")
    assert heard.recv(500) == b"READY=1\nSTATUS=two lines"
    notifier.reloading()
    assert heard.recv(500).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    notifier.status("well")
    notifier.stopping()
    assert heard.recv(500) == b"STATUS=well"
    assert heard.recv(500) == b"STOPPING=1"


def test_an_abstract_socket() -> None:
    name = f"npp-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0{name}")
        heard.settimeout(10)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).stopping()
        assert heard.recv(500) == b"STOPPING=1"


def test_the_watchdog_is_told_twice_in_its_time(listener: tuple[socket.socket, str]) -> None:
    heard, path = listener
    now = [0.0]
    environment = {
        "NOTIFY_SOCKET": path,
        "WATCHDOG_USEC": "4000000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    notifier = Notifier(environment, lambda: now[0])
    heard.settimeout(0)
    count = 0
    for tenth in range(100):
        now[0] = tenth / 10
        notifier.alive()
        try:
            assert heard.recv(500) == b"WATCHDOG=1"
            count += 1
        except BlockingIOError:
            continue
    assert count == 5  # at 0, 2, 4, 6, 8 s


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "x"},
        {"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"},
    ],
)
def test_no_watchdog(environment: dict[str, str], listener: tuple[socket.socket, str]) -> None:
    heard, path = listener
    Notifier({"NOTIFY_SOCKET": path, **environment}).alive()
    heard.settimeout(0)
    with pytest.raises(BlockingIOError):
        heard.recv(500)


def test_nobody_listens(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nothing")}).ready("x")
    Notifier({}).ready("x")


def test_signals_are_flags_and_what_was_before_comes_back() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with Signals() as signals:
        assert not signals.take_reload()
        signal.raise_signal(signal.SIGHUP)
        assert signals.take_reload()
        assert not signals.take_reload()
        assert signals.stop is None
        signal.raise_signal(signal.SIGTERM)
        assert signals.stop == "SIGTERM"
    assert signal.getsignal(signal.SIGHUP) is before


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line, parse_constant=float) for line in stream.getvalue().splitlines()]


def test_answers_are_numbered_lines() -> None:
    stream = io.StringIO()
    writer = AnswerWriter(stream, classes=True)
    answers = np.array([[0.1, 2.5], [np.inf, 1], [3, -1 / 3]], np.float32)
    writer.write(Frame("a", answers), Served(answers, 7), 0.003)
    writer.refuse(Frame("b", None), "it is\nno array")
    writer.write(Frame("c", answers), Served(answers[:1], 8), 0.001)
    found = lines(stream)
    assert [line["number"] for line in found] == [1, 2, 3, 4, 5]
    assert [line.get("class") for line in found] == [1, None, 0, None, 1]
    assert [line.get("index") for line in found] == [0, 1, 2, None, 0]
    assert [line.get("factors") for line in found] == [7, 7, 7, None, 8]
    assert found[0]["milliseconds"] == 1.0
    assert found[1]["answer"] == [None, 1.0]
    assert np.float32(found[2]["answer"][1]) == answers[2, 1]
    assert found[3] == {"number": 4, "source": "b", "error": "it is no array"}
    assert (writer.answers, writer.errors) == (4, 1)


@pytest.mark.parametrize("power", range(-40, 38, 3))
def test_answers_keep_every_bit(power: int) -> None:
    with np.errstate(under="ignore"):
        values = (np.random.default_rng(0).standard_normal((1, 50)) * 10.0**power).astype("f4")
    stream = io.StringIO()
    AnswerWriter(stream, classes=False).write(Frame("a", values), Served(values, 0), 0.0)
    (line,) = lines(stream)
    assert line["class"] is None
    with np.errstate(under="ignore"):
        np.testing.assert_array_equal(np.array(line["answer"], np.float32), values[0])

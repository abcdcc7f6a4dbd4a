"""Ports: ptys and sockets that are served, several at once, and what can be wrong with them."""

from __future__ import annotations

import os
import pty
import socket
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial

from agent.errors import LinkError, LinkLostError, RemoteError, StoreError
from agent.link import frames
from agent.link.board import Facts
from agent.link.codes import Code, Group, Npp, Op
from agent.link.lines import Listener
from agent.link.messages import Header, Message, decode, encode
from agent.link.port import LineSettings, Port, _why, open_line
from agent.link.remote import Reach, Remote
from agent.link.server import Server
from agent.link.service import LinkService, ServeOptions
from agent.link.staging import StagingArea
from agent.listeners import Listeners
from tests.link_fakes import FakeBoard
from tests.links import serving

KEY = bytes(range(32))
ECHO = frames.encode(encode(Message(Header(Op.WRITE, Group.OS, 0, 7), {"d": "hi"})))
ANSWER = frames.encode(encode(Message(Header(Op.WRITE_RESPONSE, Group.OS, 0, 7), {"r": "hi"})))


@pytest.fixture
def board() -> FakeBoard:
    return FakeBoard()


def exchange(port: serial.Serial, data: bytes, wanted: bytes) -> bytes:
    port.write(data)
    port.timeout = 5
    return bytes(port.read_until(wanted))


def test_a_board_answers_on_a_pty_and_on_tcp_at_once(board: FakeBoard, tmp_path: Path) -> None:
    link = tmp_path / "tty"
    with serving(board, tmp_path, f"pty:{link}", "tcp-listen://:0", "tcp-listen://[::1]:0") as now:
        assert now.addresses[0] == str(link)
        assert now.addresses[1].startswith("tcp://127.0.0.1:")
        with serial.Serial(str(link)) as port:
            assert exchange(port, ECHO, ANSWER) == ANSWER
        for address in now.addresses:
            with Remote(Reach(address)) as remote:
                assert remote.read(Npp.STATUS)["model"] == "small"
                assert remote.document("status") == board.status()
    assert not link.exists()


def test_console_text_around_commands_disturbs_neither_side(
    board: FakeBoard, tmp_path: Path
) -> None:
    with serving(board, tmp_path) as now, serial.Serial(now.addresses[0]) as port:
        noise = b"raspberrypi login: root\r\nPassword: "
        assert exchange(port, noise + ECHO + b"\r\n[ 1.0] usb\n" + ECHO, ANSWER) == ANSWER
        assert exchange(port, b"", ANSWER) == ANSWER


def test_only_a_pty_of_ours_is_trusted(board: FakeBoard, tmp_path: Path) -> None:
    options = ServeOptions(key=KEY)
    with serving(board, tmp_path, "pty:", "tcp-listen://:0", options=options) as now:
        for address, key in ((now.addresses[0], None), (now.addresses[1], KEY)):
            with Remote(Reach(address, key=key)) as remote:
                document, code = remote.do(Npp.ROLLBACK, {"to": 0}, Listeners())
                assert (document, code) == ({"done": "('rollback', 0)"}, 0)
        with (
            Remote(Reach(now.addresses[1])) as remote,
            pytest.raises(RemoteError, match="needs the shared key"),
        ):
            remote.do(Npp.ROLLBACK, {}, Listeners())


def test_what_is_served_is_warned_of(board: FakeBoard, tmp_path: Path) -> None:
    server, said = Server(board, StagingArea(tmp_path)), []
    for options, urls, text in (
        (ServeOptions(), ["tcp-listen://:0"], "no key"),
        (ServeOptions(allow_unauthenticated=True), ["tcp-listen://:0"], "may change this agent"),
        (ServeOptions(key=KEY), ["tcp-listen://0.0.0.0:0"], "from other machines"),
    ):
        with LinkService(server, urls, options, said.append):
            assert any(text in sentence for sentence in said), said
        said.clear()
    with LinkService(server, ["pty:", "tcp-listen://:0"], ServeOptions(key=KEY), said.append):
        assert said == []


def test_a_long_calibration_blocks_nobody(board: FakeBoard, tmp_path: Path) -> None:
    board.gate.clear()
    with (
        serving(board, tmp_path, "pty:", "tcp-listen://:0") as now,
        Remote(Reach(now.addresses[1])) as other,
        Remote(Reach(now.addresses[0])) as remote,
    ):
        told: list[str] = []
        thread = threading.Thread(
            target=lambda: told.append(
                str(remote.do(Npp.CALIBRATE, {}, Listeners(tell=told.append)))
            )
        )
        thread.start()
        while other.read(Npp.STATUS)["job"] is None:
            time.sleep(0.01)
        with pytest.raises(RemoteError, match="calibrate runs"):
            other.write(Npp.MEASURE, {})
        board.gate.set()
        thread.join(10)
        assert told[0] == "recoverable: a lot"
        assert "Calibrate" in told[1]


def test_callers_come_and_go(board: FakeBoard, tmp_path: Path) -> None:
    with serving(board, tmp_path, "tcp-listen://:0") as now:
        host, port = now.addresses[0].removeprefix("tcp://").split(":")
        for _ in range(20):
            with socket.create_connection((host, int(port))) as caller:
                caller.sendall(ECHO[:10])
        with Remote(Reach(now.addresses[0])) as remote:
            assert remote.read(Npp.STATUS)["factors"] == 3


@contextmanager
def pipe() -> Iterator[tuple[int, str]]:
    """A pty of the test's own: the handle of one end, and the device of the other."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    try:
        yield ours, os.ttyname(theirs)
    finally:
        os.close(theirs)
        os.close(ours)


def answering(ours: int, answer: bytes, stop: threading.Event) -> None:
    """Whatever comes, the same is said."""
    while not stop.is_set():
        os.read(ours, 4096)
        os.write(ours, answer)


@contextmanager
def device(answer: bytes) -> Iterator[str]:
    """Something at a serial port that always says the same."""
    with pipe() as (ours, path):
        stop = threading.Event()
        thread = threading.Thread(target=answering, args=(ours, answer, stop), daemon=True)
        thread.start()
        yield path
        stop.set()
        with serial.Serial(path) as port:
            port.write(b"end")
        thread.join(5)


def test_something_that_is_no_agent_is_told_by_what_it_says() -> None:
    with device(b"\r\nlogin: \r\n") as path, pytest.raises(LinkError, match="it says 'login:'"):
        Remote(Reach(path))


def test_noise_is_told_as_another_baud_rate() -> None:
    noise = bytes((i * 37 + 128) % 256 | 0x80 for i in range(200)) + b"\n"
    with device(noise) as path, pytest.raises(LinkError, match=r"another baud rate.*--baud-rate"):
        Remote(Reach(path))


def test_a_silent_port_is_told_with_its_baud_rate() -> None:
    with pipe() as (_, path), pytest.raises(LinkError, match=r"nobody answers.*9600 baud"):
        Remote(Reach(path, LineSettings(9600)))


class Answers:
    """Another SMP server at the end of a pty."""

    def __init__(self, ours: int, body: dict[str, object]) -> None:
        self.ours, self.body, self.reader = ours, body, frames.FrameReader()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        while True:
            try:
                data = os.read(self.ours, 4096)
            except OSError:
                return
            for found in self.reader.feed(data):
                head = decode(found).header
                answer = Header(head.op.response, head.group, head.command, head.sequence)
                os.write(self.ours, frames.encode(encode(Message(answer, self.body))))


def test_another_smp_server_is_told_from_an_agent() -> None:
    with pipe() as (ours, path):
        Answers(ours, {"rc": int(Code.NOT_SUPPORTED)})
        with pytest.raises(LinkError, match="speaks SMP and is no npp-agent"):
            Remote(Reach(path))


def test_a_board_that_cannot_read_its_store_says_so(tmp_path: Path) -> None:
    class Broken(FakeBoard):
        def facts(self) -> Facts:
            raise StoreError("the history cannot be read: the disk reports an error")

    with (
        serving(Broken(), tmp_path) as now,
        pytest.raises(RemoteError, match="the board says: the history cannot be read"),
    ):
        Remote(Reach(now.addresses[0]))


def test_an_agent_of_another_protocol_version_is_told() -> None:
    with pipe() as (ours, path):
        Answers(ours, {"protocol": 2, "agent": "7.0"})
        with pytest.raises(LinkError, match=r"npp-agent 7\.0 .* speaks version 2 .* version 1"):
            Remote(Reach(path))


def test_what_can_be_wrong_with_a_port(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="there is no port"):
        open_line(str(tmp_path / "ttyUSB9"), LineSettings())
    (tmp_path / "file").write_text("x", encoding="ascii")
    with pytest.raises(LinkError, match="is no serial port"):
        open_line(str(tmp_path / "file"), LineSettings())
    with pytest.raises(LinkError, match=r"cannot be opened|is no serial port"):
        open_line(str(tmp_path), LineSettings())
    with pipe() as (_, path):
        held = Port(path, LineSettings())
        with pytest.raises(LinkError, match="in use by another program"):
            Port(path, LineSettings())
        held.close()
    for url in ("tcp://localhost", "tcp://localhost:x", "tcp://localhost:99999"):
        with pytest.raises(LinkError, match="is no address"):
            open_line(url, LineSettings())
    for url in ("tcp-listen://x", "tcp-listen://:-1", "tcp-listen://:70000"):
        with pytest.raises(LinkError, match="no address to listen at"):
            Listener(url)
    with pytest.raises(LinkError, match="cannot be reached"):
        open_line("tcp://127.0.0.1:1", LineSettings())
    listener = Listener("tcp-listen://:0")
    with pytest.raises(LinkError, match="cannot listen"):
        Listener(listener.address.replace("tcp://", "tcp-listen://"))
    listener.close()
    with pytest.raises(LinkError, match=r"cannot be reached|cannot be opened"):
        open_line("nonsense://x", LineSettings())


def test_a_port_without_permission_names_the_group(tmp_path: Path) -> None:
    sentence = _why(str(tmp_path / "ttyUSB0"), PermissionError(13, "Permission denied"))
    assert "dialout" in sentence
    assert "usermod" in sentence


def test_none_is_served_if_one_cannot_be(board: FakeBoard, tmp_path: Path) -> None:
    link = tmp_path / "tty"
    urls = (f"pty:{link}", str(tmp_path / "nothing"))
    with pytest.raises(LinkError, match="there is no port"), serving(board, tmp_path, *urls):
        raise AssertionError
    assert not link.exists()


def test_a_cable_that_is_pulled_is_lost_and_found_again(board: FakeBoard, tmp_path: Path) -> None:
    board.gate.clear()
    link = tmp_path / "tty"
    with serving(board, tmp_path, f"pty:{link}") as first:
        remote = Remote(Reach(first.addresses[0], reconnect_s=0.2))
        remote.write(Npp.CALIBRATE, {})
        first.close()
        with pytest.raises(LinkLostError):
            remote.read(Npp.STATUS)
        with pytest.raises(LinkLostError, match="not back within"):
            remote.reconnect(LinkLostError("the line is gone"))
        board.gate.set()


def test_a_calibration_is_waited_for_through_a_broken_line(
    board: FakeBoard, tmp_path: Path
) -> None:
    board.gate.clear()
    server, link = Server(board, StagingArea(tmp_path)), tmp_path / "tty"
    url = f"pty:{link}"
    first = LinkService(server, [url], ServeOptions(), lambda _: None)
    remote, ended = Remote(Reach(str(link), reconnect_s=20)), []
    thread = threading.Thread(
        target=lambda: ended.append(remote.do(Npp.CALIBRATE, {}, Listeners()))
    )
    thread.start()
    while server.jobs.running is None:
        time.sleep(0.01)
    first.close()
    with LinkService(server, [url], ServeOptions(), lambda _: None):
        board.gate.set()
        thread.join(30)
    assert [code for _, code in ended] == [0]
    remote.close()


def test_a_served_port_that_goes_is_served_again_when_it_is_back(
    board: FakeBoard, tmp_path: Path
) -> None:
    link = tmp_path / "ttyUSB0"
    first = pty.openpty()
    tty.setraw(first[1])
    link.symlink_to(os.ttyname(first[1]))
    with serving(board, tmp_path, str(link)):
        os.write(first[0], ECHO)
        assert os.read(first[0], 1000) == ANSWER
        second = pty.openpty()
        tty.setraw(second[1])
        link.unlink()
        link.symlink_to(os.ttyname(second[1]))
        os.close(first[1])
        os.close(first[0])
        time.sleep(2.5)
        os.write(second[0], ECHO)
        assert os.read(second[0], 1000) == ANSWER
    for handle in second:
        os.close(handle)

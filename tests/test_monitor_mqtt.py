"""`monitor --mqtt` against a real Mosquitto: what a second client sees of a board."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from agent.errors import InputError
from agent.workstation.broker_address import broker_address
from agent.workstation.outbox import MOST_EVENTS, Outbox, Topic
from tests.agent_stores import ROOT, bundle, npp, npp_process
from tests.links import reached
from tests.monitoring_servers import LOOPBACK, broker, eventually, free_port, program

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(tmp_path_factory.mktemp("packed") / "small.npp")


@pytest.fixture
def board(packed: Path, tmp_path: Path, capsys: Capture) -> Iterator[str]:
    """The address of a calibrated board."""
    store = tmp_path / "store"
    assert npp(capsys, "install", packed, "--store", store, "--chip", "mismatch-30").code == 0
    with reached(store) as (port, _):
        assert npp(capsys, "calibrate", "--port", port).code == 0
        yield port


class Reader:
    """Another client of the broker: what it has received, retained or not."""

    def __init__(self, port: int, topic: str = "#", **login: str) -> None:
        self.newest: dict[str, str] = {}
        self.events: list[tuple[str, str]] = []
        self.retained: set[str] = set()
        self._topic = topic
        self._ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, 1)
        if login:
            self._client.username_pw_set(login["user"], login["password"])
        self._client.on_connect = lambda *_: self._client.subscribe(self._topic, qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._take
        self._client.connect(LOOPBACK, port)
        self._client.loop_start()
        assert self._ready.wait(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _take(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        text = message.payload.decode()
        self.newest[message.topic] = text
        self.events.append((message.topic, text))
        if message.retain:
            self.retained.add(message.topic)

    def forget(self) -> None:
        self.newest.clear()
        self.events.clear()


@contextmanager
def monitoring(board: str, url: str, lines: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`monitor --mqtt` as a process of its own, which writes its JSON lines to a file."""
    command = [sys.executable, "-m", "agent.cli", "monitor", board, "--json", "--mqtt", url]
    with lines.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--every-s", "0.1"], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def is_told(reader: Reader, topic: str, text: str) -> bool:
    eventually(lambda: reader.newest.get(topic) == text)
    return True


def test_a_second_client_sees_the_retained_state_and_the_last_will(
    board: str, tmp_path: Path
) -> None:
    server = broker(tmp_path)
    with server.running():
        url = f"mqtt://{LOOPBACK}:{server.port}/plant/board-7"
        with monitoring(board, url, tmp_path / "lines") as process, Reader(server.port) as early:
            assert is_told(early, "plant/board-7/status", "online")
            with Reader(server.port) as late:  # who comes later is told at once
                said = eventually(lambda: late.newest.get("plant/board-7/state"))
                assert is_told(late, "plant/board-7/status", "online")
                assert late.retained == {"plant/board-7/status", "plant/board-7/state"}
            assert '"state": "healthy"' in said
            assert '"layers": [{' in said
            process.kill()
            assert is_told(early, "plant/board-7/status", "offline")
        with Reader(server.port) as after:
            assert is_told(after, "plant/board-7/status", "offline")
            assert '"factors": 1' in eventually(lambda: after.newest.get("plant/board-7/state"))


def test_a_monitor_that_ends_says_so_itself(board: str, tmp_path: Path, capsys: Capture) -> None:
    server = broker(tmp_path)
    with server.running(), Reader(server.port) as reader:
        said = npp(capsys, "monitor", board, "--once", "--mqtt", f"mqtt://{LOOPBACK}:{server.port}")
        assert said.code == 0, said.err
        (status,) = eventually(lambda: [one for one in list(reader.newest) if "/status" in one])
        assert status.startswith("npp-agent/")
        assert status.split("/")[2] == board.rpartition("/")[2]
        assert is_told(reader, status, "offline")
        assert status.replace("status", "state") in reader.newest
        assert (status, "online") not in reader.events or reader.events[-1] == (status, "offline")


@pytest.mark.slow
def test_it_is_found_again_by_itself_and_tells_everything_anew(board: str, tmp_path: Path) -> None:
    server, lines = broker(tmp_path), tmp_path / "lines"
    url = f"mqtt://{LOOPBACK}:{server.port}/b"
    with ExitStack() as first, ExitStack() as both:
        first.enter_context(server.running())
        running = both.enter_context(monitoring(board, url, lines))
        reader = both.enter_context(Reader(server.port))
        assert is_told(reader, "b/status", "online")
        first.close()
        eventually(lambda: broker_events(lines) == ["lost"])
        reader.forget()
        with server.running():  # another broker, which remembers nothing
            assert is_told(reader, "b/status", "online")
            assert eventually(lambda: reader.newest.get("b/state"))
            eventually(lambda: broker_events(lines) == ["lost", "back"])
            assert running.poll() is None


def broker_events(lines: Path) -> list[str]:
    """What a monitor told of its broker."""
    found = (line for line in lines.read_text(encoding="utf-8").splitlines() if '"broker"' in line)
    return [json.loads(line)["event"]["state"] for line in found]


@pytest.mark.slow
def test_boards_have_topics_of_their_own_and_a_lost_board_is_offline(
    board: str, packed: Path, tmp_path: Path, capsys: Capture
) -> None:
    server, other = broker(tmp_path), tmp_path / "other"
    npp(capsys, "install", packed, "--store", other, "--chip", "ideal")
    base = f"mqtt://{LOOPBACK}:{server.port}"
    with ExitStack() as ends:
        ends.enter_context(server.running())
        reader = ends.enter_context(Reader(server.port))
        ends.enter_context(monitoring(board, f"{base}/one", tmp_path / "first"))
        with reached(other) as (port, _):
            second = ends.enter_context(monitoring(port, f"{base}/two", tmp_path / "second"))
            assert is_told(reader, "one/status", "online")
            assert is_told(reader, "two/status", "online")
            assert '"mismatch-30"' in reader.newest["one/state"]
            assert '"ideal"' in reader.newest["two/state"]
        assert is_told(reader, "two/status", "offline")
        eventually(lambda: '"lost"' in reader.newest.get("two/event", ""))
        assert second.poll() is None, "it waits for its board"
        assert reader.newest["one/status"] == "online"


def test_user_and_password(board: str, tmp_path: Path, capsys: Capture) -> None:
    passwords = tmp_path / "passwords"
    maker = program("mosquitto_passwd", "mosquitto")
    subprocess.run([maker, "-b", "-c", str(passwords), "anna", "p/w"], check=True)
    server = broker(tmp_path, f"allow_anonymous false\npassword_file {passwords}")
    place = f"{LOOPBACK}:{server.port}/x"
    with server.running(), Reader(server.port, user="anna", password="p/w") as reader:  # noqa: S106  # of this test
        for url in (f"mqtt://{place}", f"mqtt://anna:wrong@{place}"):
            said = npp(capsys, "monitor", board, "--once", "--mqtt", url)
            assert said.code == 1
            assert "refuses: Not authorized" in said.sentence()
            assert "NPP_MQTT_PASSWORD" in said.sentence()
            assert "wrong" not in said.sentence()
        assert npp(capsys, "monitor", board, "--once", "--mqtt", f"mqtt://anna:p%2Fw@{place}").out
        assert is_told(reader, "x/status", "offline")
        reader.forget()
        login = {"NPP_MQTT_USER": "anna", "NPP_MQTT_PASSWORD": "p/w"}
        said = npp_process("monitor", board, "--once", "--mqtt", f"mqtt://{place}", **login)
        assert said.code == 0, said.err
        assert is_told(reader, "x/status", "offline")


def test_tls(board: str, tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = [program("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{LOOPBACK}"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    server = broker(tmp_path, f"allow_anonymous true\ncertfile {certificate}\nkeyfile {key}")
    place = f"{LOOPBACK}:{server.port}/x"
    with server.running():
        said = npp_process("monitor", board, "--once", "--mqtt", f"mqtts://{place}")
        assert said.code == 1
        assert "its certificate is not trusted" in said.sentence()
        trusted = {"SSL_CERT_FILE": str(certificate)}
        said = npp_process("monitor", board, "--once", "--mqtt", f"mqtts://{place}", **trusted)
        assert said.code == 0, said.err


def test_a_broker_that_is_not_there(board: str, capsys: Capture) -> None:
    said = npp(capsys, "monitor", board, "--once", "--mqtt", f"mqtt://{LOOPBACK}:{free_port()}")
    assert said.code == 1
    assert "cannot be reached: Connection refused" in said.sentence()


def test_without_paho_the_extra_is_named(board: str) -> None:
    script = (
        "import sys; sys.modules['paho'] = None; from agent.cli.program import run; "
        f"sys.exit(run(['monitor', {board!r}, '--once', '--mqtt', 'mqtt://localhost']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == (
        "npp-agent: telling an MQTT broker needs paho-mqtt: python -m pip install "
        "'npp-agent[monitor]'\n"
    )


@pytest.mark.parametrize(
    "url",
    [
        "broker",
        "http://anna:secret@broker",
        "mqtt://",
        "mqtt://anna:secret@broker:port",
        "mqtt://anna:secret@broker/a?b",
        "mqtt://anna:secret@broker/a#b",
        "mqtt://anna:secret@broker/a%23",
        "mqtt://anna:secret@broker/+/a",
        "mqtt://anna:secret@broker/$SYS",
        "mqtt://:secret@broker",
        "mqtt://anna:secret@[::1/a",
    ],
)
def test_addresses_that_cannot_be(url: str) -> None:
    with pytest.raises(InputError) as found:
        broker_address(url, "/dev/ttyUSB0", {})
    assert "secret" not in str(found.value)


def test_addresses_that_can_be() -> None:
    known = {"NPP_MQTT_USER": "env", "NPP_MQTT_PASSWORD": "word"}
    plain = broker_address("mqtt://host", "/dev/serial/by-id/usb+#1", known)
    assert (plain.host, plain.port, plain.tls) == ("host", 1883, False)
    assert (plain.user, plain.password) == ("env", "word")
    assert plain.topic.startswith("npp-agent/")
    assert plain.topic.endswith("/usb--1")
    full = broker_address("mqtts://a%40b:c%3Ad@[::1]:99/x/y/", "tcp://host:1", known)
    assert (full.user, full.password, full.topic) == ("a@b", "c:d", "x/y")
    assert (full.port, full.tls, str(full)) == (99, True, "[::1]:99")
    assert broker_address("mqtts://host", "tcp://board:5000", {}).topic.endswith("/board:5000")


def test_the_newest_state_is_last_and_events_are_bounded() -> None:
    state, events = Topic("state", retain=True), Topic("event", retain=False)
    outbox = Outbox(state, events)
    for number in range(3):
        state.put(f"{number}")
    assert [(topic, topic.go()) for topic in outbox.ready()] == [(state, "2")]
    state.put("3")
    assert outbox.ready() == []
    assert not outbox.empty(), "one is on its way"
    outbox.received(17)  # the receipt may come before the number is known
    state.on_its_way = 17
    assert outbox.ready() == [state]
    assert state.go() == "3"
    state.on_its_way = 18
    outbox.received(18)
    assert outbox.empty()
    outbox.say_again()
    assert [topic.go() for topic in outbox.ready()] == ["3"]
    for number in range(MOST_EVENTS + 5):
        events.put(f"{number}")
    assert events.go() == "5"

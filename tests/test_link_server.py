"""What the board answers, without any port: every request, refusals, jobs, events, signatures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from agent.errors import BundleError, InputError, StoreLockedError
from agent.link.authentication import code_of, make_key, read_key
from agent.link.board import Activate, Calibrate
from agent.link.codes import Code, Group, Npp, Op
from agent.link.connection import Connection
from agent.link.frames import FrameReader
from agent.link.messages import Header, Message, decode, encode
from agent.link.server import Server
from agent.link.session import Access
from agent.link.staging import StagingArea
from agent.store.layout import UPLOADS_MARK
from tests.link_fakes import FakeBoard
from tests.link_requests import REQUESTS

ANSWERS = Path(__file__).with_name("link_answers.json")
LOCAL = Access(local=True)
KEY = bytes(range(32))


@pytest.fixture
def board() -> FakeBoard:
    return FakeBoard()


@pytest.fixture
def server(board: FakeBoard, tmp_path: Path) -> Server:
    return Server(board, StagingArea(tmp_path / "upload"))


@pytest.fixture
def connection(server: Server) -> Connection:
    return server.connect(LOCAL)


def ask(
    connection: Connection, op: Op, group: int, command: int, version: int = 2, **body: Any
) -> Mapping[str, Any]:
    """The map that a request is answered with; each request has another sequence number."""
    ask.sequence = (ask.sequence + 1) % 256  # type: ignore[attr-defined]  # a counter
    header = Header(op, group, command, ask.sequence, version)  # type: ignore[attr-defined]
    answer = connection.answer(encode(Message(header, body)))
    assert answer is not None
    said = decode(answer)
    assert said.header == Header(op.response, group, command, header.sequence, version)
    return said.body


ask.sequence = 0  # type: ignore[attr-defined]


def reason(connection: Connection) -> str:
    return str(ask(connection, Op.READ, Group.NPP, Npp.REASON)["text"])


def begin(connection: Connection, command: Npp, **body: Any) -> Mapping[str, Any]:
    return ask(connection, Op.WRITE, Group.NPP, command, **body)


def test_every_answer_has_its_golden_bytes(server: Server, connection: Connection) -> None:
    said = {}
    for name, request in REQUESTS.items():
        answer = connection.answer(encode(request))
        assert answer is not None
        said[name] = {"request": encode(request).hex(), "answer": answer.hex()}
        server.jobs.wait(10)
    assert said == json.loads(ANSWERS.read_text(encoding="ascii"))


def test_every_command_has_a_golden_answer(server: Server) -> None:
    known = {
        (group, command, op)
        for group, commands in server._groups.items()
        for command, op in commands
    }
    asked = {(m.header.group, m.header.command, m.header.op) for m in REQUESTS.values()}
    changing = {
        (Group.OS, 4, Op.READ),  # the clock
        (Group.OS, 7, Op.READ),  # the machine
        (Group.OS, 0, Op.READ),  # the same as writing
        (Group.NPP, Npp.STATUS, Op.READ),  # says how long it runs
    }
    assert known - asked == changing


def test_status_tells_the_facts_and_the_job(connection: Connection, server: Server) -> None:
    said = ask(connection, Op.READ, Group.NPP, Npp.STATUS)
    assert (said["protocol"], said["model"], said["factors"]) == (1, "small", 3)
    assert (said["state"], said["score"], said["temperature_c"]) == ("healthy", 1.25, None)
    assert said["job"] is None
    assert said["uptime_s"] >= 0
    begin(connection, Npp.MEASURE)
    server.jobs.wait(10)
    said = ask(connection, Op.READ, Group.NPP, Npp.STATUS)
    assert said["job"] == {"job": 1, "kind": "measure", "state": "done", "done": 4, "total": 4}


def test_the_machine_is_told_as_zephyr_does(connection: Connection) -> None:
    said = ask(connection, Op.READ, Group.OS, 7, format="o")["output"]
    assert str(said).startswith("npp-agent ")
    assert " npp-agent " in str(ask(connection, Op.READ, Group.OS, 7, format="a")["output"])
    refused = ask(connection, Op.READ, Group.OS, 7, format="xyz")
    assert refused == {"err": {"group": 0, "rc": 2}}


def test_version_1_gets_errors_of_version_1(connection: Connection) -> None:
    assert ask(connection, Op.READ, Group.FILES, 1, version=1, name="nothing") == {"rc": 5}
    assert ask(connection, Op.READ, Group.NPP, 200, version=1) == {"rc": 8}


def test_a_later_version_of_smp_is_told_so(connection: Connection) -> None:
    message = bytearray(encode(REQUESTS["echo"]))
    message[0] |= 0x10
    answer = connection.answer(bytes(message))
    assert answer is not None
    assert decode(answer).body == {"rc": Code.VERSION_TOO_NEW}


def test_answers_and_headers_of_nobody_are_not_answered(connection: Connection) -> None:
    assert connection.answer(b"123") is None
    assert connection.answer(encode(Message(Header(Op.WRITE_RESPONSE, 0, 0, 1)))) is None
    assert connection.answer(b"\x03\x00\x00\x09\x00\x00\x00\x00\xa0") is None


def test_a_damaged_map_is_refused_with_a_reason(connection: Connection) -> None:
    answer = connection.answer(b"\x0a\x00\x00\x02\x00\x00\x05\x00\xa1\x01")
    assert answer is not None
    assert decode(answer) == Message(Header(Op.WRITE_RESPONSE, 0, 0, 5), {"rc": Code.INVALID})
    assert "ends too early" in reason(connection)


def test_a_calibration_is_a_job_with_progress_notes_and_a_document(
    connection: Connection, board: FakeBoard, server: Server
) -> None:
    board.gate.clear()
    number = begin(connection, Npp.CALIBRATE, samples=8, budget_mac_share=0.5, age_s=3)["job"]
    while not (job := ask(connection, Op.READ, Group.NPP, Npp.JOB, job=number))["notes"]:
        pass
    assert (job["state"], job["done"], job["total"]) == ("running", 1, 4)
    assert job["notes"] == ["recoverable: a lot"]
    board.gate.set()
    server.jobs.wait(10)
    job = ask(connection, Op.READ, Group.NPP, Npp.JOB, job=number, notes=1)
    assert (job["state"], job["exit_code"], job["notes"]) == ("done", 0, [])
    (call,) = board.calls
    assert isinstance(call, Calibrate)
    assert (call.samples, call.budget_mac_share, call.conditions["age_s"]) == (8, 0.5, 3.0)
    document = ask(connection, Op.READ, Group.NPP, Npp.DOCUMENT, name="job", off=0)["data"]
    assert json.loads(document) == {"done": str(call)}


def test_a_busy_board_says_so_and_answers_everything_else(
    connection: Connection, board: FakeBoard, server: Server
) -> None:
    board.gate.clear()
    begin(connection, Npp.CALIBRATE)
    for command in (Npp.CALIBRATE, Npp.MEASURE, Npp.ROLLBACK):
        assert begin(connection, command) == {"rc": Code.BUSY}
    assert "calibrate runs" in reason(connection)
    assert ask(connection, Op.READ, Group.NPP, Npp.REASON)["exit_code"] == 4
    assert ask(connection, Op.WRITE, Group.OS, 5) == {"rc": Code.BUSY}
    assert ask(connection, Op.WRITE, Group.SETTINGS, 0, name="chip/age_s", val=b"1") == {
        "rc": Code.BUSY
    }
    assert ask(connection, Op.WRITE, Group.OS, 0, d="still here") == {"r": "still here"}
    assert ask(connection, Op.WRITE, Group.OS, 5, force=1) == {}
    assert board.resets == 1
    board.gate.set()
    server.jobs.wait(10)
    assert begin(connection, Npp.MEASURE) == {"job": 2}


@pytest.mark.parametrize(
    ("error", "code"), [(StoreLockedError("another works"), 4), (BundleError("damaged"), 1)]
)
def test_a_job_that_fails_gives_its_sentence_and_exit_code(
    connection: Connection, board: FakeBoard, server: Server, error: Any, code: int
) -> None:
    board.fails = error
    number = begin(connection, Npp.MEASURE)["job"]
    server.jobs.wait(10)
    job = ask(connection, Op.READ, Group.NPP, Npp.JOB, job=number)
    assert (job["state"], job["exit_code"], job["failure"]) == ("failed", code, str(error))


def test_a_long_document_comes_in_pieces_of_one_moment(
    connection: Connection, board: FakeBoard
) -> None:
    data, length = b"", 1
    while len(data) < length:
        body = {"name": "status", "off": len(data)}
        answer = ask(connection, Op.READ, Group.NPP, Npp.DOCUMENT, **body)
        length = answer.get("len", length)
        data += answer["data"]
    assert json.loads(data) == board.status()
    refused = ask(connection, Op.READ, Group.NPP, Npp.DOCUMENT, name="history", off=5)
    assert refused == {"rc": Code.BAD_STATE}


def test_layers_come_in_pages(connection: Connection) -> None:
    names: list[str] = []
    while True:
        answer = ask(connection, Op.READ, Group.NPP, Npp.LAYERS, **{"from": len(names)})
        names += [layer["name"] for layer in answer["layers"]]
        if len(names) == answer["count"]:
            break
    assert names == [f"layer_{i}" for i in range(40)]


def test_an_upload_grows_piece_by_piece_and_tells_where_to_go_on(
    connection: Connection, tmp_path: Path
) -> None:
    def put(offset: int, data: bytes, **more: int) -> Mapping[str, Any]:
        body = {"name": "a.npp", "off": offset, "data": data, **more}
        return ask(connection, Op.WRITE, Group.FILES, 0, **body)

    assert put(0, b"abc", len=9) == {"off": 3}
    assert put(6, b"ghi") == {"off": 3}
    assert put(3, b"def") == {"off": 6}
    assert put(3, b"def") == {"off": 6}
    assert put(6, b"ghi") == {"off": 9}
    assert (tmp_path / "upload" / "a.npp").read_bytes() == b"abcdefghi"
    assert put(0, b"x", len=1) == {"off": 1}
    assert (tmp_path / "upload" / "a.npp").read_bytes() == b"x"


BAD_NAMES = [
    "../a",
    "/etc/passwd",
    "a/b",
    "upload/../a",
    "..",
    ".hidden",
    "",
    "a\0b",
    "a" * 65,
    "upload/upload/a",
    "ä.npp",
    "-rf",
    "a\nb",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_lead_out_of_the_staging_area_are_refused(
    connection: Connection, tmp_path: Path, name: str
) -> None:
    body = {"name": name, "off": 0, "data": b"evil", "len": 4}
    assert ask(connection, Op.WRITE, Group.FILES, 0, **body) == {"err": {"group": 8, "rc": 2}}
    for command in (0, 1, 2):
        body = {"name": name, **({"off": 0} if command == 0 else {})}
        assert "err" in ask(connection, Op.READ, Group.FILES, command, **body)
    assert list(tmp_path.rglob("*")) == []


def test_links_in_the_staging_area_are_not_followed(connection: Connection, tmp_path: Path) -> None:
    (tmp_path / "upload").mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (tmp_path / "upload" / "a").symlink_to(secret)
    body = {"name": "a", "off": 0, "data": b"evil", "len": 4}
    assert ask(connection, Op.WRITE, Group.FILES, 0, **body) == {"err": {"group": 8, "rc": 2}}
    assert "err" in ask(connection, Op.READ, Group.FILES, 0, name="a", off=0)
    assert secret.read_bytes() == b"secret"


def test_the_staging_area_has_a_size(board: FakeBoard, tmp_path: Path) -> None:
    server = Server(board, StagingArea(tmp_path / "upload", limit_bytes=1000))
    connection = server.connect(LOCAL)

    def put(name: str, offset: int, size: int, **more: int) -> Mapping[str, Any]:
        body = {"name": name, "off": offset, "data": bytes(size), **more}
        return ask(connection, Op.WRITE, Group.FILES, 0, **body)

    full = {"err": {"group": 8, "rc": 10}}
    assert put("a", 0, 10, len=1001) == full
    assert "1000 of 1000 bytes are left" in reason(connection)
    assert put("a", 0, 600, len=600) == {"off": 600}
    assert put("b", 0, 500) == full
    assert put("b", 0, 400, len=400) == {"off": 400}
    assert put("b", 400, 1) == full
    assert put("c", 0, 0, len=0) == {"off": 0}
    for number in range(5):
        assert put(f"d{number}", 0, 0, len=0) == {"off": 0}
    assert put("e", 0, 0, len=0) == full
    assert "8 uploads wait" in reason(connection)


def test_an_upload_is_activated_only_if_it_is_what_was_meant(
    connection: Connection, board: FakeBoard, server: Server, tmp_path: Path
) -> None:
    body = {"name": "a.npp", "off": 0, "data": b"bundle", "len": 6}
    ask(connection, Op.WRITE, Group.FILES, 0, **body)
    begin(connection, Npp.ACTIVATE, name="a.npp", sha256=bytes(32))
    server.jobs.wait(10)
    job = ask(connection, Op.READ, Group.NPP, Npp.JOB, job=1)
    assert job["state"] == "failed"
    assert "upload it again" in job["failure"]
    assert board.calls == []
    begin(connection, Npp.ACTIVATE, name="a.npp", sha256=sha256(b"bundle").digest())
    server.jobs.wait(10)
    assert board.calls == [Activate("a.npp", b"bundle")]
    assert [path.name for path in (tmp_path / "upload").iterdir()] == [UPLOADS_MARK]


def test_a_repeated_command_is_done_once(connection: Connection) -> None:
    request = encode(REQUESTS["measure"])
    first, second = connection.answer(request), connection.answer(request)
    assert first == second
    assert first is not None
    assert decode(first).body == {"job": 1}


def test_events_come_only_to_who_holds_a_lease(board: FakeBoard, tmp_path: Path) -> None:
    server = Server(board, StagingArea(tmp_path / "upload"))
    listening, other = server.connect(LOCAL), server.connect(LOCAL)
    moment = [0.0]
    listening.session.clock = lambda: moment[0]
    assert ask(listening, Op.WRITE, Group.NPP, Npp.SUBSCRIBE, lease_s=1000) == {"lease_s": 300}
    begin(other, Npp.CALIBRATE)
    server.jobs.wait(10)
    assert other.due() == b""
    (event,) = FrameReader().feed(listening.due())
    assert decode(event) == Message(
        Header(Op.READ_RESPONSE, Group.NPP, Npp.EVENT, 0),
        {"event": "calibration", "job": 1, "exit_code": 0, "accepted": True},
    )
    assert listening.due() == b""
    moment[0] = 301.0
    server.tell({"event": "drift"})
    assert listening.due() == b""
    server.disconnect(listening)
    assert list(server._connected.values()) == [other.session]


GUARDED = {
    "reset": (Op.WRITE, Group.OS, 5, {}),
    "write a setting": (Op.WRITE, Group.SETTINGS, 0, {"name": "chip/age_s", "val": b"30"}),
    "download the bundle": (Op.READ, Group.FILES, 0, {"name": "bundle.npp", "off": 0}),
    "download factors": (Op.READ, Group.FILES, 0, {"name": "factors.bin", "off": 0}),
    "download an upload": (Op.READ, Group.FILES, 0, {"name": "x.npp", "off": 0}),
    "measure elsewhere": (Op.WRITE, Group.NPP, Npp.MEASURE, {"age_s": 1e6}),
    "calibrate": (Op.WRITE, Group.NPP, Npp.CALIBRATE, {}),
    "roll back": (Op.WRITE, Group.NPP, Npp.ROLLBACK, {}),
    "activate": (Op.WRITE, Group.NPP, Npp.ACTIVATE, {"name": "x", "sha256": bytes(32)}),
}


@pytest.mark.parametrize("name", GUARDED)
@pytest.mark.parametrize("key", [None, KEY])
def test_what_changes_something_needs_the_key(
    server: Server, board: FakeBoard, name: str, key: bytes | None
) -> None:
    op, group, command, body = GUARDED[name]
    connection = server.connect(Access(key=key))
    assert ask(connection, op, group, command, **body) == {"rc": Code.ACCESS_DENIED}
    assert "needs the shared key" in reason(connection)
    server.jobs.wait(10)
    assert (board.calls, board.resets, board.values["chip/age_s"]) == ([], 0, "0")


@pytest.mark.parametrize("name", [*GUARDED])
def test_who_allows_everything_is_asked_for_nothing(server: Server, name: str) -> None:
    op, group, command, body = GUARDED[name]
    connection = server.connect(Access(allow_unauthenticated=True))
    assert ask(connection, op, group, command, **body) != {"rc": Code.ACCESS_DENIED}
    server.jobs.wait(10)


def test_reading_measuring_and_uploading_need_no_key(server: Server) -> None:
    connection = server.connect(Access(key=KEY))
    assert "data" in ask(connection, Op.READ, Group.FILES, 0, name="history.jsonl", off=0)
    body = {"name": "x.npp", "off": 0, "data": b"abc", "len": 3}
    assert ask(connection, Op.WRITE, Group.FILES, 0, **body) == {"off": 3}
    assert ask(connection, Op.WRITE, Group.NPP, Npp.MEASURE) == {"job": 1}
    server.jobs.wait(10)


def challenge(connection: Connection) -> bytes:
    said = ask(connection, Op.READ, Group.NPP, Npp.CHALLENGE)
    assert said["must_sign"] is True
    return bytes(said["nonce"])


def signed(
    connection: Connection, nonce: bytes, message: bytes, key: bytes = KEY
) -> Mapping[str, Any]:
    body = {"message": message, "code": code_of(key, nonce, message)}
    return ask(connection, Op.WRITE, Group.NPP, Npp.SIGNED, **body)


def test_a_signed_command_is_done(server: Server, board: FakeBoard) -> None:
    connection = server.connect(Access(key=KEY))
    said = signed(connection, challenge(connection), encode(REQUESTS["roll back"]))
    assert decode(said["message"]).body == {"job": 1}
    server.jobs.wait(10)
    assert board.calls == [("rollback", 0)]
    said = signed(connection, said["nonce"], encode(REQUESTS["reset"]))
    assert decode(said["message"]).body == {}
    assert board.resets == 1
    assert ask(connection, Op.WRITE, Group.OS, 5) == {"rc": Code.ACCESS_DENIED}


def test_no_signature_but_the_right_one_passes(server: Server, board: FakeBoard) -> None:
    connection = server.connect(Access(key=KEY))
    reset, measure = encode(REQUESTS["reset"]), encode(REQUESTS["measure"])
    denied = {"rc": Code.ACCESS_DENIED}
    nonce = challenge(connection)
    assert signed(connection, nonce, reset, key=bytes(32)) == denied
    assert signed(connection, nonce, reset) == denied, "a nonce is good once"
    assert signed(connection, bytes(16), reset) == denied
    nonce = challenge(connection)
    body = {"message": reset, "code": code_of(KEY, nonce, measure)}
    assert ask(connection, Op.WRITE, Group.NPP, Npp.SIGNED, **body) == denied
    nonce, elsewhere = challenge(connection), server.connect(Access(key=KEY))
    assert signed(elsewhere, nonce, reset) == denied, "a nonce is good on one connection"
    nonce = challenge(connection)
    signed(connection, nonce, measure)
    assert signed(connection, nonce, reset) == denied
    assert board.resets == 0
    server.jobs.wait(10)
    without = server.connect(Access())
    assert signed(without, challenge(without), reset) == denied
    assert "no key" in reason(without)


def test_a_signed_command_holds_one_command(server: Server) -> None:
    connection = server.connect(Access(key=KEY))
    inner = encode(Message(Header(Op.READ, Group.NPP, Npp.CHALLENGE, 1)))
    assert signed(connection, challenge(connection), inner) == {"rc": Code.INVALID}
    assert signed(connection, challenge(connection), b"nonsense") == {"rc": Code.INVALID}


def test_a_key_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(read_key(path)) == 32
    with pytest.raises(InputError, match="never overwritten"):
        make_key(path)
    path.chmod(0o640)
    with pytest.raises(InputError, match="chmod 600"):
        read_key(path)
    path.chmod(0o600)
    path.write_text("no key", encoding="ascii")
    with pytest.raises(InputError, match="holds no key"):
        read_key(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_key(tmp_path / "nothing")


def test_errors_of_the_store_are_refusals_with_the_boards_sentence() -> None:
    class Broken(FakeBoard):
        def status(self) -> Mapping[str, Any]:
            raise StoreLockedError("another npp-agent works on it")

        def layers(self) -> list[Any]:
            raise RuntimeError("a defect")

    broken = Server(Broken(), StagingArea(Path("nowhere"))).connect(LOCAL)
    said = ask(broken, Op.READ, Group.NPP, Npp.DOCUMENT, name="status", off=0)
    assert said == {"rc": Code.BAD_STATE}
    assert ask(broken, Op.READ, Group.NPP, Npp.REASON) == {
        "text": "another npp-agent works on it",
        "exit_code": 4,
    }
    assert ask(broken, Op.READ, Group.NPP, Npp.LAYERS) == {"rc": Code.UNKNOWN}
    assert "has a defect" in reason(broken)

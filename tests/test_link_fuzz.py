"""Whatever comes over a wire: the board answers on, takes no memory, and touches nothing else."""

from __future__ import annotations

import gc
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.link import frames
from agent.link.codes import MAX_MESSAGE_BYTES, Op
from agent.link.connection import Connection
from agent.link.messages import Header, Message, decode, encode
from agent.link.server import Server
from agent.link.session import Access
from agent.link.staging import StagingArea
from tests.link_fakes import FakeBoard
from tests.link_fuzz import fuzzed

LIMIT_BYTES = 100_000


def echoes(connection: Connection, text: str) -> bool:
    """Whether the connection still answers, behind whatever line was begun before."""
    request = encode(Message(Header(Op.WRITE, 0, 0, 9), {"d": text}))
    answers = connection.receive(b"\n" + frames.encode(request))
    found = frames.FrameReader(8192).feed(answers)
    return bool(found) and decode(found[-1]).body == {"r": text}


def resident_kib() -> int:
    gc.collect()
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split("VmRSS:")[1].split()[0])


def tree(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def fuzz(tmp_path: Path, count: int, seed: int) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "state.json").write_text("{}", encoding="ascii")
    board = FakeBoard()
    server = Server(board, StagingArea(tmp_path / "store" / "upload", LIMIT_BYTES))
    connection = server.connect(Access(key=bytes(32)))
    before_kib = 0
    for number, data in enumerate(itertools.islice(fuzzed(seed), count)):
        answers = connection.receive(data)
        for answer in frames.FrameReader(8192).feed(answers):
            assert decode(answer).header.op in {Op.READ_RESPONSE, Op.WRITE_RESPONSE}
        if number % 1000 == 999:
            assert echoes(connection, f"{number}"), number
            board.calls.clear()
        if number == count // 4:
            before_kib = resident_kib()
    server.jobs.wait(10)
    assert resident_kib() - before_kib < 4096
    assert connection.quality.frames > count // 4
    assert connection.quality.broken > count // 10
    allowed = {"store", "store/state.json", "store/upload"}
    strangers = [name for name in tree(tmp_path) if name not in allowed]
    assert all(name.startswith("store/upload/") for name in strangers), strangers
    sizes = [path.stat().st_size for path in (tmp_path / "store" / "upload").iterdir()]
    assert sum(sizes) <= LIMIT_BYTES
    assert (tmp_path / "store" / "state.json").read_text(encoding="ascii") == "{}"
    assert board.resets == 0
    assert board.values["chip/age_s"] == "0"
    assert all(call[0] == "measure" for call in board.calls if isinstance(call, tuple))
    assert all(isinstance(call, tuple) for call in board.calls)


def test_thousands_of_odd_frames(tmp_path: Path) -> None:
    fuzz(tmp_path, 20_000, seed=1)


@pytest.mark.slow
def test_a_million_odd_frames(tmp_path: Path) -> None:
    fuzz(tmp_path, 1_000_000, seed=2)


@given(st.lists(st.binary(max_size=600), max_size=20))
def test_any_bytes_leave_the_board_answering(pieces: list[bytes]) -> None:
    connection = Server(FakeBoard(), StagingArea(Path("nowhere"))).connect(Access())
    for piece in pieces:
        connection.receive(piece)
    assert echoes(connection, "still here")


@given(st.integers(0, 31), st.integers(0, 0xFFFF), st.integers(0, 255), st.binary(max_size=80))
def test_any_message_is_answered_or_ignored(
    first: int, group: int, command: int, body: bytes
) -> None:
    connection = Server(FakeBoard(), StagingArea(Path("nowhere"))).connect(Access())
    head = bytes([first, 0]) + len(body).to_bytes(2) + group.to_bytes(2) + bytes([3, command])
    answer = connection.answer(head + body)
    if answer is not None:
        assert len(answer) <= 8192
        assert decode(answer).header.sequence == 3
    assert len(head + body) <= MAX_MESSAGE_BYTES
    assert not Path("nowhere").exists()

"""Our own other end: what it repeats, resumes, signs and says; and lines that are bad to it."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.errors import LinkError, LinkLostError, RemoteError
from agent.link.client import Ask, Client
from agent.link.codes import Group, Npp, Op
from agent.link.server import Server
from agent.link.session import Access
from agent.link.staging import StagingArea
from agent.link.upload import upload
from tests.link_fakes import BoardLine, FakeBoard

KEY = bytes(range(32))
FAST = 1e9
"""Bytes a second: waiting for what is lost takes only its margin."""


def nothing(_done: int, _total: int) -> None:
    """Nobody watches."""


def line_to(
    board: FakeBoard,
    directory: Path,
    access: Access | None = None,
    spoil: Callable[[bytes], bytes] = lambda line: line,
) -> BoardLine:
    server = Server(board, StagingArea(directory / "upload"))
    return BoardLine(server.connect(access or Access(local=True)), spoil)


def test_it_asks_and_is_answered(tmp_path: Path) -> None:
    client = Client(line_to(FakeBoard(), tmp_path), FAST)
    said = client.ask(Ask(Op.WRITE, Group.OS, 0, {"d": "hi"}))
    assert said == {"r": "hi"}
    assert (client.counts.answers, client.counts.repeats) == (1, 0)


def test_a_refusal_is_the_boards_own_sentence(tmp_path: Path) -> None:
    client = Client(line_to(FakeBoard(), tmp_path), FAST)
    with pytest.raises(RemoteError, match="the board says: there is no file 'nothing'"):
        client.ask(Ask(Op.READ, Group.FILES, 1, {"name": "nothing"}))


def test_it_signs_what_is_guarded_and_only_that(tmp_path: Path) -> None:
    board = FakeBoard()
    line = line_to(board, tmp_path, Access(key=KEY))
    reset = Ask(Op.WRITE, Group.OS, 5, {}, guarded=True)
    with pytest.raises(RemoteError, match="needs the shared key"):
        Client(line, FAST).ask(reset)
    with pytest.raises(RemoteError, match="not signed with this board's key"):
        Client(line, FAST, bytes(32)).ask(reset)
    client = Client(line, FAST, KEY)
    for count in (1, 2, 3):
        client.ask(reset)
        assert board.resets == count
    assert client.counts.answers == 4, "one challenge, then each answer brings the next nonce"
    with pytest.raises(RemoteError, match="there is no file"):
        client.ask(Ask(Op.READ, Group.FILES, 0, {"name": "none", "off": 0}, guarded=True))


def test_a_board_that_forgot_the_nonce_is_asked_for_another(tmp_path: Path) -> None:
    board = FakeBoard()
    line = line_to(board, tmp_path, Access(key=KEY))
    client = Client(line, FAST, KEY)
    reset = Ask(Op.WRITE, Group.OS, 5, {}, guarded=True)
    client.ask(reset)
    line.connection.session.nonce = None  # as after a restart
    client.ask(reset)
    assert board.resets == 2


def test_a_board_that_trusts_is_sent_plain_commands(tmp_path: Path) -> None:
    board = FakeBoard()
    client = Client(line_to(board, tmp_path), FAST, KEY)
    client.ask(Ask(Op.WRITE, Group.OS, 5, {}, guarded=True))
    assert board.resets == 1


class Loses:
    """Loses lines, each with this chance."""

    def __init__(self, chance: float, seed: int) -> None:
        self.chance, self.generator, self.lost = chance, random.Random(seed), 0  # noqa: S311

    def __call__(self, line: bytes) -> bytes:
        if self.generator.random() >= self.chance:
            return line
        self.lost += 1
        return b"" if self.generator.random() < 0.5 else line[: len(line) // 2] + b"\n"


@pytest.mark.slow
def test_an_upload_over_a_line_that_loses_is_whole(tmp_path: Path) -> None:
    loses = Loses(0.02, seed=3)
    client = Client(line_to(FakeBoard(), tmp_path, spoil=loses), FAST)
    data = os.urandom(60_000)
    sent = upload(client, "a.npp", data, nothing)
    assert (sent.bytes_sent, sent.resumed_at) == (60_000, 0)
    assert (tmp_path / "upload" / "a.npp").read_bytes() == data
    assert loses.lost > 5
    assert client.counts.repeats > 0


def test_a_repeated_calibration_is_begun_once(tmp_path: Path) -> None:
    board = FakeBoard()
    drops = iter([False, True])  # the answer is lost once: the request comes again

    def spoil(line: bytes) -> bytes:
        return b"" if next(drops, False) else line

    client = Client(line_to(board, tmp_path, spoil=spoil), FAST)
    assert client.ask(Ask(Op.WRITE, Group.NPP, Npp.CALIBRATE, {})) == {"job": 1}
    assert client.counts.repeats == 1
    assert len(board.calls) <= 1


def test_an_upload_goes_on_where_the_board_has_it_after_any_cut(tmp_path: Path) -> None:
    data = os.urandom(9000)
    whole = line_to(FakeBoard(), tmp_path / "whole")
    upload(Client(whole, FAST), "a.npp", data, nothing)
    for cut in range(1, whole.sent, 700):
        directory = tmp_path / str(cut)
        server = Server(FakeBoard(), StagingArea(directory / "upload"))
        line = BoardLine(server.connect(Access(local=True)))
        line.lost_after = cut
        with pytest.raises(LinkLostError, match="pulled"):
            upload(Client(line, FAST), "a.npp", data, nothing)
        staged = directory / "upload" / "a.npp"
        had = staged.read_bytes() if staged.exists() else b""
        assert data.startswith(had)
        again = BoardLine(server.connect(Access(local=True)))
        sent = upload(Client(again, FAST), "a.npp", data, nothing)
        assert (sent.resumed_at, sent.bytes_sent) == (len(had), len(data) - len(had))
        assert staged.read_bytes() == data


def test_another_file_of_that_name_is_not_gone_on_with(tmp_path: Path) -> None:
    line = line_to(FakeBoard(), tmp_path)
    client = Client(line, FAST)
    upload(client, "a.npp", b"x" * 5000, nothing)
    data = os.urandom(6000)
    assert upload(client, "a.npp", data, nothing).resumed_at == 0
    assert (tmp_path / "upload" / "a.npp").read_bytes() == data
    assert upload(client, "a.npp", data, nothing).bytes_sent == 0
    assert upload(client, "a.npp", b"short", nothing).resumed_at == 0
    assert hashlib.sha256((tmp_path / "upload" / "a.npp").read_bytes()).digest() == (
        hashlib.sha256(b"short").digest()
    )


def test_events_between_answers_are_taken_and_disturb_nothing(tmp_path: Path) -> None:
    server = Server(FakeBoard(), StagingArea(tmp_path / "upload"))
    line = BoardLine(server.connect(Access(local=True)))
    heard: list[object] = []
    client = Client(line, FAST, on_event=heard.append)
    client.ask(Ask(Op.WRITE, Group.NPP, Npp.SUBSCRIBE, {"lease_s": 60}))
    server.tell({"event": "drift", "state": "drifted"})
    assert client.ask(Ask(Op.WRITE, Group.OS, 0, {"d": "x"})) == {"r": "x"}
    client.events(0.01)
    assert heard == [{"event": "drift", "state": "drifted"}]


class Says:
    """A line on which something else talks, and nobody answers."""

    def __init__(self, text: bytes) -> None:
        self.text = text

    def read(self, timeout_s: float) -> bytes:
        del timeout_s
        text, self.text = self.text, b""
        return text

    def write(self, data: bytes) -> None:
        del data

    def close(self) -> None:
        """Nothing is held."""


def test_a_silent_line_is_given_up(tmp_path: Path) -> None:
    del tmp_path
    client = Client(Says(b"login: "), FAST)
    with pytest.raises(LinkLostError, match="nobody answered 2 times"):
        client.ask(Ask(Op.READ, Group.OS, 6, {}), tries=2)
    assert client.quality.foreign_bytes == 0, "a line that has not ended may still become a frame"
    assert isinstance(LinkLostError("x"), LinkError)

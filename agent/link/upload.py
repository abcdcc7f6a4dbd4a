"""A file goes to a board: in pieces as large as the line bears, from where the board has it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.errors import LinkLostError, RemoteError
from agent.link.client import Ask, Client, room_for
from agent.link.codes import MAX_MESSAGE_BYTES, Group, Op
from agent.link.file_group import FILE, HASH, STATUS, UPLOADS
from agent.link.messages import HEADER_BYTES

SMALLEST_PIECE = 256
_GROW_AFTER = 8
"""So many pieces without a repeat, and the next may be twice as large."""

_ANSWER_BYTES = 64

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Uploaded:
    """How an upload went."""

    bytes_sent: int
    resumed_at: int
    """How much the board had already."""


def upload(client: Client, name: str, data: bytes, progress: Progress) -> Uploaded:
    """Send a file into the staging area; what is there of it already is not sent again.

    Args:
        client: connected to the board.
        name: of the upload.
        data: the file.
        progress: is told what the board has, and of how much.

    Raises:
        RemoteError: the board refuses.
        LinkLostError: the line is gone; called again, it goes on.
    """
    begun = at = _already(client, name, data)
    pieces = _Pieces(client, name, data)
    while at < len(data):
        progress(at, len(data))
        confirmed = pieces.sent(at)
        if confirmed > len(data):
            raise RemoteError(
                f"the board has {confirmed} bytes of {name}, which has {len(data)}: upload again"
            )
        at = confirmed
    progress(at, len(data))
    return Uploaded(len(data) - begun, begun)


class _Pieces:
    """Pieces that shrink when the line loses some, and grow again when it does not."""

    def __init__(self, client: Client, name: str, data: bytes) -> None:
        self._client, self._name, self._data = client, name, data
        self._largest = self._size = MAX_MESSAGE_BYTES - HEADER_BYTES
        self._good = 0

    def sent(self, at: int) -> int:
        """Send a piece; returns what the board has then."""
        body: dict[str, Any] = {"name": UPLOADS + self._name, "off": at}
        if at == 0:
            body["len"] = len(self._data)
        count = max(room_for(body, self._size), 1)
        before = self._client.counts.repeats
        ask = Ask(
            Op.WRITE,
            Group.FILES,
            FILE,
            {**body, "data": self._data[at : at + count]},
            answer_bytes=_ANSWER_BYTES,
        )
        confirmed = self._client.ask(ask).get("off")
        self._fit(lost=self._client.counts.repeats > before)
        if type(confirmed) is not int:
            raise LinkLostError("the board does not say how much it has")
        return confirmed

    def _fit(self, *, lost: bool) -> None:
        if lost:
            self._size, self._good = max(self._size // 2, SMALLEST_PIECE), 0
            return
        self._good += 1
        if self._good >= _GROW_AFTER:
            self._size, self._good = min(2 * self._size, self._largest), 0


def _already(client: Client, name: str, data: bytes) -> int:
    """How much of this very file the board has from before."""
    known = {"name": UPLOADS + name}
    try:
        size = _read(client, STATUS, known).get("len")
    except RemoteError:
        return 0  # it has none
    if type(size) is not int or not 0 < size <= len(data):
        return 0
    found = _read(client, HASH, {**known, "type": "sha256", "len": size})
    return size if found.get("output") == hashlib.sha256(data[:size]).digest() else 0


def _read(client: Client, command: int, body: Mapping[str, Any]) -> Mapping[str, Any]:
    return client.ask(Ask(Op.READ, Group.FILES, command, body))

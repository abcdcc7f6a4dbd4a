"""Group 8: uploads go into the staging area; bundle, factors and history can be fetched."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agent.errors import AgentError
from agent.link.board import Board, Readable
from agent.link.codes import Code, FileCode, Op
from agent.link.commands import Commands
from agent.link.fields import Fields
from agent.link.refusal import Refusal
from agent.link.session import Session
from agent.link.staging import StagingArea

FILE, STATUS, HASH, HASH_TYPES, CLOSE = 0, 1, 2, 3, 4
UPLOADS = "upload/"
FREE = ("history.jsonl",)
"""What may be fetched without the key."""

OURS = ("bundle.npp", "factors.bin", *FREE)
_PIECE_BYTES = 1900
_BLOCK_BYTES = 2**16


def file_commands(board: Board, staging: StagingArea) -> Commands:
    """What the group answers."""
    files = _Files(board, staging)
    return {
        (FILE, Op.READ): files.download,
        (FILE, Op.WRITE): files.upload,
        (STATUS, Op.READ): files.status,
        (HASH, Op.READ): files.hashed,
        (HASH_TYPES, Op.READ): _hash_types,
        (CLOSE, Op.WRITE): _close,
    }


@dataclass(frozen=True)
class _Files:
    board: Board
    staging: StagingArea

    def upload(self, fields: Fields, _session: Session) -> Mapping[str, Any]:
        name = fields.text("name")
        offset, data = fields.whole("off"), fields.data("data")
        total = fields.maybe_whole("len")
        fields.end()
        if _plain(name) in OURS:
            raise Refusal(
                f"{name} is the agent's own; upload under another name, and activate it",
                Code.ACCESS_DENIED,
                own=FileCode.READ_ONLY,
            )
        return {"off": self.staging.write(_plain(name), offset, data, total)}

    def download(self, fields: Fields, session: Session) -> Mapping[str, Any]:
        name, offset = fields.text("name"), fields.whole("off")
        fields.end()
        if _plain(name) not in FREE:
            session.must_be_allowed(f"fetching {name}")
        if offset == 0 or session.fetched is None or session.fetched[0] != name:
            session.fetched = (name, self._found(name))
        file = session.fetched[1]
        if offset > file.size_bytes:
            raise Refusal(
                f"{name} has {file.size_bytes} bytes, asked for was byte {offset}",
                own=FileCode.OFFSET_LARGER,
            )
        answer = {"off": offset, "data": _read(name, file, offset, _PIECE_BYTES)}
        if offset + _PIECE_BYTES >= file.size_bytes:
            session.fetched = None
        return {**answer, "len": file.size_bytes} if offset == 0 else answer

    def status(self, fields: Fields, _session: Session) -> Mapping[str, Any]:
        name = fields.text("name")
        fields.end()
        return {"len": self._found(name).size_bytes}

    def hashed(self, fields: Fields, _session: Session) -> Mapping[str, Any]:
        name, kind = fields.text("name"), fields.maybe_text("type") or "sha256"
        offset, length = fields.maybe_whole("off") or 0, fields.maybe_whole("len")
        fields.end()
        if kind not in _HASHES:
            raise Refusal(
                f"no checksum is named {kind!r}, but {', '.join(_HASHES)}",
                Code.NOT_SUPPORTED,
                own=FileCode.HASH_NOT_FOUND,
            )
        file = self._found(name)
        if offset > file.size_bytes:
            raise Refusal(f"{name} ends before byte {offset}", own=FileCode.OFFSET_LARGER)
        rest = file.size_bytes - offset
        count = rest if length is None else min(length, rest)
        output = _HASHES[kind](_blocks(name, file, offset, count))
        answer = {"type": kind, "len": count, "output": output}
        return {**answer, "off": offset} if offset else answer

    def _found(self, name: str) -> Readable:
        plain = _plain(name)
        try:
            file = self.board.file(plain) if plain in OURS else self.staging.file(plain)
        except AgentError as error:
            raise Refusal(str(error), own=FileCode.READ_FAILED) from error
        if file is None:
            raise Refusal(f"there is no file {name!r}", Code.NOT_FOUND, own=FileCode.NOT_FOUND)
        return file


def _plain(name: str) -> str:
    """The name without the directory of uploads, which may be left out."""
    return name.removeprefix("/").removeprefix(UPLOADS)


def _read(name: str, file: Readable, offset: int, count: int) -> bytes:
    try:
        return file.read(offset, count)
    except (OSError, AgentError) as error:
        raise Refusal(f"{name} cannot be read: {error}", own=FileCode.READ_FAILED) from error


def _blocks(name: str, file: Readable, offset: int, count: int) -> Iterator[bytes]:
    end = offset + count
    for at in range(offset, end, _BLOCK_BYTES):
        yield _read(name, file, at, min(_BLOCK_BYTES, end - at))


def _sha256(blocks: Iterator[bytes]) -> bytes:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.digest()


def _crc32(blocks: Iterator[bytes]) -> int:
    crc = 0
    for block in blocks:
        crc = zlib.crc32(block, crc)
    return crc


_HASHES: Mapping[str, Callable[[Iterator[bytes]], bytes | int]] = {
    "sha256": _sha256,
    "crc32": _crc32,
}


def _hash_types(fields: Fields, _session: Session) -> Mapping[str, Any]:
    fields.end()
    return {"types": {"sha256": {"format": 1, "size": 32}, "crc32": {"format": 0, "size": 4}}}


def _close(fields: Fields, _session: Session) -> Mapping[str, Any]:
    fields.end()
    return {}  # no file is held open between two requests

"""SMP messages: a header of eight bytes and a CBOR map; values to bytes and back. No I/O.

Header (big-endian): operation in bits 0 to 2 and version - 1 in bits 3 and 4 of the first byte,
flags, length of the map, group (2 bytes each), sequence number, command. Versions 1 and 2 differ in
how errors are said.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.link.cbor import CborError, decode_map, encode_map
from agent.link.codes import Op

_HEADER = struct.Struct("!BBHHBB")
HEADER_BYTES = _HEADER.size
VERSIONS = (1, 2)


@dataclass(frozen=True)
class Header:
    """Who is meant, and what answers whom."""

    op: Op
    group: int
    command: int
    sequence: int
    version: int = 2


@dataclass(frozen=True)
class Message:
    """A request, a response or an event."""

    header: Header
    body: Mapping[str, Any] = field(default_factory=dict)


class MessageError(ValueError):
    """Bytes that are no message; with the header where at least that can be read.

    Args:
        text: what is wrong.
        header: as it was read, with `version` 2 where the version is unknown.
        too_new: the version is one that we do not know.
    """

    def __init__(self, text: str, header: Header | None = None, *, too_new: bool = False) -> None:
        """Keep what an answer needs."""
        super().__init__(text)
        self.header, self.too_new = header, too_new


def encode(message: Message) -> bytes:
    """A message as bytes.

    Raises:
        CborError: something in its body has no place in a message.
        ValueError: a number does not fit into its field.
    """
    head = message.header
    body = encode_map(message.body)
    if head.version not in VERSIONS:
        raise ValueError(f"SMP has no version {head.version}")
    try:
        first = head.op | (head.version - 1) << 3
        return _HEADER.pack(first, 0, len(body), head.group, head.sequence, head.command) + body
    except struct.error as error:
        raise ValueError(f"this fits no header: {head}") from error


def decode(data: bytes) -> Message:
    """The message that bytes hold.

    Raises:
        MessageError: they hold none; with the header where that can be read.
    """
    if len(data) < HEADER_BYTES:
        raise MessageError(f"{len(data)} bytes, fewer than a header has")
    first, _flags, length, group, sequence, command = _HEADER.unpack_from(data)
    if first >> 5 or first & 7 > Op.WRITE_RESPONSE:
        raise MessageError(f"an operation {first:#04x} that SMP does not have")
    version = (first >> 3 & 3) + 1
    known = version if version in VERSIONS else VERSIONS[-1]
    header = Header(Op(first & 7), group, command, sequence, known)
    if version != known:
        raise MessageError(f"version {version} of SMP", header, too_new=True)
    if length != len(data) - HEADER_BYTES:
        raise MessageError(
            f"a map of {len(data) - HEADER_BYTES} bytes where the header says {length}", header
        )
    try:
        return Message(header, decode_map(data[HEADER_BYTES:]))
    except CborError as error:
        raise MessageError(f"its map is {error}", header) from error

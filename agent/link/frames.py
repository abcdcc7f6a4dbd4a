"""Console framing: a message as lines of text, among whatever else is on the wire. No I/O.

A message goes as base64 of (length + 2, message, CRC16) in lines of at most 127 bytes; the first
begins with 06 09, further ones with 04 14, and each ends with a line feed. The CRC is XMODEM's, of
the message. Source: Zephyr, services/device_mgmt/smp_transport.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass

from agent.link.codes import MAX_MESSAGE_BYTES

START = b"\x06\x09"
CONTINUE = b"\x04\x14"
END = b"\n"
LINE_BYTES = 127
_PAYLOAD_BYTES = (LINE_BYTES - len(START) - len(END)) // 4 * 4
_LONGEST_LINE = 4 * LINE_BYTES
"""A login prompt may stand before a frame on its line; what is longer than this is no frame."""

_SHOWN_BYTES = 60
_PRINTED = bytes([*range(7, 14), 27, *range(32, 127)])
"""What consoles print, colours included."""

_CRC_BYTES = 2
_LENGTH_BYTES = 2


@dataclass
class Quality:
    """What came over a wire; only ever grows."""

    frames: int = 0
    """Whole ones."""

    broken: int = 0
    """Begun and not whole: lines lost or changed, or too long."""

    foreign_bytes: int = 0
    """Outside all frames: console text, or noise."""

    odd_bytes: int = 0
    """Those of them that no console prints."""

    last_text: bytes = b""
    """The end of it, for a sentence about it."""


def encode(message: bytes) -> bytes:
    """A message as it goes over the wire, all its lines.

    Raises:
        ValueError: it is longer than a length field can say.
    """
    length = len(message) + _CRC_BYTES
    if length > 0xFFFF:
        raise ValueError(f"a message of {len(message)} bytes fits no frame")
    crc = binascii.crc_hqx(message, 0).to_bytes(_CRC_BYTES)
    packed = length.to_bytes(_LENGTH_BYTES) + message + crc
    text = binascii.b2a_base64(packed, newline=False)
    parts = [text[at : at + _PAYLOAD_BYTES] for at in range(0, len(text), _PAYLOAD_BYTES)]
    marks = [START] + [CONTINUE] * (len(parts) - 1)
    return b"".join(mark + part + END for mark, part in zip(marks, parts, strict=True))


class FrameReader:
    """Finds messages in what comes over a wire, in pieces of any size.

    Args:
        limit_bytes: the longest message; a longer one is dropped as soon as it says its length.
    """

    def __init__(self, limit_bytes: int = MAX_MESSAGE_BYTES) -> None:
        """Begin between two lines."""
        self.quality = Quality()
        self._limit = limit_bytes + _CRC_BYTES
        self._line = bytearray()
        self._frame: bytearray | None = None
        self._wanted = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now; each was whole by its CRC."""
        *lines, rest = data.split(END)
        found = []
        for line in lines:
            self._line += line
            message = self._ended(bytes(self._line))
            self._line.clear()
            if message is not None:
                found.append(message)
        self._line += rest
        if len(self._line) > _LONGEST_LINE:
            self._foreign(bytes(self._line[:-_LONGEST_LINE]))
            del self._line[:-_LONGEST_LINE]
        return found

    def _ended(self, line: bytes) -> bytes | None:
        """What a line completes."""
        at = max(line.rfind(START), line.rfind(CONTINUE))
        if at < 0:
            self._foreign(line)
            return None
        self._foreign(line[:at])
        mark, text = line[at : at + len(START)], line[at + len(START) :].removesuffix(b"\r")
        try:
            packed = binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error:
            self._drop()
            self.quality.broken += mark == START
            return None
        return self._started(packed) if mark == START else self._continued(packed)

    def _started(self, packed: bytes) -> bytes | None:
        self._drop()
        wanted = int.from_bytes(packed[:_LENGTH_BYTES])
        if len(packed) < _LENGTH_BYTES or not _CRC_BYTES <= wanted <= self._limit:
            self.quality.broken += 1
            return None
        self._frame, self._wanted = bytearray(packed[_LENGTH_BYTES:]), wanted
        return self._checked()

    def _continued(self, packed: bytes) -> bytes | None:
        if self._frame is None:
            return None  # of a frame that was dropped, or began before we listened
        self._frame += packed
        return self._checked()

    def _checked(self) -> bytes | None:
        assert self._frame is not None
        if len(self._frame) < self._wanted:
            return None
        frame, self._frame = bytes(self._frame), None
        message, crc = frame[:-_CRC_BYTES], frame[-_CRC_BYTES:]
        if len(frame) > self._wanted or binascii.crc_hqx(message, 0) != int.from_bytes(crc):
            self.quality.broken += 1
            return None
        self.quality.frames += 1
        return message

    def _drop(self) -> None:
        """Give up a frame that was begun."""
        if self._frame is not None:
            self._frame = None
            self.quality.broken += 1

    def _foreign(self, text: bytes) -> None:
        if text:
            self.quality.foreign_bytes += len(text)
            self.quality.odd_bytes += len(text.translate(None, _PRINTED))
            self.quality.last_text = text[-_SHOWN_BYTES:]

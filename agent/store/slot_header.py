"""The header of a factor slot, byte by byte; docs/format.md has the same as a table."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

MAGIC = b"NPPF"
"""Factors; the slots of an image that hold bundles or samples have marks of their own."""
VERSION = 1
RETIRED_OFFSET = 64
"""A word of its own, outside all checksums and write units, to be programmed without an erase."""
RETIRED_WORD = bytes(4)
LIVE_WORD = b"\xff" * 4
WEAR_OFFSET = 96
"""Where a memory that wears keeps how often the slot's first block was erased."""
PAYLOAD_OFFSET = 256
"""One program page of a serial NOR flash."""
MAX_SEQUENCE = 2**63

_FIELDS = struct.Struct("<4sHH32sQII")
_CHECK = struct.Struct("<I")
_WEAR = struct.Struct("<II")
WEAR_BYTES = _WEAR.size
_ALL_BITS = 2**32 - 1
HEADER_BYTES = _FIELDS.size + _CHECK.size


@dataclass(frozen=True)
class SlotHeader:
    """What a slot says about its payload."""

    bundle_id: str
    """64 hexadecimal digits."""
    sequence: int
    payload_bytes: int
    payload_crc32: int
    magic: bytes = MAGIC
    """What kind of payload it is."""

    def encode(self) -> bytes:
        """The header's bytes, its own CRC32 last."""
        fields = _FIELDS.pack(
            self.magic,
            VERSION,
            PAYLOAD_OFFSET,
            bytes.fromhex(self.bundle_id),
            self.sequence,
            self.payload_bytes,
            self.payload_crc32,
        )
        return fields + _CHECK.pack(zlib.crc32(fields))


def decode(data: bytes, slot_bytes: int, kind: bytes = MAGIC) -> SlotHeader | None:
    """The header in these bytes, or None where there is no whole one of this version.

    Args:
        data: at least `HEADER_BYTES`.
        slot_bytes: the size of the slot, which the payload may not exceed.
        kind: the mark of the payloads that the slot is for.
    """
    fields = data[: _FIELDS.size]
    if _CHECK.unpack_from(data, _FIELDS.size)[0] != zlib.crc32(fields):
        return None
    magic, version, offset, bundle, sequence, length, check = _FIELDS.unpack(fields)
    known = (magic, version, offset) == (kind, VERSION, PAYLOAD_OFFSET)
    if not known or not 1 <= sequence < MAX_SEQUENCE or length > slot_bytes - PAYLOAD_OFFSET:
        return None
    return SlotHeader(bundle.hex(), sequence, length, check, magic)


def encode_wear(erases: int) -> bytes:
    """A count of erases and its complement, so that a torn count is known to be one."""
    count = min(erases, _ALL_BITS)
    return _WEAR.pack(count, count ^ _ALL_BITS)


def decode_wear(data: bytes) -> int | None:
    """The count in these bytes; None where it was never written, or torn."""
    count, complement = _WEAR.unpack(data)
    return int(count) if count ^ complement == _ALL_BITS else None

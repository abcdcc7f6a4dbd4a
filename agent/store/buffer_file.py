"""`buffer.bin`: the sample buffer's bytes behind a checked header. Bytes: docs/format.md."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from agent.errors import StoreError
from agent.store.disk import Disk
from agent.store.durable import read_file, replace_file

BUFFER_NAME = "buffer.bin"
MAGIC = b"NPPB"
VERSION = 1
MAX_PAYLOAD_BYTES = 64 * 2**20

_FIELDS = struct.Struct("<4sHH32sII")
_CHECK = struct.Struct("<I")
HEADER_BYTES = _FIELDS.size + _CHECK.size


@dataclass(frozen=True)
class StoredBuffer:
    """What was found: no payload where there is none for this bundle, or it is damaged."""

    payload: bytes | None
    warning: str | None = None
    unreadable: bool = False
    """The disk refused to read; what is there may be whole."""


def write_buffer(directory: Path, bundle_id: str, payload: bytes, disk: Disk) -> int:
    """Replace the stored buffer, durably and at once; returns the bytes written.

    Raises:
        StoreError: it is too large, or the disk refuses; the old buffer is as it was.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise StoreError(
            f"the sample buffer has {len(payload)} bytes, {BUFFER_NAME} takes {MAX_PAYLOAD_BYTES}; "
            "give the buffer fewer bytes"
        )
    bundle = bytes.fromhex(bundle_id)
    fields = _FIELDS.pack(MAGIC, VERSION, 0, bundle, len(payload), zlib.crc32(payload))
    header = fields + _CHECK.pack(zlib.crc32(fields))
    return replace_file(directory / BUFFER_NAME, [header, payload], disk)


def read_buffer(directory: Path, bundle_id: str, disk: Disk) -> StoredBuffer:
    """Read the stored buffer; one of another bundle counts as none.

    A buffer that cannot be read is worth a warning and no more: it fills again, and the factors do
    not depend on it.
    """
    path = directory / BUFFER_NAME
    try:
        data = read_file(path, HEADER_BYTES + MAX_PAYLOAD_BYTES, disk)
    except StoreError as error:
        return unreadable(error)
    if data is None:
        return StoredBuffer(None)
    fields, payload = data[: _FIELDS.size], data[HEADER_BYTES:]
    if data[_FIELDS.size : HEADER_BYTES] != _CHECK.pack(zlib.crc32(fields)):
        return _damaged(path, "its header")
    magic, version, _, bundle, length, check = _FIELDS.unpack(fields)
    if (magic, version) != (MAGIC, VERSION):
        return _damaged(path, f"its version {version}, where {VERSION} is known,")
    if (length, check) != (len(payload), zlib.crc32(payload)):
        return _damaged(path, "its content")
    return StoredBuffer(payload if bundle.hex() == bundle_id else None)


def unreadable(error: StoreError) -> StoredBuffer:
    """What is known of a buffer after an error: no more than a warning."""
    refused = isinstance(error.__cause__, OSError)
    return StoredBuffer(None, f"{error}; the sample buffer starts empty", refused)


def _damaged(path: Path, what: str) -> StoredBuffer:
    return StoredBuffer(None, f"{path}: {what} cannot be used; the sample buffer starts empty")

"""The zip archive around a bundle: stored, never compressed, the same content the same bytes."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterable

from agent.store.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, MAX_PARTS

ERRORS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    struct.error,
    NotImplementedError,  # features of zip that Python lacks
    RuntimeError,  # encrypted entries
    EOFError,
    OSError,  # positions that do not exist
    KeyError,
    IndexError,
    OverflowError,
    ValueError,
)
"""What reading a damaged archive may raise, ours (ValueError) and zipfile's."""

BEGIN = b"PK"
_END_OF_DIRECTORY = b"PK\x05\x06"
_END_BYTES = 22
_LOCAL_HEADER = "<4s22xHH"
"""What stands in front of each file; only the signature and the lengths behind it are needed."""


def encode(contents: Iterable[tuple[str, bytes]]) -> bytes:
    """An archive of these files, in this order."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as writer:
        for name, data in contents:
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix everywhere: the system must not change the bytes
            entry.external_attr = 0o100644 << 16
            writer.writestr(entry, data)
    return archive.getvalue()


def decode(data: bytes) -> dict[str, memoryview]:
    """Where each file of the archive lies, without copying; none leaves the archive.

    Raises:
        ERRORS: any of them, where the archive is damaged, foreign or holds too much.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        listed = archive.infolist()
        if len(listed) > MAX_PARTS + 2:  # the manifest, and perhaps a signature
            raise ValueError(f"it has {len(listed)} parts, at most {MAX_PARTS} are allowed")
        entries = {entry.filename: _place(data, entry) for entry in listed}
        if len(entries) < len(listed):
            raise ValueError("it has two parts of the same name")
        if MANIFEST_NAME not in entries:
            raise ValueError(f"it has no {MANIFEST_NAME}")
        if len(entries[MANIFEST_NAME]) > MAX_MANIFEST_BYTES:
            raise ValueError(f"its manifest is longer than {MAX_MANIFEST_BYTES} bytes")
        # Nothing else holds a checksum of the manifest, so here the archive's own must be right.
        archive.read(MANIFEST_NAME)
    return entries


def is_cut(data: bytes) -> bool:
    """Whether the archive's end is missing."""
    end = data.rfind(_END_OF_DIRECTORY)
    return end < 0 or len(data) - end < _END_BYTES


def _place(data: bytes, entry: zipfile.ZipInfo) -> memoryview:
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise ValueError(f"part {entry.filename[:200]!r} is compressed")
    signature, name_bytes, extra_bytes = struct.unpack_from(
        _LOCAL_HEADER, data, entry.header_offset
    )
    begin = entry.header_offset + struct.calcsize(_LOCAL_HEADER) + name_bytes + extra_bytes
    if signature != b"PK\x03\x04" or begin + entry.file_size > len(data):
        raise ValueError(f"part {entry.filename[:200]!r} is not where the archive says")
    return memoryview(data)[begin : begin + entry.file_size]

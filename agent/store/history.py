"""`history.jsonl`: one sealed line for each thing that happened, bounded, torn lines left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import StoreError
from agent.store.disk import Disk
from agent.store.durable import append, disk_errors, read_file, replace_file, sync_names
from agent.store.sealed import seal, unseal

HISTORY_NAME = "history.jsonl"
MAX_ENTRIES = 1000
MAX_BYTES = 2**20
MAX_ENTRY_BYTES = 2**16
_READ_LIMIT_BYTES = 2 * MAX_BYTES
_KEPT_SHARE = 2
"""When the history is full, the newest half stays, so that few writes pay for the rewriting."""


@dataclass(frozen=True)
class History:
    """What happened, oldest first."""

    entries: tuple[Mapping[str, Any], ...]
    damaged_lines: int
    """Lines that a power cut or a bad disk left unreadable."""


def read_history(directory: Path, disk: Disk) -> History:
    """Read the history; where there is none it is empty.

    Raises:
        StoreError: the file cannot be read.
    """
    lines = _read(directory, disk).splitlines()
    found = [unseal(line) for line in lines]
    entries = tuple(entry for entry in found if entry is not None)
    return History(entries, len(lines) - len(entries))


def sealed_entry(entry: Mapping[str, Any]) -> bytes:
    """The line that keeps an entry.

    Raises:
        StoreError: the entry is too large or no JSON.
    """
    try:
        line = seal(entry)
    except (ValueError, TypeError) as error:
        raise StoreError(f"this entry cannot be kept in the history: {error}") from error
    if len(line) > MAX_ENTRY_BYTES:
        raise StoreError(
            f"an entry of {len(line)} bytes is too large for the history, which takes "
            f"{MAX_ENTRY_BYTES}; leave something out"
        )
    return line


def append_history(directory: Path, entry: Mapping[str, Any], disk: Disk) -> int:
    """Add an entry, durably; returns the bytes written.

    Raises:
        StoreError: the entry is too large or no JSON, or the disk refuses; the history is as it
            was.
    """
    line = sealed_entry(entry)
    path = directory / HISTORY_NAME
    data = _read(directory, disk)
    if len(data) + len(line) >= MAX_BYTES or data.count(b"\n") >= MAX_ENTRIES:
        return replace_file(path, b"".join([*_newest(data), line]), disk)
    # The line behind one that was torn must not become part of it.
    torn = b"\n" if data and not data.endswith(b"\n") else b""
    append(path, len(data), torn + line, disk)
    return len(torn + line)


def mend_history(directory: Path, disk: Disk) -> None:
    """Write the whole lines anew; a file that cannot be one of ours is set aside.

    Raises:
        StoreError: the disk refuses; the history is as it was.
    """
    path = directory / HISTORY_NAME
    with disk_errors(f"read {path}"):
        readable = disk.size(path) <= _READ_LIMIT_BYTES
    if readable:
        lines = _read(directory, disk).splitlines()
        whole = [line + b"\n" for line in lines if unseal(line) is not None]
        replace_file(path, b"".join(whole), disk)
        return
    with disk_errors(f"move {path}"):
        disk.rename(path, path.with_name(f"{HISTORY_NAME}.damaged"))
    sync_names(directory, disk)


def _newest(data: bytes) -> list[bytes]:
    """The newest whole lines: at most half the entries and half the bytes."""
    kept: list[bytes] = []
    size = 0
    for line in reversed(data.splitlines(keepends=True)):
        size += len(line)
        if size > MAX_BYTES // _KEPT_SHARE or len(kept) >= MAX_ENTRIES // _KEPT_SHARE:
            break
        if unseal(line) is not None:
            kept.append(line.removesuffix(b"\n") + b"\n")
    return kept[::-1]


def _read(directory: Path, disk: Disk) -> bytes:
    return read_file(directory / HISTORY_NAME, _READ_LIMIT_BYTES, disk) or b""

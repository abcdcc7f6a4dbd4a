"""A flash made of files: slot i is the file `factors.<i>` in a directory.

An erased file is an empty one, and what lies behind the end reads as 0xFF, so erasing costs no
writes on a memory card.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from agent.errors import StoreError
from agent.store.disk import SYSTEM_DISK, Disk
from agent.store.durable import cut, disk_errors, sync_names, write_at

SLOT_BYTES = 16 * 2**20
"""More than any surrogate needs (ResNet-8 at rank 8 takes 0.1 MB); it bounds what is read."""


@dataclass(frozen=True)
class DirectoryFlash:
    """Implements `Flash` on files; each program call is durable but for the name of a new file."""

    directory: Path
    disk: Disk = SYSTEM_DISK
    slot_bytes: int = SLOT_BYTES
    slot_count: ClassVar[int] = 2
    wears: ClassVar[bool] = False

    def path(self, slot: int) -> Path:
        """The file of a slot."""
        return self.directory / f"factors.{slot}"

    def read(self, slot: int, offset: int, length: int) -> bytes:
        """See `Flash.read`."""
        with disk_errors(f"read {self.path(slot)}"):
            try:
                present = self.disk.read(self.path(slot), offset, length)
            except FileNotFoundError:
                present = b""
        return present.ljust(length, b"\xff")

    def program(self, slot: int, offset: int, data: bytes) -> None:
        """See `Flash.program`; a gap up to the offset is filled with 0xFF."""
        end = self._size(slot)
        gap = max(0, offset - end)
        write_at(self.path(slot), offset - gap, b"\xff" * gap + data, self.disk)

    def erase(self, slot: int, length: int) -> None:  # noqa: ARG002 - the whole file costs no more
        """See `Flash.erase`."""
        cut(self.path(slot), 0, self.disk)

    def sync(self) -> None:
        """See `Flash.sync`."""
        sync_names(self.directory, self.disk)

    def bad_slots(self) -> AbstractSet[int]:
        """See `Flash.bad_slots`: what a file system hides, nobody knows."""
        return frozenset()

    def mark_bad(self, slot: int) -> None:
        """See `Flash.mark_bad`."""
        raise StoreError(f"{self.path(slot)} is a file and cannot be marked as bad")

    def _size(self, slot: int) -> int:
        with disk_errors(f"read {self.path(slot)}"):
            try:
                return self.disk.size(self.path(slot))
            except FileNotFoundError:
                return 0

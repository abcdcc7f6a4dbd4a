"""A medium made of one file or block device: any byte can be written over, nothing wears."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from agent.errors import StoreError
from agent.store.disk import SYSTEM_DISK, Disk
from agent.store.durable import disk_errors, write_pieces

BLOCK_BYTES = 4096
SECTOR_BYTES = 512
"""What a block device writes whole or not at all."""


@dataclass(frozen=True)
class FileMedium:
    """Implements `Medium` on an image file, a partition or a whole device."""

    path: Path
    size_bytes: int
    block_bytes: int = BLOCK_BYTES
    disk: Disk = SYSTEM_DISK
    unit_bytes: ClassVar[int] = SECTOR_BYTES
    wears: ClassVar[bool] = False

    def read(self, offset: int, length: int) -> bytes:
        """See `Medium.read`."""
        with disk_errors(f"read {self.path}"):
            data = self.disk.read(self.path, offset, length)
        if len(data) != length:
            raise StoreError(
                f"{self.path} ends at byte {offset + len(data)}, but the store in it goes on to "
                f"{self.size_bytes}: it was cut; copy the image again, or format it anew"
            )
        return data

    def program(self, offset: int, data: bytes) -> None:
        """See `Medium.program`."""
        self.write([(offset, data)])

    def erase(self, offset: int, length: int) -> None:
        """See `Medium.erase`."""
        self.write([(offset, b"\xff" * length)])

    def write(self, pieces: Iterable[tuple[int, bytes]]) -> None:
        """Write several pieces in this order, and make them durable together.

        Raises:
            StoreError: the file is gone or cannot be written; some pieces may have been.
        """
        write_pieces(self.path, pieces, self.disk)

"""The file calls that the store makes: few, so that tests can cut the power in each of them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol


class Disk(Protocol):
    """Files by path and handle. Every method raises OSError and nothing else.

    Nothing is durable before `fsync` (content and size of a file) and `sync_directory` (names).
    """

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`; fewer where the file ends."""

    def size(self, path: Path) -> int:
        """Bytes in the file or on the device."""

    def open(self, path: Path) -> int:
        """A handle for writing in place; the file is made where there is none."""

    def write(self, handle: int, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`."""

    def truncate(self, handle: int, size: int) -> None:
        """Cut the file to `size` bytes."""

    def fsync(self, handle: int) -> None:
        """Make content and size durable."""

    def close(self, handle: int) -> None:
        """Give the handle back."""

    def rename(self, source: Path, target: Path) -> None:
        """Give the file another name in the same directory, replacing what has that name."""

    def unlink(self, path: Path) -> None:
        """Remove the name."""

    def make_directory(self, path: Path) -> None:
        """Make one directory; its parent exists."""

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory."""

    def sync_directory(self, path: Path) -> None:
        """Make the names in the directory durable."""


class SystemDisk:
    """The disk of this machine."""

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`; fewer where the file ends."""
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def size(self, path: Path) -> int:
        """Bytes in the file, or on the block device."""
        found = path.stat()
        if not stat.S_ISBLK(found.st_mode):
            return found.st_size
        with path.open("rb") as device:
            return device.seek(0, os.SEEK_END)

    def open(self, path: Path) -> int:
        """A handle for writing in place; links are not followed, so nothing outside is hit."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)

    def write(self, handle: int, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`; the system may take it in several pieces."""
        rest = memoryview(data)
        while rest:
            taken = os.pwrite(handle, rest, offset)
            offset += taken
            rest = rest[taken:]

    def truncate(self, handle: int, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.ftruncate(handle, size)

    def fsync(self, handle: int) -> None:
        """Make content and size durable."""
        os.fsync(handle)

    def close(self, handle: int) -> None:
        """Give the handle back."""
        os.close(handle)

    def rename(self, source: Path, target: Path) -> None:
        """Give the file another name, replacing what has that name."""
        source.replace(target)

    def unlink(self, path: Path) -> None:
        """Remove the name."""
        path.unlink()

    def make_directory(self, path: Path) -> None:
        """Make one directory; one that exists already is no error."""
        path.mkdir(exist_ok=True)

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory."""
        path.rmdir()

    def sync_directory(self, path: Path) -> None:
        """Make the names in the directory durable."""
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


SYSTEM_DISK = SystemDisk()

"""The staging area: the one directory that a client may write to, within a size.

Nothing in it is in use before it is activated.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from agent.errors import StoreError
from agent.link.board import Readable
from agent.link.codes import Code, FileCode
from agent.link.refusal import Refusal
from agent.store.disk import SYSTEM_DISK, Disk
from agent.store.durable import cut, disk_errors, make_directories, remove_files
from agent.store.layout import UPLOADS_MARK

LIMIT_BYTES = 64 * 2**20
MOST_FILES = 8
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class StagingArea:
    """A directory, made when the first byte comes."""

    directory: Path
    limit_bytes: int = LIMIT_BYTES
    """Of all files in it together."""

    disk: Disk = SYSTEM_DISK

    def write(self, name: str, offset: int, data: bytes, total: int | None) -> int:
        """Write a piece of a file; returns how much of it is here.

        A piece at 0 begins anew. One that does not go on where the file ends changes nothing: the
        answer tells the client where to go on.

        Raises:
            Refusal: the name, the size, or the disk.
        """
        path = self._path(name)
        have = self._size(path)
        if offset == 0:
            self._check_room(name, total if total is not None else len(data))
        elif have is None or offset != have:
            return have or 0
        if offset + len(data) > self._room(name):
            raise self._too_large(name, offset + len(data))
        try:
            self._make()
            self._put(path, offset, data)
        except StoreError as error:
            raise Refusal(str(error), Code.NO_MEMORY, own=FileCode.WRITE_FAILED) from error
        return offset + len(data)

    def file(self, name: str) -> Readable | None:
        """An uploaded file, or what of it is here; None where there is nothing.

        Raises:
            Refusal: no file can have that name.
        """
        path = self._path(name)
        size = self._size(path)
        return None if size is None else Readable(size, lambda at, n: self.disk.read(path, at, n))

    def remove(self, name: str) -> None:
        """Remove an uploaded file, if it is there.

        Raises:
            StoreError: the disk refuses.
        """
        remove_files([self._path(name)], self.disk)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise Refusal(
                f"an upload cannot be named {name[:80]!r}: letters, digits, dots, dashes and "
                "underscores, at most 64, none of them in another directory",
                own=FileCode.INVALID_NAME,
            )
        path = self.directory / name
        if path.is_symlink() or self.directory.is_symlink():
            raise Refusal(f"{name} is a link, not a file", own=FileCode.INVALID_NAME)
        return path

    def _size(self, path: Path) -> int | None:
        return path.stat().st_size if path.is_file() else None

    def _room(self, name: str) -> int:
        """How large this file may become."""
        with disk_errors(f"read {self.directory}"):
            others = [p for p in self._files() if p.name != name]
            return self.limit_bytes - sum(path.stat().st_size for path in others)

    def _files(self) -> list[Path]:
        if not self.directory.is_dir():
            return []
        return [path for path in self.directory.iterdir() if path.name != UPLOADS_MARK]

    def _make(self) -> None:
        """Make the directory, and mark it as ours, unless somebody has files there already.

        Raises:
            StoreError: the disk refuses.
        """
        make_directories(self.directory, self.disk)
        mark = self.directory / UPLOADS_MARK
        if not mark.exists() and not self._files():
            cut(mark, 0, self.disk)

    def _check_room(self, name: str, total: int) -> None:
        if total > self._room(name):
            raise self._too_large(name, total)
        if len([p for p in self._files() if p.name != name]) >= MOST_FILES:
            raise Refusal(
                f"{MOST_FILES} uploads wait already; activate one of them, or use its name again",
                Code.NO_MEMORY,
                own=FileCode.WRITE_FAILED,
            )

    def _too_large(self, name: str, size: int) -> Refusal:
        return Refusal(
            f"{name} with {size} bytes does not fit: {max(self._room(name), 0)} of "
            f"{self.limit_bytes} bytes are left in the staging area",
            Code.NO_MEMORY,
            own=FileCode.WRITE_FAILED,
        )

    def _put(self, path: Path, offset: int, data: bytes) -> None:
        """Write at the end of a file; what a full disk took of it is taken back."""
        with disk_errors(f"write {path}"):
            handle = self.disk.open(path)
            try:
                self.disk.truncate(handle, offset)
                self.disk.write(handle, offset, data)
            except OSError:
                with contextlib.suppress(OSError):
                    self.disk.truncate(handle, offset)
                raise
            finally:
                self.disk.close(handle)

"""Disks that lose power or report errors at a chosen operation; see `agent.store.disk.Disk`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from agent.store.disk import SystemDisk
from tests.fakes import NEVER, PowerLoss

SECTOR_BYTES = 512


@dataclass
class Inode:
    """A file's content: what is durable, and the changes that are not yet."""

    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, data) is a write, (size, None) a truncation."""


Names = dict[Path, Inode]
Change = Callable[[Names, set[Path]], None]
"""Makes a change of a name durable: in the files and in the directories that are."""
Survival = Callable[[], bool]
"""Asked for each sector, truncation and name that was not synced: does it survive?"""


class PowerCutDisk:
    """The real disk, below one folder, that remembers what would survive a power cut.

    Before operation `cut_at` the power goes; with `torn` a part of that operation happens first.
    Unsynced changes survive or not, each sector and each name by itself, in any order: more than
    any file system permits.
    """

    def __init__(self, root: Path, cut_at: int = NEVER, *, torn: bool = False) -> None:
        self.root, self.cut_at, self.torn = root, cut_at, torn
        self.operations = 0
        self.dead = False
        self._system = SystemDisk()
        self._handles: dict[int, Inode] = {}
        self._live = {p: Inode(p.read_bytes()) for p in root.rglob("*") if p.is_file()}
        self._durable = dict(self._live)
        self._directories = {p for p in root.rglob("*") if p.is_dir()} | {root}
        self._pending: list[tuple[Path, Change]] = []

    def read(self, path: Path, offset: int, length: int) -> bytes:
        self._alive()
        return self._system.read(path, offset, length)

    def size(self, path: Path) -> int:
        self._alive()
        return self._system.size(path)

    def open(self, path: Path) -> int:
        self._alive()
        if path not in self._live:
            self._operation()
        handle = self._system.open(path)
        if path not in self._live:
            inode = self._live[path] = Inode()
            self._pend(path, lambda names, _: names.update({path: inode}))
        self._handles[handle] = self._live[path]
        return handle

    def write(self, handle: int, offset: int, data: bytes) -> None:
        half = data[: len(data) // 2]
        self._operation(lambda: self._handles[handle].pending.append((offset, half)))
        self._system.write(handle, offset, data)
        self._handles[handle].pending.append((offset, data))

    def truncate(self, handle: int, size: int) -> None:
        self._operation(lambda: self._handles[handle].pending.append((size, None)))
        self._system.truncate(handle, size)
        self._handles[handle].pending.append((size, None))

    def fsync(self, handle: int) -> None:
        self._operation()
        inode = self._handles[handle]
        inode.durable = surviving(inode, lambda: True)
        inode.pending.clear()

    def close(self, handle: int) -> None:
        self._handles.pop(handle, None)
        self._system.close(handle)

    def rename(self, source: Path, target: Path) -> None:
        def durably(names: Names, _: set[Path]) -> None:
            names.pop(source, None)
            names[target] = inode

        inode = self._live[source]
        self._operation(lambda: self._pend(target, durably))
        self._system.rename(source, target)
        self._live[target] = self._live.pop(source)
        self._pend(target, durably)

    def unlink(self, path: Path) -> None:
        def durably(names: Names, _: set[Path]) -> None:
            names.pop(path, None)

        self._alive()
        if not path.exists():
            raise FileNotFoundError(path)
        self._operation(lambda: self._pend(path, durably))
        self._system.unlink(path)
        self._live.pop(path, None)
        self._pend(path, durably)

    def make_directory(self, path: Path) -> None:
        self._operation()
        self._system.make_directory(path)
        self._pend(path, lambda _, directories: directories.add(path))

    def remove_directory(self, path: Path) -> None:
        self._operation()
        self._system.remove_directory(path)
        self._pend(path, lambda _, directories: directories.discard(path))

    def sync_directory(self, path: Path) -> None:
        self._operation()
        self._system.sync_directory(path)
        for changed, durably in self._pending:
            if changed.parent == path:
                durably(self._durable, self._directories)
        self._pending = [(p, durably) for p, durably in self._pending if p.parent != path]

    def survivors(self, target: Path, survival: Survival) -> None:
        """Write to a new folder what may be found when the power is back."""
        self.dead = True
        names, directories = dict(self._durable), set(self._directories)
        for _, durably in self._pending:
            if survival():
                durably(names, directories)
        target.mkdir()
        for path, inode in names.items():
            if path.parent in directories:
                copy = target / path.relative_to(self.root)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(surviving(inode, survival))

    def _pend(self, path: Path, durably: Change) -> None:
        self._pending.append((path, durably))

    def _alive(self) -> None:
        if self.dead:
            raise PowerLoss

    def _operation(self, part: Callable[[], None] = lambda: None) -> None:
        self._alive()
        if self.operations == self.cut_at:
            self.dead = True
            if self.torn:
                part()
            raise PowerLoss
        self.operations += 1


def surviving(inode: Inode, survival: Survival) -> bytes:
    """The content when each unsynced sector and truncation survives or not."""
    content = bytearray(inode.durable)
    for offset, data in inode.pending:
        if data is None:
            if survival():
                del content[offset:]
                content.extend(bytes(offset - len(content)))
            continue
        begin = offset
        while begin < offset + len(data):
            end = min(offset + len(data), (begin // SECTOR_BYTES + 1) * SECTOR_BYTES)
            if survival():
                content.extend(bytes(max(0, begin - len(content))))
                content[begin:end] = data[begin - offset : end - offset]
            begin = end
    return bytes(content)


class FailingDisk(SystemDisk):
    """The real disk, whose operation `fail_at` raises an OSError; with `for_good` all later too.

    A write that fails has written half.
    """

    def __init__(self, fail_at: int, number: int, *, for_good: bool = False) -> None:
        self.fail_at, self.number, self.for_good = fail_at, number, for_good
        self.operations = 0
        self.failures = 0

    def read(self, path: Path, offset: int, length: int) -> bytes:
        self._operation()
        return super().read(path, offset, length)

    def size(self, path: Path) -> int:
        self._operation()
        return super().size(path)

    def open(self, path: Path) -> int:
        self._operation()
        return super().open(path)

    def write(self, handle: int, offset: int, data: bytes) -> None:
        try:
            self._operation()
        except OSError:
            super().write(handle, offset, data[: len(data) // 2])
            raise
        super().write(handle, offset, data)

    def truncate(self, handle: int, size: int) -> None:
        self._operation()
        super().truncate(handle, size)

    def fsync(self, handle: int) -> None:
        self._operation()
        super().fsync(handle)

    def close(self, handle: int) -> None:
        super().close(handle)
        self._operation()

    def rename(self, source: Path, target: Path) -> None:
        self._operation()
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self._operation()
        super().unlink(path)

    def make_directory(self, path: Path) -> None:
        self._operation()
        super().make_directory(path)

    def remove_directory(self, path: Path) -> None:
        self._operation()
        super().remove_directory(path)

    def sync_directory(self, path: Path) -> None:
        self._operation()
        super().sync_directory(path)

    def _operation(self) -> None:
        now = self.operations
        self.operations += 1
        if now == self.fail_at or (self.for_good and now > self.fail_at):
            self.failures += 1
            raise OSError(self.number, os.strerror(self.number))

"""The one place that makes bytes durable; nothing else in the project calls fsync or rename.

A file is replaced by: temporary file beside it, write, fsync, rename, fsync of the directory. After
a power cut at any point the old or the new content is there, whole. Without the directory's fsync
a replacement that was acknowledged can still be lost.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Iterator
from pathlib import Path

from agent.errors import StoreError
from agent.store.disk import SYSTEM_DISK, Disk

_REASONS = {
    errno.ENOSPC: "the disk is full: free some space and try again",
    errno.EDQUOT: "the disk quota is used up: free some space and try again",
    errno.EROFS: "the file system is read-only: remount it or use another directory",
    errno.EACCES: "permission is denied: run as the user who owns it or use another directory",
    errno.EPERM: "permission is denied: run as the user who owns it or use another directory",
    errno.EIO: "the disk reports an input/output error: check the disk or card",
    errno.ENOENT: "the directory does not exist: make it first",
    errno.ENOTDIR: "a part of that path is a file, not a directory: use another path",
    errno.EISDIR: "there is a directory of that name: move it away or use another path",
    errno.ENOTEMPTY: "there is a directory of that name: move it away or use another path",
    errno.ELOOP: "it is a symbolic link: remove the link",
    errno.ENAMETOOLONG: "the name is too long: use a shorter one",
}


@contextlib.contextmanager
def disk_errors(action: str) -> Iterator[None]:
    """Turn the system's errors into one sentence, "cannot <action>: <reason>".

    Raises:
        StoreError: in place of any OSError.
    """
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0) or f"{error.strerror or error}".lower()
        raise StoreError(f"cannot {action}: {reason}") from error


def temporary_of(path: Path) -> Path:
    """Where the new content of a file is prepared; a leftover is used again by the next write."""
    return path.with_name(f".{path.name}.tmp")


def replace_file(path: Path, data: bytes | Iterable[bytes], disk: Disk = SYSTEM_DISK) -> int:
    """Give a file new content, durably and at once.

    Args:
        path: the file; its directory exists.
        data: the content, whole or in chunks.
        disk: what to write on.

    Returns:
        Bytes written.

    Raises:
        StoreError: the content cannot be written; the old file is as it was, unless only the last
            step failed, the sync of the directory: then it is the old or the new one.
    """
    temporary = temporary_of(path)
    with disk_errors(f"write {path}"):
        try:
            written = _write_new(temporary, [data] if isinstance(data, bytes) else data, disk)
            disk.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                disk.unlink(temporary)
            raise
        disk.sync_directory(path.parent)
    return written


def _write_new(path: Path, chunks: Iterable[bytes], disk: Disk) -> int:
    offset = 0
    handle = disk.open(path)
    try:
        disk.truncate(handle, 0)
        for chunk in chunks:
            disk.write(handle, offset, chunk)
            offset += len(chunk)
        disk.fsync(handle)
    finally:
        disk.close(handle)
    return offset


def write_at(path: Path, offset: int, data: bytes, disk: Disk) -> None:
    """Write inside a file and make that durable; a new file's name is not, see `sync_names`.

    Raises:
        StoreError: the bytes cannot be written; some of them may have been.
    """
    with disk_errors(f"write {path}"):
        handle = disk.open(path)
        try:
            disk.write(handle, offset, data)
            disk.fsync(handle)
        finally:
            disk.close(handle)


def write_pieces(path: Path, pieces: Iterable[tuple[int, bytes]], disk: Disk) -> None:
    """Write (offset, data) inside a file or device that exists, and make all that durable.

    Raises:
        StoreError: it does not exist, or cannot be written; some pieces may have been.
    """
    with disk_errors(f"write {path}"):
        disk.size(path)  # what is gone is not made anew
        handle = disk.open(path)
        try:
            for offset, data in pieces:
                disk.write(handle, offset, data)
            disk.fsync(handle)
        finally:
            disk.close(handle)


def append(path: Path, end: int, data: bytes, disk: Disk) -> None:
    """Write behind the end of a file, whose size is `end`, and make that durable.

    Raises:
        StoreError: the bytes cannot be written; the file is cut back to `end` if that still works.
    """
    try:
        write_at(path, end, data, disk)
    except StoreError:
        with contextlib.suppress(StoreError):
            cut(path, end, disk)
        raise
    sync_names(path.parent, disk)


def cut(path: Path, size: int, disk: Disk) -> None:
    """Cut a file to `size` bytes, making it where there is none, and make that durable.

    Raises:
        StoreError: the file cannot be written.
    """
    with disk_errors(f"write {path}"):
        handle = disk.open(path)
        try:
            disk.truncate(handle, size)
            disk.fsync(handle)
        finally:
            disk.close(handle)


def sync_names(directory: Path, disk: Disk) -> None:
    """Make the names in a directory durable.

    Raises:
        StoreError: the disk refuses.
    """
    with disk_errors(f"write {directory}"):
        disk.sync_directory(directory)


def remove_files(paths: Iterable[Path], disk: Disk) -> None:
    """Remove files that may be absent, and make that durable; all of them lie in one directory.

    Raises:
        StoreError: a file cannot be removed.
    """
    directories = set()
    for path in paths:
        with disk_errors(f"remove {path}"), contextlib.suppress(FileNotFoundError):
            disk.unlink(path)
            directories.add(path.parent)
    for directory in sorted(directories):
        sync_names(directory, disk)


def make_directories(directory: Path, disk: Disk) -> None:
    """Make a directory and what is missing above it, durably.

    Raises:
        StoreError: a directory cannot be made.
    """
    missing = [path for path in (directory, *directory.parents) if not path.is_dir()]
    for path in reversed(missing):
        with disk_errors(f"make the directory {path}"):
            disk.make_directory(path)
        sync_names(path.parent, disk)


def read_file(path: Path, limit_bytes: int, disk: Disk = SYSTEM_DISK) -> bytes | None:
    """The whole content of a file, or None where there is none.

    Raises:
        StoreError: the file cannot be read, or is larger than `limit_bytes`.
    """
    with disk_errors(f"read {path}"):
        try:
            size = disk.size(path)
            if size <= limit_bytes:
                return disk.read(path, 0, size)
        except FileNotFoundError:
            return None
    raise StoreError(
        f"{path} has {size} bytes, more than the {limit_bytes} that such a file may have: "
        "it is damaged or not ours; move it away"
    )

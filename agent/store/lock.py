"""One process at a time: an advisory lock that the system drops when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from agent.errors import StoreLockedError
from agent.store.durable import disk_errors

LOCK_NAME = "lock"
_LOCK_LAYOUT = "hhqqi"
"""struct flock with 64-bit offsets: kind, whence, start, length, process (0: the open file's)."""


def locked(directory: Path) -> contextlib.AbstractContextManager[None]:
    """Hold the lock of a directory: see `locked_file`."""
    return locked_file(directory / LOCK_NAME, directory)


@contextlib.contextmanager
def locked_file(path: Path, store: Path) -> Iterator[None]:
    """Hold a lock; does not wait.

    Args:
        path: the lock's file, made where there is none; of an image, the image itself.
        store: what messages name.

    Raises:
        StoreLockedError: another process, or another part of this one, holds it.
        StoreError: the lock's file cannot be made.
    """
    with disk_errors(f"lock {store}"):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        _take(handle, path, store)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def in_service(store: Path) -> Iterator[None]:
    """Be the one running agent of a store; others may still change it, see `locked`.

    A directory is locked itself; of an image, whose own lock is that of who changes it, the first
    byte is. Nothing is written, so that a store on a read-only file system can be served, too.

    Raises:
        StoreLockedError: another agent runs on this store.
        StoreError: there is no such store.
    """
    with disk_errors(f"lock {store}"):
        handle = _opened_for_service(store)
    try:
        with disk_errors(f"lock {store}"):
            _be_the_one(handle, store)
        yield
    finally:
        os.close(handle)


def _opened_for_service(store: Path) -> int:
    if store.is_dir():
        return os.open(store, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return os.open(store, (os.O_RDWR if os.access(store, os.W_OK) else os.O_RDONLY) | os.O_CLOEXEC)


def _be_the_one(handle: int, store: Path) -> None:
    try:
        if store.is_dir():
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif os.access(store, os.W_OK):
            # Of the open file, not of the process: other files that are closed do not drop it.
            first_byte = struct.pack(_LOCK_LAYOUT, fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
            fcntl.fcntl(handle, fcntl.F_OFD_SETLK, first_byte)
    except (BlockingIOError, PermissionError) as error:
        raise StoreLockedError(
            f"another agent runs on {store}: end it, or choose another --store"
        ) from error


def _take(handle: int, path: Path, store: Path) -> None:
    busy = f"another npp-agent works on {store}: wait until it is done, or end it"
    with disk_errors(f"lock {store}"):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between open and flock the last holder may have removed the store: then this is the
            # lock of nothing.
            same = path.stat().st_ino == os.fstat(handle).st_ino
        except (BlockingIOError, FileNotFoundError):
            same = False
    if not same:
        raise StoreLockedError(busy)

"""One process at a time: an advisory lock that the system drops when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from agent.errors import StoreLockedError
from agent.store.durable import disk_errors

LOCK_NAME = "lock"


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

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


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a store; does not wait.

    Raises:
        StoreLockedError: another process, or another part of this one, holds it.
        StoreError: the lock's file cannot be made.
    """
    path = directory / LOCK_NAME
    with disk_errors(f"lock {directory}"):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        _take(handle, path)
        yield
    finally:
        os.close(handle)


def _take(handle: int, path: Path) -> None:
    busy = f"another npp-agent works on {path.parent}: wait until it is done, or end it"
    with disk_errors(f"lock {path.parent}"):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between open and flock the last holder may have removed the store: then this is the
            # lock of nothing.
            same = path.stat().st_ino == os.fstat(handle).st_ino
        except (BlockingIOError, FileNotFoundError):
            same = False
    if not same:
        raise StoreLockedError(busy)

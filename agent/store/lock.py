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


@contextlib.contextmanager
def in_service(directory: Path) -> Iterator[None]:
    """Be the one running agent of a store; others may still change it, see `locked`.

    The directory itself is locked: nothing is written, so that a store on a read-only file system
    can be served, too.

    Raises:
        StoreLockedError: another agent runs on this store.
        StoreError: there is no such directory.
    """
    with disk_errors(f"lock {directory}"):
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with disk_errors(f"lock {directory}"):
            _be_the_one(handle, directory)
        yield
    finally:
        os.close(handle)


def _be_the_one(handle: int, directory: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StoreLockedError(
            f"another agent runs on {directory}: end it, or choose another --store"
        ) from error


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

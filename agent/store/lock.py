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
def in_service(place: Path) -> Iterator[None]:
    """Be the one running agent of a store; others may still change it, see `locked`.

    A directory is locked itself: nothing is written, so that a store on a read-only file system can
    be served, too. Of a file, all bytes are locked, which is another lock than that of `locked`.

    Args:
        place: the store's directory or file.

    Raises:
        StoreLockedError: another agent runs on this store.
        StoreError: there is no such directory or file.
    """
    flags = os.O_RDONLY if place.is_dir() else os.O_RDWR
    with disk_errors(f"lock {place}"):
        handle = os.open(place, flags | os.O_CLOEXEC)
    try:
        with disk_errors(f"lock {place}"):
            _be_the_one(handle, place)
        yield
    finally:
        os.close(handle)


def _be_the_one(handle: int, place: Path) -> None:
    try:
        if place.is_dir():
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:  # a lock of the open file, fcntl(2): type, whence, start, length (all), process
            fcntl.fcntl(handle, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0))
    except BlockingIOError as error:
        raise StoreLockedError(
            f"another agent runs on {place}: end it, or choose another --store"
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

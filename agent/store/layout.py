"""Which files of a directory are the store's, and how they are removed."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from agent.errors import NotAStoreError
from agent.store.buffer_file import BUFFER_NAME
from agent.store.disk import Disk
from agent.store.durable import disk_errors, read_file, remove_files, sync_names
from agent.store.history import HISTORY_NAME
from agent.store.lock import LOCK_NAME
from agent.store.state import MAX_BYTES, STATE_NAME, is_ours

UPLOADS = "upload"
"""The directory in the store's where bundles that came over a line wait."""

UPLOADS_MARK = ".npp-agent"
"""An empty file in it, by which a directory of that name is known as ours."""

_BUNDLE = re.compile(r"bundle-[0-9a-f]{12}\.npp")
_PLAIN = {STATE_NAME, HISTORY_NAME, BUFFER_NAME, LOCK_NAME, "factors.0", "factors.1"}


def our_files(directory: Path) -> list[Path]:
    """The store's files, temporary ones too, sorted by name; none where there is no directory.

    Raises:
        StoreError: the directory cannot be read.
    """
    with disk_errors(f"read {directory}"):
        try:
            return sorted(path for path in directory.iterdir() if _is_ours(path.name))
        except FileNotFoundError:
            return []


def is_store(directory: Path) -> bool:
    """Whether there is anything that only a store has: its state or a bundle under its name.

    Raises:
        StoreError: the directory cannot be read.
    """
    names = [path.name for path in our_files(directory)]
    return any(name == STATE_NAME or _BUNDLE.fullmatch(name) for name in names)


def check_ours(directory: Path, disk: Disk) -> None:
    """Make sure that no other program's state would be overwritten.

    Raises:
        NotAStoreError: there is a state file, and it is not ours.
    """
    if not is_ours(read_file(directory / STATE_NAME, MAX_BYTES, disk)):
        raise NotAStoreError(
            f"{directory / STATE_NAME} was not written by npp-agent: choose another --store, or "
            "move that file away"
        )


def remove_leftovers(directory: Path, bundle_file: str, disk: Disk) -> None:
    """Remove all bundles but one, and what interrupted writes have left.

    Raises:
        StoreError: the disk refuses.
    """
    kept = _PLAIN | {bundle_file}
    remove_files([path for path in our_files(directory) if path.name not in kept], disk)


def temporary_files(directory: Path) -> list[Path]:
    """What interrupted writes have left.

    Raises:
        StoreError: the directory cannot be read.
    """
    return [path for path in our_files(directory) if path.name.startswith(".")]


def other_bundles(directory: Path, bundle_file: str) -> list[Path]:
    """Bundles under our names that are not the installed one.

    Raises:
        StoreError: the directory cannot be read.
    """
    bundles = [path for path in our_files(directory) if _BUNDLE.fullmatch(path.name)]
    return [path for path in bundles if path.name != bundle_file]


def remove_store(directory: Path, disk: Disk) -> None:
    """Remove every file of the store, and the directory if nothing else is in it.

    Raises:
        NotAStoreError: this is no store; nothing is removed.
        StoreError: the disk refuses.
    """
    check_ours(directory, disk)
    if not is_store(directory):
        raise NotAStoreError(f"{directory} is no store; nothing was removed")
    ours = our_files(directory)
    bundles = [path for path in ours if _BUNDLE.fullmatch(path.name)]
    # The state first and the bundles last: in between this is a store with nothing installed.
    remove_files([directory / STATE_NAME], disk)
    _remove_uploads(directory / UPLOADS, disk)
    remove_files([path for path in ours if path not in bundles], disk)
    remove_files(bundles, disk)
    with contextlib.suppress(OSError):
        disk.remove_directory(directory)
        sync_names(directory.parent, disk)


def _remove_uploads(directory: Path, disk: Disk) -> None:
    """Remove the staging area, if the agent made it; the mark goes last.

    Raises:
        StoreError: the disk refuses.
    """
    mark = directory / UPLOADS_MARK
    if directory.is_symlink() or mark.is_symlink() or not mark.is_file():
        return
    with disk_errors(f"read {directory}"):
        uploads = sorted(path for path in directory.iterdir() if path.is_file() and path != mark)
    remove_files(uploads, disk)
    remove_files([mark], disk)
    with contextlib.suppress(OSError):  # somebody keeps a directory of their own in it
        disk.remove_directory(directory)
        sync_names(directory.parent, disk)


def _is_ours(name: str) -> bool:
    if name.startswith(".") and name.endswith(".tmp"):
        name = name[1:-4]
    return name in _PLAIN or _BUNDLE.fullmatch(name) is not None

"""Inputs from a directory that is being filled with `.npy` and `.npz` files.

A file is taken when it has stayed as it is for a while: same size, time of change and inode. Who
writes elsewhere on the same file system and renames into place is always safe; a file that is
written in place may pause for less than that. Names that begin with a dot, and all other endings,
are left alone. Each file is taken once; one that is replaced or changed afterwards is a new one.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from agent.data_file import read_data
from agent.errors import InputError
from agent.service.npy_stream import MAX_FRAME_BYTES, arrays_of
from agent.service.settings import DirectorySettings
from agent.service.sources import EndOfSource, Frame

Signature = tuple[int, int, int]
"""Inode, size, time of the last change in nanoseconds."""

_ENDINGS = (".npy", ".npz")


@dataclass(frozen=True)
class _Seen:
    signature: Signature
    since_s: float
    taken: bool


class DirectorySource:
    """Files of a directory, oldest first.

    Args:
        directory: where they appear.
        settings: how often to look, and what becomes of a file that was answered.
        once: end when every file has been taken, instead of waiting for more.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        directory: Path,
        settings: DirectorySettings,
        *,
        once: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing has been seen.

        Raises:
            InputError: files are to be deleted, and the directory cannot be written.
        """
        if settings.after == "delete" and not os.access(directory, os.W_OK | os.X_OK):
            raise InputError(
                f"files in {directory} cannot be deleted: give the agent the right to, or set "
                "directory.after to keep"
            )
        self._directory, self._settings, self._once = directory, settings, once
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._complete: deque[str] = deque()
        self._frames: deque[Frame] = deque()
        """Of the file that was read last; one file is in memory at a time."""

        self._looked_s = -float("inf")

    def next(self, timeout_s: float) -> Frame | None:
        """See `Source.next`.

        Raises:
            InputError: the directory cannot be read.
        """
        ends_s = self._clock() + timeout_s
        while not self._frames and not self._complete:
            now_s = self._clock()
            if now_s - self._looked_s >= self._settings.poll_s:
                self._looked_s = now_s
                if not self._look(now_s) and self._once and not self._complete:
                    raise EndOfSource
                continue
            pause_s = min(ends_s - now_s, self._looked_s + self._settings.poll_s - now_s)
            if ends_s <= now_s:
                return None
            time.sleep(max(pause_s, 0))
        if not self._frames:
            self._frames.extend(self._read(self._complete.popleft()))
        return self._frames.popleft()

    def answered(self, frame: Frame) -> None:
        """Delete a file whose last array was answered, if that is wanted; a bad one stays."""
        last = not self._frames
        if last and frame.problem is None and self._settings.after == "delete":
            with contextlib.suppress(OSError):  # one that cannot go counts as taken all the same
                (self._directory / frame.name).unlink()

    def close(self) -> None:
        """Nothing is held."""

    def _look(self, now_s: float) -> int:
        """Take what is complete; returns how many files are still to come."""
        found = self._files()
        self._seen = {name: seen for name, seen in self._seen.items() if name in found}
        complete, unsettled = [], 0
        for name, signature in found.items():
            seen = self._seen.get(name)
            if seen is None or seen.signature != signature:
                seen = self._seen[name] = _Seen(signature, now_s, taken=False)
            if seen.taken:
                continue
            if now_s - seen.since_s >= self._settings.settle_s:
                complete.append((signature[2], name))
                self._seen[name] = _Seen(signature, seen.since_s, taken=True)
            else:
                unsettled += 1
        self._complete.extend(name for _, name in sorted(complete))
        return unsettled

    def _files(self) -> dict[str, Signature]:
        found: dict[str, Signature] = {}
        try:
            with os.scandir(self._directory) as entries:
                for entry in entries:
                    if entry.name.endswith(_ENDINGS) and not entry.name.startswith("."):
                        with contextlib.suppress(FileNotFoundError):  # gone while we look
                            found[entry.name] = _signature(entry.stat())
        except OSError as error:
            raise InputError(
                f"the source {self._directory} cannot be read: {error.strerror}"
            ) from error
        return found

    def _read(self, name: str) -> list[Frame]:
        try:
            with contextlib.suppress(OSError):  # it may have been replaced since it was seen
                facts = (self._directory / name).stat()
                self._seen[name] = _Seen(_signature(facts), self._looked_s, taken=True)
            return [Frame(name, x) for x in _arrays(self._directory / name)]
        except InputError as error:
            return [Frame(name, None, str(error))]


def _signature(facts: os.stat_result) -> Signature:
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _arrays(path: Path) -> Sequence[NDArray[Any]]:
    """The arrays of a file; an `.npz` has its samples under `x`, as for other commands."""
    if path.suffix == ".npz":
        return [read_data(path).x]
    try:
        size = path.stat().st_size
        if size > MAX_FRAME_BYTES:
            raise InputError(f"{path.name} has {size} bytes, at most {MAX_FRAME_BYTES} are taken")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}") from error
    return arrays_of(data, path.name)

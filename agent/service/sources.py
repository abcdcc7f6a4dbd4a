"""Where a service's inputs come from: one protocol, and the sources of a few lines."""

from __future__ import annotations

import os
import select
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from agent.errors import InputError
from agent.service.npy_stream import NpyStream
from agent.service.settings import DirectorySettings

_PIECE_BYTES = 2**20


@dataclass(frozen=True)
class Frame:
    """An input: one sample or several, or why there is none."""

    name: str
    """Which: a file's name, or a number in a stream."""

    x: NDArray[Any] | None
    problem: str | None = None


class EndOfSource(Exception):  # noqa: N818  # no error: it is how a source ends
    """There will be no more inputs."""


class Source(Protocol):
    """Gives inputs, one after another."""

    def next(self, timeout_s: float) -> Frame | None:
        """The next input; None where none came within that time.

        Raises:
            EndOfSource: there will be none any more.
            InputError: the source is damaged, and cannot go on.
        """
        ...

    def answered(self, frame: Frame) -> None:
        """The answers to an input have been written."""
        ...

    def close(self) -> None:
        """Give back what is held."""
        ...


class NoSource:
    """No inputs at all; canaries run, and what others do is followed."""

    def next(self, timeout_s: float) -> Frame | None:
        """Wait."""
        time.sleep(timeout_s)
        return None

    def answered(self, frame: Frame) -> None:
        """Nothing was asked."""

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class LastingSource:
    """Another source whose end is not the service's: a line is open that may have commands."""

    inner: Source
    ended: bool = False

    def next(self, timeout_s: float) -> Frame | None:
        """See `Source.next`; after the end there is nothing, for ever."""
        if not self.ended:
            try:
                return self.inner.next(timeout_s)
            except EndOfSource:
                self.ended = True
        time.sleep(timeout_s)
        return None

    def answered(self, frame: Frame) -> None:
        """See `Source.answered`."""
        self.inner.answered(frame)

    def close(self) -> None:
        """See `Source.close`."""
        self.inner.close()


class StreamSource:
    """`.npy` arrays one after another from a file descriptor: a pipe, a socket or a file.

    Args:
        descriptor: where to read.
        name: how it is called.
    """

    def __init__(self, descriptor: int, name: str = "standard input") -> None:
        """Nothing has been read."""
        self._descriptor, self._name = descriptor, name
        self._stream = NpyStream(name)
        self._waiting: deque[NDArray[Any]] = deque()
        self._number = 0
        self._ended = False

    def next(self, timeout_s: float) -> Frame | None:
        """See `Source.next`."""
        if not self._waiting and not self._ended:
            self._read(timeout_s)
        if self._waiting:
            self._number += 1
            return Frame(str(self._number), self._waiting.popleft())
        if self._ended:
            self._stream.finish()
            raise EndOfSource
        return None

    def _read(self, timeout_s: float) -> None:
        ready, _, _ = select.select([self._descriptor], [], [], timeout_s)
        if not ready:
            self._waiting.extend(self._stream.feed(b""))  # an error that came behind arrays
            return
        try:
            data = os.read(self._descriptor, _PIECE_BYTES)
        except OSError as error:
            raise InputError(f"{self._name} cannot be read: {error.strerror}") from error
        self._ended = not data
        self._waiting.extend(self._stream.feed(data))

    def answered(self, frame: Frame) -> None:
        """Nothing is left behind."""

    def close(self) -> None:
        """The descriptor is its owner's."""


def open_source(wanted: str, settings: DirectorySettings, *, once: bool = False) -> Source:
    """The source of a name.

    Args:
        wanted: `-`, `none`, a directory, or the name of a plugin.
        settings: for a directory.
        once: a directory ends when there is nothing new in it.

    Raises:
        InputError: there is no such source.
    """
    if wanted == "none":
        return NoSource()
    if wanted == "-":
        return StreamSource(0)
    if Path(wanted).is_dir():
        from agent.service.directory_source import DirectorySource  # noqa: PLC0415 - one of many

        return DirectorySource(Path(wanted), settings, once=once)
    if os.sep in wanted:
        raise InputError(f"the source {wanted} is no directory; make it first")
    from agent.service.plugin_source import plugin_source  # noqa: PLC0415 - one of many

    return plugin_source(wanted)

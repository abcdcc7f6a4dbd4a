"""Inputs from a package that somebody else installed, found by Python's entry points.

    [project.entry-points."npp_agent.sources"]
    our-camera = "our_package.camera:frames"

What the entry leads to is called without arguments and gives an iterator of arrays, or of pairs of
a name and an array. It runs in a thread of its own, one input ahead, so that waiting for it stops
nothing else.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np

from agent.errors import InputError
from agent.service.sources import EndOfSource, Frame

GROUP = "npp_agent.sources"


def plugin_source(name: str) -> IteratorSource:
    """The source that a plugin offers under a name.

    Raises:
        InputError: none or several do, or it cannot be used.
    """
    offered = {(one.name, one.value): one for one in entry_points(group=GROUP)}
    found = [entry for entry in offered.values() if entry.name == name]
    if len(found) != 1:
        names = ", ".join(sorted({entry.name for entry in offered.values()})) or "none"
        how_many = "several plugins offer" if found else "no plugin offers"
        raise InputError(
            f"there is no directory {name}, and {how_many} a source of that name; give -, none, a "
            f"directory or a plugin's source (installed: {names})"
        )
    return IteratorSource(name, _iterated(found[0]))


def _iterated(entry: EntryPoint) -> Iterable[Any]:
    try:
        items: Iterable[Any] = iter(entry.load()())
    except Exception as error:
        raise InputError(
            f"the source {entry.name} ({entry.value}) cannot be used: {type(error).__name__}: "
            f"{error}"
        ) from error
    return items


class IteratorSource:
    """Inputs that an iterator gives, read one ahead.

    Args:
        name: of the source.
        items: arrays, or pairs of a name and an array.
    """

    def __init__(self, name: str, items: Iterable[Any]) -> None:
        """Begin to read."""
        self._name = name
        self._queue: queue.Queue[Callable[[], Frame]] = queue.Queue(maxsize=1)
        self._closed = threading.Event()
        threading.Thread(
            target=self._read, args=(items,), name=f"npp-source-{name}", daemon=True
        ).start()

    def next(self, timeout_s: float) -> Frame | None:
        """See `Source.next`."""
        try:
            return self._queue.get(timeout=max(timeout_s, 1e-4))()
        except queue.Empty:
            return None

    def answered(self, frame: Frame) -> None:
        """Nothing is left behind."""

    def close(self) -> None:
        """Read no further; what the iterator is doing cannot be interrupted."""
        self._closed.set()

    def _read(self, items: Iterable[Any]) -> None:
        last: Exception = EndOfSource()
        try:
            for number, item in enumerate(items, start=1):
                frame = self._frame(number, item)
                if not self._put(lambda frame=frame: frame):  # type: ignore[misc]  # bound now
                    return
        except Exception as error:  # noqa: BLE001  # a plugin may raise anything
            last = InputError(f"the source {self._name} raised {type(error).__name__}: {error}")
        self._put(lambda: _raise(last))

    def _frame(self, number: int, item: Any) -> Frame:
        name, x = item if isinstance(item, tuple) and len(item) == 2 else (number, item)
        return Frame(str(name), np.asarray(x))

    def _put(self, give: Callable[[], Frame]) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(give, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False


def _raise(error: Exception) -> Frame:
    raise error

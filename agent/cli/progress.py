"""A progress bar where a person waits: on a terminal only, and not before two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeVar

Item = TypeVar("Item")

Report = Callable[[int, int], None]
"""Takes how many steps are done, and of how many; what a job calls after each step."""

QUIET_S = 2.0
"""Shorter jobs draw nothing."""

_BAR = 30
_LINE = 79
_INTERVAL_S = 0.1


def say(sentence: str, stream: TextIO | None = None) -> None:
    """Say something while a job goes on, on a line of its own even where a bar is drawn."""
    target = sys.stderr if stream is None else stream
    if target.isatty():
        target.write("\r" + " " * _LINE + "\r")
    target.write(sentence + "\n")
    target.flush()


@contextmanager
def progress(
    label: str,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Report]:
    """Yield what a job reports its steps to, and leave a clean line when it ends.

    Args:
        label: what is being done, in a word or two.
        stream: where to draw, stderr by default; nothing is drawn where it is no terminal.
        clock: seconds that only grow.
    """
    target = sys.stderr if stream is None else stream
    if not target.isatty():
        yield lambda _done, _total: None
        return
    started = drawn = clock()
    width = 0

    def show(done: int, total: int) -> None:
        nonlocal drawn, width
        now = clock()
        if now - started < QUIET_S or (width and now - drawn < _INTERVAL_S and done < total):
            return
        drawn = now
        line = bar_text(label, done, total, now - started)
        target.write("\r" + line.ljust(width))
        target.flush()
        width = len(line)

    try:
        yield show
    finally:
        if width:
            target.write("\r" + " " * width + "\r")
            target.flush()


def track(items: Iterable[Item], total: int, report: Report) -> Iterator[Item]:
    """The items, one after another, each reported when the next is asked for."""
    for done, item in enumerate(items, start=1):
        yield item
        report(done, total)


def bar_text(label: str, done: int, total: int, elapsed_s: float) -> str:
    """One line: what, how much of it, and how long the rest will take at this pace."""
    share = min(max(done / total, 0.0), 1.0) if total > 0 else 0.0
    full = round(share * _BAR)
    left = f", {elapsed_s * (1 - share) / share:.0f} s left" if share > 0 else ""
    return f"{label} [{'#' * full}{'.' * (_BAR - full)}] {share:4.0%}{left}"

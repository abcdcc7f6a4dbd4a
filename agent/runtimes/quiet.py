"""Keeping the standard error ours while a foreign library, written in C++, greets the world.

TFLite prints a line there when it makes its first interpreter, past Python, and has no switch
against it. So the descriptor is turned to a file in memory for as long as that takes, and what is
no greeting is passed on afterwards: nothing else is lost, also not what another thread wrote.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STANDARD_ERROR = 2
_GREETING = re.compile(rb"(INFO: |I\d{4} ).*\n?")
"""What TFLite and its logging library put before a line that only informs."""

_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def quietly() -> Iterator[None]:
    """Leave out informing lines that C++ code writes to the standard error meanwhile.

    Where the system has no files in memory, or no standard error, all is as without.
    """
    with _ONE_AT_A_TIME:
        kept = _turned_away()
        try:
            yield
        finally:
            if kept is not None:
                _turned_back(*kept)


def _turned_away() -> tuple[int, int] | None:
    """The real standard error and the file that stands in for it."""
    try:
        real = os.dup(STANDARD_ERROR)
    except OSError:  # it is closed, as some services have it
        return None
    try:
        memory = os.memfd_create("stderr")
    except OSError:
        os.close(real)
        return None
    os.dup2(memory, STANDARD_ERROR)
    return real, memory


def _turned_back(real: int, memory: int) -> None:
    os.dup2(real, STANDARD_ERROR)
    os.close(real)
    with os.fdopen(memory, "rb") as file:
        file.seek(0)
        for line in file:
            if not _GREETING.fullmatch(line):
                os.write(STANDARD_ERROR, line)

"""Moments in which an interrupt from the terminal has to wait."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """An interrupt that comes inside is heard when this ends.

    Processes that are started inside never hear one: a blocked signal stays blocked in them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

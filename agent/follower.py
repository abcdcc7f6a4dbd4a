"""A thread that does something again and again until it is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Follower:
    """Calls `work` every so many seconds; an error of it is `failed`'s and ends nothing.

    Args:
        work: what is done; it takes little time.
        every_s: the pause between two calls.
        failed: is told of an error.
    """

    def __init__(
        self, work: Callable[[], object], every_s: float, failed: Callable[[Exception], None]
    ) -> None:
        """Start."""
        self._work, self._every_s, self._failed = work, every_s, failed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="npp-follower", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait for work under way."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self._work()
            except Exception as error:  # noqa: BLE001  # a thread has nobody above it
                self._failed(error)

"""Signals as flags that the main loop looks at: SIGTERM and SIGINT stop, SIGHUP reads again."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Self


class Signals:
    """Takes over the three signals for the time of a `with` block, in the main thread."""

    def __init__(self) -> None:
        """Nothing has been heard."""
        self.stop: str | None = None
        """The name of the signal that asked to stop."""

        self._reload = False
        self._before: dict[signal.Signals, Any] = {}

    def ask_reload(self) -> None:
        """Do as SIGHUP does; from any thread."""
        self._reload = True

    def take_reload(self) -> bool:
        """Whether SIGHUP came since the last call."""
        asked, self._reload = self._reload, False
        return asked

    def __enter__(self) -> Self:
        """Listen."""
        for which in (signal.SIGTERM, signal.SIGINT):
            self._before[which] = signal.signal(which, self._stop)
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._hang_up)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        """Listen no more."""
        for which, handler in self._before.items():
            signal.signal(which, handler)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self.stop = signal.Signals(number).name

    def _hang_up(self, _number: int, _frame: FrameType | None) -> None:
        self._reload = True

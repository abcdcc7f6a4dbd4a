"""What systemd is told: ready, still alive, stopping (sd_notify(3)), without its library.

A datagram to the socket that $NOTIFY_SOCKET names; without one, nothing is said. A watchdog wants
to hear something at least every $WATCHDOG_USEC, so it is told twice in that time.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping


class Notifier:
    """Tells systemd.

    Args:
        environment: which names socket and watchdog.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Find the socket; nothing is said yet."""
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._clock = clock
        self._every_s = _watchdog_s(environment)
        self._said_s = -float("inf")

    def ready(self, status: str) -> None:
        """The service answers."""
        self._say(f"READY=1\nSTATUS={_line(status)}")

    def status(self, status: str) -> None:
        """What `systemctl status` shows."""
        self._say(f"STATUS={_line(status)}")

    def alive(self) -> None:
        """The main loop still runs; often enough, this may be said as often as one likes."""
        now_s = self._clock()
        if self._every_s is not None and now_s - self._said_s >= self._every_s:
            self._said_s = now_s
            self._say("WATCHDOG=1")

    def reloading(self) -> None:
        """The configuration is read again; `ready` says that it is done."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The service is about to end."""
        self._say("STOPPING=1")

    def _say(self, text: str) -> None:
        if not self._address:
            return
        name = self._address
        address = "\0" + name[1:] if name.startswith("@") else name
        # Nobody who listens is no reason to end.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.connect(address)
            sender.sendall(text.encode())


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """How often the watchdog is told; None where there is none, or it watches another process."""
    wanted, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not wanted.isdecimal() or int(wanted) == 0 or process not in {"", str(os.getpid())}:
        return None
    return int(wanted) / 1e6 / 2


def _line(text: str) -> str:
    return " ".join(text.split())

"""The only place that knows pyserial: a line that is opened, read and written.

Its errors become sentences here: no such port, no permission, in use, pulled out.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agent.errors import LinkError, LinkLostError
from agent.link.lines import Line, call

BAUD_RATE = 115_200
_ROLLS = "python -m pip install 'npp-agent[serial]'"


@dataclass(frozen=True)
class LineSettings:
    """How a line is driven; a network or a pty does not mind."""

    baud_rate: int = BAUD_RATE
    """Bits a second, 8 data bits, no parity, one stop bit."""

    hardware_flow_control: bool = False
    """RTS and CTS."""

    software_flow_control: bool = False
    """XON and XOFF."""

    @property
    def bytes_per_s(self) -> float:
        """Ten bits a byte: a start and a stop bit."""
        return self.baud_rate / 10


def open_line(url: str, settings: LineSettings) -> Line:
    """Open a device's path, `tcp://HOST:PORT`, or another URL that pyserial knows.

    Raises:
        LinkError: it cannot be opened; the sentence says why and what to do.
    """
    return call(url) if url.startswith(("tcp://", "socket://")) else Port(url, settings)


class Port:
    """An open line of pyserial's; what came before it was opened is forgotten.

    Args:
        url: a device's path, or what pyserial's `serial_for_url` takes, such as
            `rfc2217://HOST:PORT`.
        settings: how it is driven.

    Raises:
        LinkError: it cannot be opened; the sentence says why and what to do.
    """

    def __init__(self, url: str, settings: LineSettings | None = None) -> None:
        """Open it."""
        self.url = url
        self.settings = LineSettings() if settings is None else settings
        self._line = _opened(url, self.settings)
        with self._lost():
            self._line.reset_input_buffer()

    def read(self, timeout_s: float) -> bytes:
        """What is there, waiting at most so long for a first byte.

        Raises:
            LinkLostError: the line is gone.
        """
        with self._lost():
            if self._line.timeout != timeout_s:
                self._line.timeout = timeout_s
            first = self._line.read(1)
            return (
                bytes(first + self._line.read(waiting))
                if first and (waiting := self._line.in_waiting)
                else bytes(first)
            )

    def write(self, data: bytes) -> None:
        """Write all of it.

        Raises:
            LinkLostError: the line is gone.
        """
        with self._lost():
            self._line.write(data)

    def close(self) -> None:
        """Give the line back."""
        with contextlib.suppress(OSError):
            self._line.close()

    @contextlib.contextmanager
    def _lost(self) -> Iterator[None]:
        try:
            yield
        except (OSError, termios.error, TypeError) as error:
            # pyserial's error is an OSError; a line that another thread closed is a TypeError.
            raise LinkLostError(
                f"the line {self.url} is gone ({_reason(error)}): look at the cable, and that the "
                "board has power"
            ) from error


def serial_library() -> Any:
    """Pyserial.

    Raises:
        LinkError: it is not installed.
    """
    try:
        return importlib.import_module("serial")
    except ImportError as error:
        raise LinkError(f"a serial link needs pyserial and cbor2: {_ROLLS}") from error


def _opened(url: str, settings: LineSettings) -> Any:
    library = serial_library()
    options: dict[str, Any] = {} if "://" in url else {"exclusive": True}
    try:
        return library.serial_for_url(
            url,
            baudrate=settings.baud_rate,
            rtscts=settings.hardware_flow_control,
            xonxoff=settings.software_flow_control,
            timeout=0,
            **options,
        )
    except (OSError, ValueError, termios.error) as error:
        raise LinkError(_why(url, error)) from error


def _why(url: str, error: Exception) -> str:
    """Why a line cannot be opened, and what to do."""
    number = getattr(error, "errno", None)
    text = str(error)
    if number == errno.ENOENT:
        return f"there is no port {url}: see 'npp-agent doctor' for those that there are"
    if number in {errno.EACCES, errno.EPERM}:
        return (
            f"{url} may not be opened by this user: join the group {_group_of(url)} with "
            f"'sudo usermod -aG {_group_of(url)} $USER', and log in again"
        )
    if number in {errno.EBUSY, errno.EAGAIN} or "exclusively lock" in text:
        return f"{url} is in use by another program: end that first"
    if number in {errno.ENOTTY, errno.EISDIR} or "Could not configure" in text:
        return f"{url} is no serial port"
    if "://" in url:
        return f"{url} cannot be reached: {_reason(error)}"
    return f"{url} cannot be opened: {_reason(error)}"


def _group_of(path: str) -> str:
    """The group that may open a port; `dialout` on Debian and its kin."""
    import grp  # noqa: PLC0415  # in a sentence about an error only

    try:
        return grp.getgrgid(os.stat(path).st_gid).gr_name  # noqa: PTH116  # a path as it was given
    except (OSError, KeyError):
        return "dialout"


def _reason(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if number else str(error) or type(error).__name__

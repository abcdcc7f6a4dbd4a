"""What a server serves: an open line, a listener that makes lines of callers, a pty of its own."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import tty
from pathlib import Path
from typing import Protocol

from agent.errors import LinkError, LinkLostError

LOOPBACK = "127.0.0.1"
_TCP = "tcp-listen://"
_PTY = "pty:"
_PIECE_BYTES = 65_536
_LARGEST_PORT = 65_535
_CONNECT_S = 5.0
_STUCK_S = 5.0
"""A reader that takes nothing for so long is given up."""


class Line(Protocol):
    """An open line."""

    def read(self, timeout_s: float) -> bytes:
        """What is there, waiting at most so long; raises LinkLostError."""
        ...

    def write(self, data: bytes) -> None:
        """Write all of it; raises LinkLostError."""
        ...

    def close(self) -> None:
        """Give it back."""
        ...


def is_listener(url: str) -> bool:
    """Whether a URL says to wait for callers."""
    return url.startswith(_TCP)


def is_pty(url: str) -> bool:
    """Whether a URL asks for a pty."""
    return url.startswith(_PTY)


class SocketLine:
    """A caller."""

    def __init__(self, connected: socket.socket) -> None:
        """Take a connected socket."""
        self._socket = connected
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def read(self, timeout_s: float) -> bytes:
        """See `Line`."""
        try:
            self._socket.settimeout(timeout_s)
            data = self._socket.recv(_PIECE_BYTES)
        except TimeoutError:
            return b""
        except OSError as error:
            raise LinkLostError(f"the caller is gone: {error}") from error
        if not data:
            raise LinkLostError("the caller hung up")
        return data

    def write(self, data: bytes) -> None:
        """See `Line`."""
        try:
            self._socket.settimeout(_STUCK_S)
            self._socket.sendall(data)
        except OSError as error:
            raise LinkLostError(f"the caller is gone: {error}") from error

    def close(self) -> None:
        """See `Line`."""
        self._socket.close()


def call(url: str) -> SocketLine:
    """A line to `tcp://HOST:PORT`.

    Raises:
        LinkError: it is no such URL, or nobody listens there.
    """
    host, colon, port = url.partition("://")[2].rpartition(":")
    if not colon or not port.isdecimal() or int(port) > _LARGEST_PORT:
        raise LinkError(f"{url} is no address; write tcp://HOST:PORT")
    try:
        return SocketLine(
            socket.create_connection((host.strip("[]") or LOOPBACK, int(port)), _CONNECT_S)
        )
    except OSError as error:
        raise LinkError(
            f"{url} cannot be reached: {error.strerror or error}; is npp-agent run there with "
            "--port?"
        ) from error


class Listener:
    """Waits for callers.

    Args:
        url: `tcp-listen://HOST:PORT`; without a host it is the loopback, and 0 is any free port.

    Raises:
        LinkError: it is no such URL, or the port is taken.
    """

    def __init__(self, url: str) -> None:
        """Listen."""
        host, colon, port = url.removeprefix(_TCP).rpartition(":")
        if not colon or not port.isdecimal() or int(port) > _LARGEST_PORT:
            raise LinkError(f"{url} is no address to listen at; write {_TCP}HOST:PORT")
        self.host = host.strip("[]") or LOOPBACK
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((self.host, int(port)))
            self._socket.listen()
        except OSError as error:
            self._socket.close()
            raise LinkError(f"cannot listen at {url}: {error.strerror or error}") from error

    @property
    def address(self) -> str:
        """Where a client finds it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self._socket.getsockname()[1]}"

    def accept(self, timeout_s: float) -> SocketLine | None:
        """The next caller; None if none comes in time.

        Raises:
            LinkLostError: the listener was closed.
        """
        try:
            self._socket.settimeout(timeout_s)
            return SocketLine(self._socket.accept()[0])
        except TimeoutError:
            return None
        except OSError as error:
            raise LinkLostError(f"not listening any more: {error}") from error

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


class PtyLine:
    """A pty, whose other end a client on this machine opens like a device.

    Args:
        url: `pty:`, or `pty:LINK` for a link of that name to the device.

    Raises:
        LinkError: there is no pty to be had, or the link cannot be made.
    """

    def __init__(self, url: str) -> None:
        """Open both ends; the other stays open, so that clients may come and go."""
        try:
            self._ours, self._theirs = os.openpty()
        except OSError as error:
            raise LinkError(f"no pty can be opened: {error.strerror}") from error
        tty.setraw(self._theirs)
        os.fchmod(self._theirs, 0o600)  # it is trusted, so that nobody else may open it
        os.set_blocking(self._ours, False)  # how the system calls it
        self.address = os.ttyname(self._theirs)
        name = url.removeprefix(_PTY)
        self._link = Path(name) if name else None
        if self._link is not None:
            self._make_link(self._link)

    def read(self, timeout_s: float) -> bytes:
        """See `Line`."""
        try:
            ready, _, _ = select.select([self._ours], [], [], timeout_s)
            return os.read(self._ours, _PIECE_BYTES) if ready else b""
        except (OSError, ValueError) as error:
            raise LinkLostError(f"the pty is gone: {error}") from error

    def write(self, data: bytes) -> None:
        """See `Line`; what nobody reads for long is dropped."""
        rest = memoryview(data)
        try:
            while rest:
                _, ready, _ = select.select([], [self._ours], [], _STUCK_S)
                if not ready:
                    return
                rest = rest[os.write(self._ours, rest) :]
        except BlockingIOError:
            return
        except (OSError, ValueError) as error:
            raise LinkLostError(f"the pty is gone: {error}") from error

    def close(self) -> None:
        """See `Line`."""
        if self._link is not None and self._link.is_symlink():
            self._link.unlink()
            self._link = None
        for handle in (self._ours, self._theirs):
            with contextlib.suppress(OSError):
                os.close(handle)

    def _make_link(self, link: Path) -> None:
        try:
            if link.is_symlink():
                link.unlink()
            link.symlink_to(self.address)
        except OSError as error:
            self.close()
            raise LinkError(f"{link} cannot be made: {error.strerror}") from error
        self.address = str(link)

"""Serving: a thread for each line, and one for each listener. Everything else is without I/O."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from agent.errors import LinkError, LinkLostError
from agent.link.connection import Connection
from agent.link.lines import LOOPBACK, Line, Listener, PtyLine, is_listener, is_pty
from agent.link.port import LineSettings, Port
from agent.link.server import Server
from agent.link.session import Access

MOST_CALLERS = 8
_IDLE_S = 0.2
_SUBSCRIBED_S = 0.02
_AGAIN_S = 1.0

Tell = Callable[[str], None]


@dataclass(frozen=True)
class ServeOptions:
    """How ports are served."""

    key: bytes | None = None
    allow_unauthenticated: bool = False
    settings: LineSettings = LineSettings()  # noqa: RUF009  # frozen


class LinkService:
    """Ports that are served until they are closed.

    Args:
        server: what answers.
        urls: device paths, `tcp-listen://HOST:PORT`, `pty:` or `pty:LINK`.
        options: who may do what, and how lines are driven.
        tell: takes sentences for a log.

    Raises:
        LinkError: one of the ports cannot be opened; none is served then.
    """

    def __init__(
        self, server: Server, urls: Sequence[str], options: ServeOptions, tell: Tell
    ) -> None:
        """Open all ports, and serve."""
        self._server, self._tell, self._options = server, tell, options
        self._access = Access(False, options.key, options.allow_unauthenticated)  # noqa: FBT003
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.addresses: list[str] = []
        """Where clients find each port, in the order of the URLs."""

        with contextlib.ExitStack() as opened:
            begun = [self._opened(url, opened) for url in urls]
            self._opened_ports = opened.pop_all()
        for run in begun:
            self._start(run)
        self._warn(urls)

    def close(self) -> None:
        """Serve no more."""
        self._stop.set()
        for thread in [*self._threads]:
            thread.join(timeout=2.0)
        self._opened_ports.close()

    def __enter__(self) -> Self:
        """The service itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _opened(self, url: str, opened: contextlib.ExitStack) -> Callable[[], None]:
        """Open a port; returns what its thread does."""
        if is_listener(url):
            listener = Listener(url)
            opened.callback(listener.close)
            self.addresses.append(listener.address)
            return lambda: self._listen(listener)
        if is_pty(url):
            pty = PtyLine(url)
            opened.callback(pty.close)
            self.addresses.append(pty.address)
            return lambda: self._serve(pty, replace(self._access, local=True))
        port = Port(url, self._options.settings)
        self.addresses.append(url)
        return lambda: self._serve_device(port)

    def _warn(self, urls: Sequence[str]) -> None:
        reached = [url for url in urls if not is_pty(url)]
        if reached and self._options.allow_unauthenticated:
            self._tell(
                f"whoever reaches {', '.join(reached)} may change this agent "
                "(--allow-unauthenticated)"
            )
        elif reached and self._options.key is None:
            self._tell(
                f"no key: {', '.join(reached)} can be read and uploaded to, and nothing else"
            )
        far = [url for url in urls if is_listener(url) and LOOPBACK not in url and "//:" not in url]
        if far:
            self._tell(f"{', '.join(far)} can be reached from other machines, unencrypted")

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name="npp-link", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self, listener: Listener) -> None:
        while not self._stop.is_set():
            try:
                caller = listener.accept(_IDLE_S)
            except LinkLostError:
                return
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            if caller is None:
                continue
            if len(self._threads) > MOST_CALLERS:
                caller.close()
                continue
            self._start(lambda line=caller: self._serve(line, self._access))  # type: ignore[misc]  # the loop's caller of now

    def _serve_device(self, port: Port) -> None:
        """Serve a device, again when it comes back."""
        while not self._stop.is_set():
            self._serve(port, self._access)
            if self._stop.is_set():
                return
            self._tell(f"{port.url} is gone; waiting until it is back")
            while not self._stop.wait(_AGAIN_S):
                try:
                    port = Port(port.url, self._options.settings)
                except LinkError:
                    continue
                self._tell(f"{port.url} is back")
                break

    def _serve(self, line: Line, access: Access) -> None:
        """Answer one line until it is gone."""
        with self._connection(access) as connection, contextlib.closing(line):
            try:
                while not self._stop.is_set():
                    wait_s = _SUBSCRIBED_S if connection.session.subscribed else _IDLE_S
                    out = connection.receive(line.read(wait_s)) + connection.due()
                    if out:
                        line.write(out)
            except LinkLostError:
                return

    @contextlib.contextmanager
    def _connection(self, access: Access) -> Iterator[Connection]:
        connection = self._server.connect(access)
        try:
            yield connection
        finally:
            self._server.disconnect(connection)

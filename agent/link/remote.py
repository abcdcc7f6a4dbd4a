"""A board at the end of a line: found, asked for its jobs and documents, and found again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from agent.errors import LinkError, LinkLostError, RemoteError
from agent.link.client import Ask, Client, Event
from agent.link.codes import PROTOCOL_VERSION, Group, Npp, Op
from agent.link.frames import Quality
from agent.link.port import LineSettings, open_line
from agent.listeners import Listeners

RECONNECT_S = 30.0
_HELLO_TRIES = 3
_AGAIN_S = 0.5
_POLL_S = 0.05
_SLOWEST_POLL_S = 0.5
_LARGEST_DOCUMENT = 4 * 2**20
_MANY_ODD = 0.3
"""Share of bytes that no console prints, from which on they are noise."""


@dataclass(frozen=True)
class Reach:
    """How to get at a board."""

    url: str
    settings: LineSettings = LineSettings()  # noqa: RUF009  # frozen
    key: bytes | None = None
    reconnect_s: float = RECONNECT_S
    """How long to wait for a line that broke."""


class Remote:
    """A board that answers, as an npp-agent of our protocol.

    Args:
        reach: where it is.
        on_event: takes what the board tells of itself.

    Raises:
        LinkError: it cannot be reached, or is something else; the sentence says which.
    """

    def __init__(self, reach: Reach, on_event: Callable[[Event], None] = lambda _: None) -> None:
        """Connect, and ask who is there."""
        self._reach, self._on_event = reach, on_event
        self.client = self._connected()

    def close(self) -> None:
        """Hang up."""
        self.client.line.close()

    def __enter__(self) -> Self:
        """The board itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self.close()

    def reconnect(self, lost: LinkLostError) -> None:
        """Connect again, as soon as the line is back.

        Raises:
            LinkLostError: it is not back in time.
        """
        self.close()
        until = time.monotonic() + self._reach.reconnect_s
        while time.monotonic() < until:
            time.sleep(_AGAIN_S)
            try:
                self.client = self._connected()
            except LinkError:
                continue
            return
        raise LinkLostError(
            f"{lost}; it was not back within {self._reach.reconnect_s:g} s"
        ) from lost

    def read(self, command: Npp, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Ask something of our own group.

        Raises:
            LinkError: as for `Client.ask`.
        """
        return self.client.ask(Ask(Op.READ, Group.NPP, command, body or {}))

    def write(
        self, command: Npp, body: Mapping[str, Any], *, guarded: bool = True
    ) -> Mapping[str, Any]:
        """Have something of our own group done.

        Raises:
            LinkError: as for `Client.ask`.
        """
        return self.client.ask(Ask(Op.WRITE, Group.NPP, command, body, guarded=guarded))

    def document(self, name: str, **more: Any) -> dict[str, Any]:
        """A document as the board prints it.

        Raises:
            LinkError: as for `Client.ask`, or it is no document.
        """
        data, length = b"", 1
        while len(data) < length:
            answer = self.read(Npp.DOCUMENT, {"name": name, "off": len(data), **more})
            piece = answer.get("data")
            length = answer.get("len", length)
            if not isinstance(piece, bytes) or not isinstance(length, int) or not piece:
                raise RemoteError(f"the board's document {name} is none")
            if length > _LARGEST_DOCUMENT:
                raise RemoteError(f"the board's document {name} has {length} bytes, too many")
            data += piece
        try:
            found = json.loads(data)
        except ValueError as error:
            raise RemoteError(f"the board's document {name} is damaged") from error
        if not isinstance(found, dict):
            raise RemoteError(f"the board's document {name} is none")
        return found

    def do(
        self, command: Npp, body: Mapping[str, Any], listeners: Listeners, *, guarded: bool = True
    ) -> tuple[dict[str, Any], int]:
        """Have a job done, and wait for it; through broken lines, once it has begun.

        Returns:
            Its document, and the exit code of the command on the board.

        Raises:
            LinkError: as for `Client.ask`; or the job failed, with the board's sentence.
        """
        given = {name: value for name, value in body.items() if value is not None}
        number = self._begun(command, given, guarded=guarded)
        told, pause_s = 0, _POLL_S
        while True:
            try:
                job = self.read(Npp.JOB, {"job": number, "notes": told})
                if job.get("state") != "running":
                    return self._ended(job, listeners)
                told += _told(job, listeners)
                listeners.report(job.get("done", 0), job.get("total", 0))
                self.client.events(pause_s)
            except LinkLostError as lost:
                self.reconnect(lost)
            pause_s = min(1.5 * pause_s, _SLOWEST_POLL_S)

    def _begun(self, command: Npp, body: Mapping[str, Any], *, guarded: bool) -> object:
        """Begin a job; its number. Where the line broke, the board is asked whether it began."""
        before = self._last_job()
        try:
            return self.write(command, body, guarded=guarded).get("job")
        except LinkLostError as lost:
            self.reconnect(lost)
        now = self._last_job()
        if now != before and now[1] == command.name.lower():
            return now[0]
        return self.write(command, body, guarded=guarded).get("job")

    def _last_job(self) -> tuple[object, object]:
        """Number and kind of the job that the board did last, or does."""
        job = self.read(Npp.STATUS).get("job")
        return (job.get("job"), job.get("kind")) if isinstance(job, Mapping) else (None, None)

    def _ended(self, job: Mapping[str, Any], listeners: Listeners) -> tuple[dict[str, Any], int]:
        _told(job, listeners)
        code = job.get("exit_code")
        exit_code = code if isinstance(code, int) else 1
        if job.get("failure"):
            raise RemoteError(f"the board says: {job['failure']}", exit_code)
        return self.document("job"), exit_code

    def _connected(self) -> Client:
        reach = self._reach
        port = open_line(reach.url, reach.settings)
        client = Client(port, reach.settings.bytes_per_s, reach.key, self._on_event)
        try:
            self._greet(client)
        except BaseException:
            port.close()
            raise
        return client

    def _greet(self, client: Client) -> None:
        """Make sure that this is a board of ours."""
        ask = Ask(Op.READ, Group.NPP, Npp.STATUS, {})
        try:
            said = client.ask(ask, _HELLO_TRIES)
        except RemoteError as error:
            if error.explained:
                raise
            raise LinkError(
                f"what is at {self._reach.url} speaks SMP and is no npp-agent ({error})"
            ) from error
        except LinkLostError as error:
            raise LinkLostError(self._silence(client.quality, error)) from error
        if said.get("protocol") != PROTOCOL_VERSION:
            raise LinkError(
                f"the npp-agent {said.get('agent')} at {self._reach.url} speaks version "
                f"{said.get('protocol')} of our protocol, this one version {PROTOCOL_VERSION}: "
                "use the same version on both sides"
            )

    def _silence(self, heard: Quality, error: LinkLostError) -> str:
        """What to make of a line without an answer."""
        url, rate = self._reach.url, self._reach.settings.baud_rate
        if heard.foreign_bytes and heard.odd_bytes >= _MANY_ODD * heard.foreign_bytes:
            return (
                f"what comes from {url} at {rate} baud is no text: the other side has another baud "
                "rate; give it with --baud-rate"
            )
        if heard.foreign_bytes:
            text = heard.last_text.decode("ascii", "replace").strip()
            return (
                f"what is at {url} is no npp-agent: it says {text!r}; start one there with "
                "'npp-agent run --port'"
            )
        if heard.broken:
            return f"answers from {url} arrive damaged: look at the cable and the baud rate {rate}"
        return (
            f"nobody answers at {url} ({error.args[0].split(':')[0]}, {rate} baud): is npp-agent "
            "run there with --port, and is the baud rate the same?"
        )


def _told(job: Mapping[str, Any], listeners: Listeners) -> int:
    notes = job.get("notes")
    if not isinstance(notes, list):
        return 0
    for sentence in notes:
        listeners.tell(str(sentence))
    return len(notes)

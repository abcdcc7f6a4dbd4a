"""Looking at a board again and again: what `monitor` shows, writes and exports."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.errors import LinkError
from agent.link.client import Event
from agent.link.codes import Npp
from agent.link.remote import Reach, Remote

_LEASE_S = 120
_MOST_LAYERS = 100_000


@dataclass(frozen=True)
class LineState:
    """How the line does."""

    round_trip_s: float
    answers: int
    repeats: int
    """Requests that had to be sent again, since the connection began."""

    broken: int
    """Frames that arrived damaged."""


@dataclass(frozen=True)
class Snapshot:
    """A board at a moment."""

    time_s: float
    """Unix time, of this machine."""

    board: Mapping[str, Any]
    """What `status` of the protocol says."""

    layers: tuple[Mapping[str, Any], ...]
    """Name, error, SQNR, rank and baseline of each, as measured last."""

    line: LineState

    def document(self) -> dict[str, Any]:
        """The snapshot as JSON wants it."""
        return {
            "time_s": self.time_s,
            "board": dict(self.board),
            "layers": [dict(layer) for layer in self.layers],
            "line": vars(self.line),
        }


class Watching:
    """A board that is looked at, and found again when its line breaks.

    Args:
        reach: where it is.
        on_event: takes what the board tells of itself.
    """

    def __init__(self, reach: Reach, on_event: Callable[[Event], None]) -> None:
        """Connect at the first look."""
        self._reach, self._on_event = reach, on_event
        self._remote: Remote | None = None
        self._renew_at = 0.0
        self._layers: tuple[tuple[object, object], tuple[Mapping[str, Any], ...]] | None = None

    @property
    def url(self) -> str:
        """Where the board is."""
        return self._reach.url

    def look(self) -> Snapshot:
        """The board now.

        Raises:
            LinkError: it cannot be reached; the next look tries again.
        """
        try:
            remote = self.remote()
            self._subscribe(remote)
            began_s = time.perf_counter()
            board = remote.read(Npp.STATUS)
            took_s = time.perf_counter() - began_s
            layers = self._layers_of(remote, board)
        except LinkError:
            self.close()
            raise
        counts = remote.client.counts
        broken = remote.client.quality.broken
        line = LineState(took_s, counts.answers, counts.repeats, broken)
        return Snapshot(time.time(), board, layers, line)

    def remote(self) -> Remote:
        """The connection, made where there is none.

        Raises:
            LinkError: the board cannot be reached.
        """
        if self._remote is None:
            self._renew_at, self._layers = 0.0, None
            self._remote = Remote(self._reach, self._on_event)
        return self._remote

    def wait(self, seconds: float) -> None:
        """Let time pass; events are told meanwhile."""
        if self._remote is None:
            time.sleep(seconds)
            return
        try:
            self._remote.client.events(seconds)
        except LinkError:
            self.close()

    def close(self) -> None:
        """Hang up."""
        if self._remote is not None:
            self._remote.close()
            self._remote = None

    def _subscribe(self, remote: Remote) -> None:
        now = time.monotonic()
        if now >= self._renew_at:
            remote.write(Npp.SUBSCRIBE, {"lease_s": _LEASE_S}, guarded=False)
            self._renew_at = now + _LEASE_S / 2

    def _layers_of(self, remote: Remote, board: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        """The layers, fetched anew when they were measured anew."""
        version = (board.get("measured_s"), board.get("factors"))
        if self._layers is None or self._layers[0] != version:
            found: list[Mapping[str, Any]] = []
            count = 1
            while len(found) < count:
                answer = remote.read(Npp.LAYERS, {"from": len(found)})
                page, count = answer.get("layers"), answer.get("count", 0)
                if not isinstance(page, list) or not page or not 0 <= count <= _MOST_LAYERS:
                    break
                found += page
            self._layers = (version, tuple(found))
        return self._layers[1]

"""What the board knows of one client: whether it may change something, and what it is to be told.

A session lasts as long as its connection. Nothing here reads or writes a wire.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.link.board import Readable
from agent.link.codes import Code
from agent.link.refusal import Refusal

LONGEST_LEASE_S = 300
_MOST_EVENTS = 16

Clock = Callable[[], float]


@dataclass(frozen=True)
class Access:
    """What a transport allows."""

    local: bool = False
    """A local pty: who can open it may do everything on this machine's store anyway."""

    key: bytes | None = None
    allow_unauthenticated: bool = False


@dataclass
class Session:
    """One client's."""

    access: Access
    clock: Clock = time.monotonic
    nonce: bytes | None = None
    """Good for one signed command."""

    signed: bool = False
    """Whether the command that is being answered was."""

    refused: Refusal | None = None
    """The last one, for `reason`."""

    snapshot: tuple[str, bytes] | None = None
    """The document that is being fetched, as it was when that began."""

    fetched: tuple[str, Readable] | None = None
    """The file that is being fetched, opened once for all its pieces."""

    lease_until: float = 0.0
    events: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=_MOST_EVENTS))

    def must_be_allowed(self, what: str) -> None:
        """Let nobody pass who may not change or fetch this.

        Raises:
            Refusal: the command came unsigned where a signature is needed.
        """
        access = self.access
        if access.local or access.allow_unauthenticated or self.signed:
            return
        how = (
            "this agent has no key: it was started without --key"
            if access.key is None
            else "sign the command: name the board's key with --key"
        )
        raise Refusal(f"{what} needs the shared key; {how}", Code.ACCESS_DENIED)

    @property
    def must_sign(self) -> bool:
        """Whether commands that change something have to be signed."""
        return not (self.access.local or self.access.allow_unauthenticated)

    def subscribe(self, lease_s: float) -> float:
        """Tell events for so long; 0 ends it. Returns for how long it is."""
        granted = min(lease_s, LONGEST_LEASE_S)
        self.lease_until = self.clock() + granted
        if not granted:
            self.events.clear()
        return granted

    @property
    def subscribed(self) -> bool:
        """Whether events are wanted now."""
        return self.clock() < self.lease_until

    def tell(self, event: Mapping[str, Any]) -> None:
        """Keep an event until the connection has time for it; from any thread."""
        if self.subscribed:
            self.events.append(event)

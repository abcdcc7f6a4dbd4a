"""What a running agent has to tell: events with figures, for a log or whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Notice:
    """Something that happened."""

    event: str
    """In a word or two, such as `factors` or `reloaded`."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    """What belongs to it."""

    level: str = "info"
    """`debug`, `info`, `notice`, `warning` or `error`."""


TellNotice = Callable[[Notice], None]


def silent(_: Notice) -> None:
    """Tell nobody."""


def warning(event: str, reason: str, **fields: Any) -> Notice:
    """Something that somebody should look at."""
    return Notice(event, {**fields, "reason": reason}, "warning")

"""What commands about a store share: the installed bundle's facts, and notes in the history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from agent.events import CALIBRATION, INSTALLATION, ROLLBACK, record
from agent.store.state import Trust
from agent.store.store import Store

__all__ = [
    "CALIBRATION",
    "INSTALLATION",
    "ROLLBACK",
    "chip_text",
    "note",
    "trust_text",
    "warn",
]


def note(store: Store, event: str, fields: Mapping[str, Any], now_s: float | None = None) -> None:
    """Add an event to the history; what has been done stands even where this fails.

    Args:
        store: locked by the caller.
        event: one of the events above.
        fields: what happened; JSON.
        now_s: Unix time; the system's by default.
    """
    _, warning = record(store, event, fields, now_s)
    if warning is not None:
        warn(warning)


def warn(sentence: str) -> None:
    """Say something on stderr that does not end the command."""
    click.echo(f"npp-agent: {sentence}", err=True)


def chip_text(chip: Mapping[str, Any]) -> str:
    """A chip in a few words: its name and what else is simple about it."""
    simple = {name: value for name, value in chip.items() if isinstance(value, str | int | float)}
    name = simple.pop("name", None)
    rest = ", ".join(f"{key} {value}" for key, value in simple.items())
    return ", ".join(part for part in (str(name) if name is not None else "", rest) if part)


def trust_text(trust: Trust) -> str:
    """Whose bundles a store takes, and from which version on."""
    return f"key {trust.public_key[:12]}, version {trust.version} or later"

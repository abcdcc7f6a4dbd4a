"""What `rollback` and `history` do to a store, whoever asks for it; without NumPy.

A command prints what these return, and the link sends it; see also `agent.tasks`.
"""

from __future__ import annotations

from typing import Any

from agent.events import ROLLBACK, record
from agent.listeners import Listeners
from agent.store.store import Store


def rollback(store: Store, to: int | None, listeners: Listeners) -> dict[str, Any]:
    """Let older factors run again; the document of `rollback`.

    Raises:
        StoreError: they are not there, or another process changes the store.
    """
    with store.lock():
        done = store.rollback(to)
        document = {"sequence": done.after, "from_sequence": done.before}
        _, warning = record(store, ROLLBACK, document)
    if warning is not None:
        listeners.warn(warning)
    return document


def history(store: Store, last: int | None) -> dict[str, Any]:
    """The newest entries, or all; the document of `history`.

    Raises:
        StoreError: there is no store, or it cannot be read.
    """
    found = store.read_history()
    if not found.entries:
        store.state()  # says so where there is no store at all
    entries = found.entries[-last:] if last else found.entries
    return {"entries": list(entries), "damaged_lines": found.damaged_lines}

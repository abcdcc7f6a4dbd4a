"""What is in a store, gathered for `status`, `fsck` and reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent.store.durable import disk_errors
from agent.store.layout import our_files
from agent.store.slots import Slot
from agent.store.state import State
from agent.store.store import Store


@dataclass(frozen=True)
class StoreStatus:
    """What is in a store."""

    directory: Path
    state: State
    sequence: int
    """Of the active factors; 0 where none are."""
    older: tuple[int, ...]
    """Sequence numbers that can be rolled back to, newest first, without 0."""
    slots: tuple[Slot, ...]
    bytes_used: int
    history_entries: int
    damaged_history_lines: int


def status_of(store: Store) -> StoreStatus:
    """Read all that there is to say.

    Raises:
        StoreError: nothing is installed, or the store cannot be read.
    """
    state = store.state()
    slots = store.factor_slots()
    numbers = slots.available()
    past = store.read_history()
    with disk_errors(f"read {store.directory}"):
        used = sum(path.stat().st_size for path in our_files(store.directory))
    return StoreStatus(
        directory=store.directory,
        state=state,
        sequence=numbers[0] if numbers else 0,
        older=tuple(numbers[1:]),
        slots=slots.slots(),
        bytes_used=used,
        history_entries=len(past.entries),
        damaged_history_lines=past.damaged_lines,
    )

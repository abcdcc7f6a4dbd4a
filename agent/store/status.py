"""What is in a store, gathered for `status`, `fsck` and reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent.store.slots import Slot
from agent.store.state import State
from agent.store.store import Store


@dataclass(frozen=True)
class StoreStatus:
    """What is in a store."""

    path: Path
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
    return StoreStatus(
        path=store.path,
        state=state,
        sequence=numbers[0] if numbers else 0,
        older=tuple(numbers[1:]),
        slots=slots.slots(),
        bytes_used=store.backing.bytes_used(),
        history_entries=len(past.entries),
        damaged_history_lines=past.damaged_lines,
    )

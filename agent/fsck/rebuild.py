"""A state that was lost, from what the history says of the last installation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.conditions import NAMES
from agent.errors import BundleError, StoreError
from agent.events import CALIBRATION, INSTALLATION
from agent.store.backing import Backing
from agent.store.slot_header import MAGIC
from agent.store.slot_set import SlotSet
from agent.store.state import State, trust_from


def rebuilt_state(backing: Backing) -> State | None:
    """The state, or None where the history does not hold it or its bundle is not whole.

    Factors count as this installation's only where the history tells of their calibration after
    it, so no factors of another chip or bundle ever come back.

    Raises:
        StoreError: the store cannot be read.
    """
    try:
        entries = backing.read_history().entries
    except StoreError:
        return None
    places = [n for n, entry in enumerate(entries) if entry.get("event") == INSTALLATION]
    if not places:
        return None
    installation, later = entries[places[-1]], entries[places[-1] + 1 :]
    identity, chip = installation.get("bundle_id"), installation.get("chip")
    if not isinstance(identity, str) or not isinstance(chip, dict):
        return None
    try:
        trust = trust_from(installation.get("trust"))
    except ValueError:
        return None
    state = State(identity, chip, _retired_up_to(backing, later), _conditions(later), trust)
    try:
        backing.read_bundle(state)
    except BundleError:
        return None
    return state


def _retired_up_to(backing: Backing, later: Sequence[Mapping[str, Any]]) -> int:
    accepted = [
        entry["sequence"]
        for entry in later
        if entry.get("event") == CALIBRATION
        and type(entry.get("sequence")) is int
        and entry.get("accepted")
    ]
    if accepted:
        return int(min(accepted)) - 1
    return max(slot.sequence for slot in SlotSet(backing.flash(), MAGIC).slots())


def _conditions(later: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    known: dict[str, float] = {}
    for entry in later:
        found = {name: entry[name] for name in NAMES if type(entry.get(name)) in {int, float}}
        known |= found
    return known

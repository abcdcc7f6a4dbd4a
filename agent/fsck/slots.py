"""What is in the factor slots."""

from __future__ import annotations

from collections.abc import Callable

from agent.fsck.findings import Finding, damaged, note, sound
from agent.store.backing import Backing
from agent.store.slot_set import Slot
from agent.store.slots import FactorSlots
from agent.store.state import State
from agent.store.store import Store

REPAIR = "repair"
_NO_BUNDLE = "0" * 64


def factor_findings(store: Store, backing: Backing, state: State | None) -> list[Finding]:
    """One finding for each slot that holds something, and one for what runs.

    Raises:
        StoreError: the slots cannot be read.
    """
    identity, retired = (state.bundle_id, state.retired_up_to) if state else (_NO_BUNDLE, 0)
    view = FactorSlots(backing.flash(), identity, retired)
    running = view.available()
    found = [_running(running)] if state else []
    for slot in view.slots():
        found += _about(store, view, slot)
    if view.flash.wears:
        wear = [slot.wear for slot in view.slots()]
        found.append(
            sound(
                "wear",
                f"factor slots erased {', '.join(map(str, wear))} times, spread "
                f"{max(wear) - min(wear)}",
            )
        )
    return found


def _running(numbers: list[int]) -> Finding:
    if not numbers:
        return sound("factors", "none run")
    older = ", ".join(map(str, [*numbers[1:], 0]))
    return sound("factors", f"factors {numbers[0]} run; back to: {older}")


def _about(store: Store, view: FactorSlots, slot: Slot) -> list[Finding]:
    found = []
    if slot.bad:
        found.append(note("factors", f"slot {slot.index} is worn or broken and not used any more"))
    if slot.header is not None and not slot.whole:
        text = f"slot {slot.index}: factors {slot.sequence} are damaged and do not run"
        remedy = None if slot.bad else "slot emptied; what ran still runs"
        found.append(damaged("factors", text, remedy, _emptying(store, view, slot)))
    elif slot.header is None and view.flash.read(slot.index, 0, 64) != b"\xff" * 64:
        text = f"slot {slot.index} holds an interrupted write; the next calibration uses it"
        found.append(note("factors", text))
    return found


def _emptying(store: Store, view: FactorSlots, slot: Slot) -> Callable[[], None] | None:
    if slot.bad:
        return None

    def empty() -> None:
        # Its number was used; the history remembers that when the slot does not any more.
        store.append_history({"event": REPAIR, "sequence": slot.sequence, "part": "factors"})
        view.all.clear(slot)

    return empty

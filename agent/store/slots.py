"""Factor slots: new factors go where the active ones are not, and their header is written last.

Two slots with a sequence number and checksums survive a power cut at every operation, with fewer
erases than a file system needs. A roll-back clears one word. Where erases wear the memory, there
may be more slots, and they take turns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.errors import NothingToRollBackError, StoreError
from agent.store.flash import Flash
from agent.store.slot_header import MAGIC, MAX_SEQUENCE
from agent.store.slot_set import Slot, SlotSet

__all__ = ["WEAR_SPREAD", "Commit", "FactorSlots", "Rollback", "Slot", "StoredFactors"]

WEAR_SPREAD = 16
"""A slot that was erased this much more often than another is spared until that one catches up."""


@dataclass(frozen=True)
class StoredFactors:
    """Factors as they were committed."""

    sequence: int
    payload: bytes


@dataclass(frozen=True)
class Commit:
    """What a commit did."""

    sequence: int
    bytes_written: int


@dataclass(frozen=True)
class Rollback:
    """What a roll-back did: sequence numbers, 0 for no surrogate at all."""

    before: int
    after: int


@dataclass(frozen=True)
class FactorSlots:
    """The slots of one flash, seen by one installation of a bundle."""

    flash: Flash
    bundle_id: str
    """64 hexadecimal digits; factors of other bundles count as retired."""
    retired_up_to: int = 0
    """Factors with at most this sequence number count as retired too."""

    def slots(self) -> tuple[Slot, ...]:
        """Each slot as it stands, payload checked.

        Raises:
            StoreError: the flash cannot be read.
        """
        return tuple(self._judged(slot) for slot in self.all.slots())

    @property
    def all(self) -> SlotSet:
        """The slots without this view: whatever installation they are of."""
        return SlotSet(self.flash, MAGIC)

    def available(self) -> list[int]:
        """Sequence numbers that may run, newest first; the first is the active one."""
        return list(dict.fromkeys(slot.sequence for slot in _usable(self.slots())))

    def load(self) -> StoredFactors | None:
        """The newest usable factors, or None.

        Raises:
            StoreError: the flash cannot be read.
        """
        for slot in _usable(self.slots()):
            payload = self.all.payload(slot)
            if payload is not None:
                return StoredFactors(slot.sequence, payload)
        return None

    def commit(self, payload: bytes, above: int = 0) -> Commit:
        """Write new factors into a slot that is not active, and make them the active ones.

        Args:
            payload: the factors' bytes.
            above: a sequence number that is in use elsewhere (the history); the new one is larger.

        Raises:
            StoreError: they do not fit or cannot be written; the active factors stay.
        """
        if len(payload) > self.all.room:
            raise StoreError(
                f"the factors have {len(payload)} bytes, a slot takes {self.all.room}; use a lower "
                "--rank"
            )
        slots = self.slots()
        sequence = max(above, self.retired_up_to, *(slot.sequence for slot in slots)) + 1
        if sequence >= MAX_SEQUENCE:
            raise StoreError(
                f"sequence number {sequence} is beyond the last one, {MAX_SEQUENCE - 1}; the slots "
                "are damaged: uninstall and install again"
            )
        written = 0
        while True:
            target, spared = _targets(slots)
            at_work = spared or target
            try:
                if spared is not None:
                    written += self._copy(_usable(slots)[0], spared)
                    at_work = target
                header = self.all.header(self.bundle_id, sequence, payload)
                written += self.all.write(target, header, payload)
            except StoreError:
                if not self.flash.wears:
                    raise
                self.flash.mark_bad(at_work.index)
                slots = self.slots()
            else:
                return Commit(sequence, written)

    def rollback(self, to: int | None = None) -> Rollback:
        """Retire all factors newer than the target; one word is programmed for each.

        Args:
            to: the sequence number that shall run; 0 for none; None for the one before the active.

        Raises:
            NothingToRollBackError: nothing is active, or the target is not there.
            StoreError: the flash cannot be written.
        """
        usable = _usable(self.slots())
        numbers = list(dict.fromkeys(slot.sequence for slot in usable))
        if not numbers:
            raise NothingToRollBackError(
                "there is nothing to roll back: no factors are active; 'npp-agent calibrate' "
                "makes some"
            )
        target = [*numbers, 0][1] if to is None else to
        if target not in [*numbers[1:], 0]:
            older = ", ".join(map(str, [*numbers[1:], 0]))
            raise NothingToRollBackError(
                f"cannot roll back to {target}: {numbers[0]} is active, and what can be gone back "
                f"to is {older} (0: no factors)"
            )
        # Oldest first: whatever moment the power goes, the active factors or the target will run.
        for slot in reversed([slot for slot in usable if slot.sequence > target]):
            self.all.retire(slot)
        return Rollback(numbers[0], target)

    def _judged(self, slot: Slot) -> Slot:
        if slot.header is None or slot.retired:
            return slot
        foreign = slot.header.bundle_id != self.bundle_id or slot.sequence <= self.retired_up_to
        return replace(slot, retired=foreign)

    def _copy(self, active: Slot, spared: Slot) -> int:
        """The active factors a second time, under the same number: one of the two may be erased."""
        payload = self.all.payload(active)
        if active.header is None or payload is None:
            raise StoreError(f"slot {active.index} cannot be read any more; calibrate again")
        return self.all.write(spared, active.header, payload)


def _usable(slots: tuple[Slot, ...]) -> list[Slot]:
    found = [slot for slot in slots if slot.usable]
    return sorted(found, key=lambda slot: slot.sequence, reverse=True)


def _targets(slots: tuple[Slot, ...]) -> tuple[Slot, Slot | None]:
    """The slot for new factors, and where the active ones are copied first, if they must be.

    What is not usable is overwritten first, the least worn first; then the oldest. A slot that is
    far more worn than another leaves its turn to that one, and if that is the active one it gives
    the active factors a home instead.
    """
    usable = _usable(slots)
    active = usable[0] if usable else None
    good = [slot for slot in slots if not slot.bad]
    free = [slot for slot in good if active is None or slot.index != active.index]
    if not free:
        raise StoreError(
            "no slot is left that new factors can be written to: the memory is worn; replace it, "
            "or choose another --store. The active factors stay"
        )

    def first(slot: Slot) -> tuple[bool, int, int]:
        kept = slot.usable and active is not None and slot.sequence != active.sequence
        return kept, 0 if kept else slot.wear, slot.sequence

    target, least = min(free, key=first), min(good, key=lambda slot: slot.wear)
    if target.wear - least.wear < WEAR_SPREAD:
        return target, None
    if active is not None and least.index == active.index:
        return least, target
    return least, None

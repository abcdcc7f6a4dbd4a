"""Two factor slots: new factors go where the active ones are not, and their header is written last.

Two slots with a sequence number and checksums survive a power cut at every operation, with fewer
erases than a file system needs. Nothing is ever moved or copied; a roll-back clears one word.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from agent.errors import NothingToRollBackError, StoreError
from agent.store.flash import Flash
from agent.store.slot_header import (
    HEADER_BYTES,
    LIVE_WORD,
    MAX_SEQUENCE,
    PAYLOAD_OFFSET,
    RETIRED_OFFSET,
    RETIRED_WORD,
    SlotHeader,
    decode,
)

SLOTS = (0, 1)
_CHUNK_BYTES = 2**16


@dataclass(frozen=True)
class Slot:
    """One slot as it was found."""

    index: int
    header: SlotHeader | None
    """None where the slot is empty, torn or damaged."""
    whole: bool
    """The payload has the checksum that the header gives."""
    retired: bool
    """Rolled back, of another bundle, or of an earlier installation."""

    @property
    def sequence(self) -> int:
        """The factors' number; 0 without a header."""
        return self.header.sequence if self.header else 0

    @property
    def usable(self) -> bool:
        """These factors may run."""
        return self.header is not None and self.whole and not self.retired


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
        return tuple(self._read_slot(index) for index in SLOTS)

    def available(self) -> list[int]:
        """Sequence numbers that may run, newest first; the first is the active one."""
        return [slot.sequence for slot in self._usable()]

    def load(self) -> StoredFactors | None:
        """The newest usable factors, or None.

        Raises:
            StoreError: the flash cannot be read.
        """
        for slot in self._usable():
            if slot.header is not None:
                payload = self.flash.read(slot.index, PAYLOAD_OFFSET, slot.header.payload_bytes)
                if zlib.crc32(payload) == slot.header.payload_crc32:
                    return StoredFactors(slot.sequence, payload)
        return None

    def commit(self, payload: bytes, above: int = 0) -> Commit:
        """Write new factors into the slot that is not active, and make them the active ones.

        Args:
            payload: the factors' bytes.
            above: a sequence number that is in use elsewhere (the history); the new one is larger.

        Raises:
            StoreError: they do not fit or cannot be written; the active factors stay.
        """
        room = self.flash.slot_bytes - PAYLOAD_OFFSET
        if len(payload) > room:
            raise StoreError(
                f"the factors have {len(payload)} bytes, a slot takes {room}; use a lower --rank"
            )
        slots = self.slots()
        sequence = max(above, self.retired_up_to, *(slot.sequence for slot in slots)) + 1
        if sequence >= MAX_SEQUENCE:
            raise StoreError(
                f"sequence number {sequence} is beyond the last one, {MAX_SEQUENCE - 1}; the slots "
                "are damaged: uninstall and install again"
            )
        target = min(slots, key=lambda slot: (slot.usable, slot.sequence)).index
        header = SlotHeader(self.bundle_id, sequence, len(payload), zlib.crc32(payload)).encode()
        self._write(target, header, payload)
        return Commit(sequence, len(header) + len(payload))

    def rollback(self, to: int | None = None) -> Rollback:
        """Retire all factors newer than the target; one word is programmed for each.

        Args:
            to: the sequence number that shall run; 0 for none; None for the one before the active.

        Raises:
            NothingToRollBackError: nothing is active, or the target is not there.
            StoreError: the flash cannot be written.
        """
        usable = self._usable()
        numbers = [slot.sequence for slot in usable]
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
            self.flash.program(slot.index, RETIRED_OFFSET, RETIRED_WORD)
            self.flash.sync()
        return Rollback(numbers[0], target)

    def _usable(self) -> list[Slot]:
        found = [slot for slot in self.slots() if slot.usable]
        return sorted(found, key=lambda slot: slot.sequence, reverse=True)

    def _write(self, target: int, header: bytes, payload: bytes) -> None:
        flash = self.flash
        flash.erase(target, PAYLOAD_OFFSET + len(payload))
        flash.program(target, PAYLOAD_OFFSET, payload)
        flash.sync()
        flash.program(target, 0, header)
        flash.sync()
        if not self._read_slot(target).usable:
            raise StoreError(
                f"slot {target} does not hold what was written to it: the memory is worn or "
                "damaged; replace the card or choose another --store"
            )

    def _read_slot(self, index: int) -> Slot:
        begin = self.flash.read(index, 0, RETIRED_OFFSET + len(LIVE_WORD))
        header = decode(begin[:HEADER_BYTES], self.flash.slot_bytes)
        if header is None:
            return Slot(index, None, whole=False, retired=False)
        # A word that was torn while it was cleared counts as cleared.
        retired = begin[RETIRED_OFFSET:] != LIVE_WORD
        foreign = header.bundle_id != self.bundle_id or header.sequence <= self.retired_up_to
        return Slot(index, header, self._is_whole(index, header), retired or foreign)

    def _is_whole(self, index: int, header: SlotHeader) -> bool:
        check = 0
        for begin in range(0, header.payload_bytes, _CHUNK_BYTES):
            length = min(_CHUNK_BYTES, header.payload_bytes - begin)
            check = zlib.crc32(self.flash.read(index, PAYLOAD_OFFSET + begin, length), check)
        return check == header.payload_crc32

"""Slots of any payload: a header written last, checksums, and on NOR a count of erases in each."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

from agent.errors import StoreError
from agent.store.flash import Flash
from agent.store.slot_header import (
    HEADER_BYTES,
    LIVE_WORD,
    PAYLOAD_OFFSET,
    RETIRED_OFFSET,
    RETIRED_WORD,
    WEAR_BYTES,
    WEAR_OFFSET,
    SlotHeader,
    decode,
    decode_wear,
    encode_wear,
)

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
    wear: int = 0
    """Erases of its first block, where that is counted."""
    bad: bool = False
    """It is not written any more."""

    @property
    def sequence(self) -> int:
        """The payload's number; 0 without a header."""
        return self.header.sequence if self.header else 0

    @property
    def usable(self) -> bool:
        """This payload may be used."""
        return self.header is not None and self.whole and not self.retired


@dataclass(frozen=True)
class SlotSet:
    """All slots of a flash that hold one kind of payload."""

    flash: Flash
    magic: bytes

    @property
    def room(self) -> int:
        """The largest payload."""
        return self.flash.slot_bytes - PAYLOAD_OFFSET

    def slots(self) -> tuple[Slot, ...]:
        """Each slot as it stands, payload checked; an unknown wear counts as the largest known.

        Raises:
            StoreError: the flash cannot be read.
        """
        bad = self.flash.bad_slots()
        found = [self._read(index, bad=index in bad) for index in range(self.flash.slot_count)]
        most = max((wear for _, wear in found if wear is not None), default=0)
        return tuple(replace(slot, wear=most if wear is None else wear) for slot, wear in found)

    def payload(self, slot: Slot) -> bytes | None:
        """The payload of a slot, or None where it is not what the header promised.

        Raises:
            StoreError: the flash cannot be read.
        """
        if slot.header is None:
            return None
        payload = self.flash.read(slot.index, PAYLOAD_OFFSET, slot.header.payload_bytes)
        return payload if zlib.crc32(payload) == slot.header.payload_crc32 else None

    def header(self, bundle_id: str, sequence: int, payload: bytes) -> SlotHeader:
        """The header that belongs to a payload."""
        return SlotHeader(bundle_id, sequence, len(payload), zlib.crc32(payload), self.magic)

    def write(self, slot: Slot, header: SlotHeader, payload: bytes) -> int:
        """Replace what a slot holds; returns the bytes written.

        Where slots wear, and are given up for good, one failure is not believed.

        Raises:
            StoreError: the flash cannot be written, or does not hold what was written.
        """
        try:
            return self._write(slot, header, payload)
        except StoreError:
            if not self.flash.wears:
                raise
        return self._write(replace(slot, wear=slot.wear + 1), header, payload)

    def _write(self, slot: Slot, header: SlotHeader, payload: bytes) -> int:
        flash, end = self.flash, PAYLOAD_OFFSET + len(payload)
        flash.erase(slot.index, end if flash.wears else PAYLOAD_OFFSET)
        if flash.wears:
            flash.program(slot.index, WEAR_OFFSET, encode_wear(slot.wear + 1))
        flash.program(slot.index, PAYLOAD_OFFSET, payload)
        flash.sync()
        flash.program(slot.index, 0, header.encode())
        flash.sync()
        found, _ = self._read(slot.index, bad=False)
        if found.header != header or not found.usable:
            raise StoreError(
                f"slot {slot.index} does not hold what was written to it: the memory is worn or "
                "damaged; replace the card or choose another --store"
            )
        return HEADER_BYTES + len(payload) + (WEAR_BYTES if flash.wears else 0)

    def retire(self, slot: Slot) -> None:
        """Clear one word: what the slot holds is not used any more.

        Raises:
            StoreError: the flash cannot be written.
        """
        self.flash.program(slot.index, RETIRED_OFFSET, RETIRED_WORD)
        self.flash.sync()

    def clear(self, slot: Slot) -> None:
        """Make a slot empty.

        Raises:
            StoreError: the flash cannot be written.
        """
        self.flash.erase(slot.index, PAYLOAD_OFFSET)
        if self.flash.wears:
            self.flash.program(slot.index, WEAR_OFFSET, encode_wear(slot.wear + 1))
        self.flash.sync()

    def _read(self, index: int, *, bad: bool) -> tuple[Slot, int | None]:
        begin = self.flash.read(index, 0, WEAR_OFFSET + WEAR_BYTES)
        wear = decode_wear(begin[WEAR_OFFSET:]) if self.flash.wears else 0
        header = decode(begin[:HEADER_BYTES], self.flash.slot_bytes, self.magic)
        if header is None:
            return Slot(index, None, whole=False, retired=False, bad=bad), wear
        # A word that was torn while it was cleared counts as cleared.
        retired = begin[RETIRED_OFFSET : RETIRED_OFFSET + len(LIVE_WORD)] != LIVE_WORD
        return Slot(index, header, self._is_whole(index, header), retired, bad=bad), wear

    def _is_whole(self, index: int, header: SlotHeader) -> bool:
        check = 0
        for begin in range(0, header.payload_bytes, _CHUNK_BYTES):
            length = min(_CHUNK_BYTES, header.payload_bytes - begin)
            check = zlib.crc32(self.flash.read(index, PAYLOAD_OFFSET + begin, length), check)
        return check == header.payload_crc32

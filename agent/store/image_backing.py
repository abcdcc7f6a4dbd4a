"""A store in an image file, on a partition or on a NOR flash: one region for each part."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import BundleError, StoreError
from agent.store.buffer_file import MAX_PAYLOAD_BYTES, StoredBuffer, unreadable
from agent.store.bundle import Bundle, open_bundle
from agent.store.disk import Disk
from agent.store.history import History, sealed_entry
from agent.store.image import Image, RegionFlash, image_on, open_image
from agent.store.lock import locked_file
from agent.store.log_ring import LogRing
from agent.store.medium import Medium
from agent.store.sealed import seal
from agent.store.slot_set import Slot, SlotSet
from agent.store.state import State
from agent.store.superblock import Region
from agent.store.trust import check_trusted

BUNDLE_MAGIC, SAMPLES_MAGIC = b"NPPZ", b"NPPS"


@dataclass(frozen=True)
class ImageBacking:
    """Implements `Backing` on an image."""

    path: Path
    disk: Disk
    medium: Medium | None = None
    """Where the image is, if not in the file or device of that path."""

    def image(self) -> Image:
        """The image as its superblock says.

        Raises:
            StoreError: there is none, or it cannot be read.
        """
        return open_image(self.path, self.disk) if self.medium is None else image_on(self.medium)

    def check_ours(self) -> None:
        """See `Backing.check_ours`."""
        self.image()
        check_trusted([self.path])

    def is_store(self) -> bool:
        """See `Backing.is_store`: a formatted image is one, if only an empty one."""
        self.image()
        return True

    def make(self) -> None:
        """See `Backing.make`: formatting is the user's decision, so there must be an image."""
        self.image()

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """See `Backing.locked`."""
        return locked_file(self.path, self.path)

    def read_state(self) -> bytes | None:
        """See `Backing.read_state`."""
        records = self.state_log().records()
        return seal(records[-1]) if records else None

    def write_state(self, line: bytes) -> int:
        """See `Backing.write_state`."""
        return self.state_log().append(line)

    def read_bundle(self, state: State) -> Bundle:
        """See `Backing.read_bundle`."""
        slots, name = self.bundles(), f"the bundle in {self.path}"
        for slot in slots.slots():
            if slot.header is not None and slot.header.bundle_id == state.bundle_id:
                data = slots.payload(slot)
                if data is not None:
                    bundle = open_bundle(data, name=name)
                    if bundle.id == state.bundle_id:
                        return bundle
        raise BundleError(
            f"{name} is missing or damaged; restore it with 'npp-agent fsck --repair --bundle "
            f"FILE.npp --store {self.path}', or install it again"
        )

    def write_bundle(self, bundle: Bundle, installed: str | None) -> int:
        """See `Backing.write_bundle`; one that is there already is not written again."""
        slots = self.bundles()
        found = slots.slots()
        if len(bundle.data) > slots.room:
            raise StoreError(
                f"the bundle has {len(bundle.data)} bytes, a slot of {self.path} takes "
                f"{slots.room}; format a larger image, or pack with a smaller --budget-kib"
            )
        for slot in found:
            if _holds(slot, bundle.id) and slots.payload(slot) == bundle.data:
                return 0
        # Never over the installed bundle, unless it is damaged and this one takes its place.
        kept = [slot for slot in found if installed and _holds(slot, installed)][:1]
        free = [slot for slot in _by_wear(found) if slot not in kept]
        return _replace(slots, free, _next(found), bundle.id, bundle.data)

    def flash(self) -> RegionFlash:
        """See `Backing.flash`."""
        return self.image().flash(Region.FACTORS)

    def read_buffer(self, bundle_id: str) -> StoredBuffer:
        """See `Backing.read_buffer`."""
        try:
            slots = self.samples()
            newest = max(slots.slots(), key=lambda slot: slot.sequence)
            payload = slots.payload(newest)
        except StoreError as error:
            return unreadable(error)
        if newest.header is None:
            return StoredBuffer(None)
        if payload is None:
            return StoredBuffer(
                None,
                f"{self.path}: the content of the sample buffer cannot be used; the sample buffer "
                "starts empty",
            )
        return StoredBuffer(payload if newest.header.bundle_id == bundle_id else None)

    def write_buffer(self, bundle_id: str, payload: bytes) -> int:
        """See `Backing.write_buffer`."""
        slots = self.samples()
        room = min(slots.room, MAX_PAYLOAD_BYTES)
        if len(payload) > room:
            raise StoreError(
                f"the sample buffer has {len(payload)} bytes, a slot of {self.path} takes {room}; "
                "give the buffer fewer bytes"
            )
        found = slots.slots()
        newest = max(found, key=lambda slot: slot.sequence)
        # The newest only where no other is left: a buffer that is lost fills again.
        order = sorted(_by_wear(found), key=lambda slot: slot.index == newest.index)
        return _replace(slots, order, _next(found), bundle_id, payload)

    def clear_buffer(self) -> None:
        """See `Backing.clear_buffer`."""
        _clear(self.samples())

    def read_history(self) -> History:
        """See `Backing.read_history`."""
        live = self.history_log().live()
        return History(
            tuple(record for segment in live for record in segment.records),
            sum(segment.damaged for segment in live),
        )

    def append_history(self, entry: Mapping[str, Any]) -> int:
        """See `Backing.append_history`."""
        return self.history_log().append(sealed_entry(entry))

    def mend_history(self) -> None:
        """See `Backing.mend_history`: damaged lines leave when their segment is erased."""

    def remove_leftovers(self, state: State) -> None:
        """See `Backing.remove_leftovers`: an old bundle stays until its slot is needed."""

    def remove(self) -> None:
        """See `Backing.remove`: the image stays, formatted and empty."""
        image = self.image()
        check_trusted([self.path])
        self.state_log().clear()
        for slots in (SlotSet(image.flash(Region.FACTORS), b"NPPF"), self.samples()):
            _clear(slots)
        self.history_log().clear()
        _clear(self.bundles())

    def bytes_used(self) -> int:
        """See `Backing.bytes_used`: all of the image."""
        return self.image().superblock.size_bytes

    def state_log(self) -> LogRing:
        """Where states are appended; the last one counts."""
        return LogRing(self.image().flash(Region.STATE))

    def history_log(self) -> LogRing:
        """Where the history is appended."""
        return LogRing(self.image().flash(Region.HISTORY))

    def bundles(self) -> SlotSet:
        """The slots of bundles."""
        return SlotSet(self.image().flash(Region.BUNDLE), BUNDLE_MAGIC)

    def samples(self) -> SlotSet:
        """The slots of sample buffers."""
        return SlotSet(self.image().flash(Region.SAMPLES), SAMPLES_MAGIC)


def _holds(slot: Slot, bundle_id: str) -> bool:
    return slot.whole and slot.header is not None and slot.header.bundle_id == bundle_id


def _by_wear(found: tuple[Slot, ...]) -> list[Slot]:
    """The good slots, the least worn first, then the oldest."""
    good = [slot for slot in found if not slot.bad]
    return sorted(good, key=lambda slot: (slot.wear, slot.sequence))


def _next(found: tuple[Slot, ...]) -> int:
    return max(slot.sequence for slot in found) + 1


def _replace(
    slots: SlotSet, order: list[Slot], sequence: int, bundle_id: str, payload: bytes
) -> int:
    """Write into the first of these slots that takes it."""
    for slot in order:
        try:
            return slots.write(slot, slots.header(bundle_id, sequence, payload), payload)
        except StoreError:
            if not slots.flash.wears:
                raise
            slots.flash.mark_bad(slot.index)
    raise StoreError(
        "no slot is left that can be written: the memory is worn; replace it, or choose another "
        "--store. What is stored stays"
    )


def _clear(slots: SlotSet) -> None:
    for slot in sorted(slots.slots(), key=lambda slot: slot.sequence):
        if slot.header is not None and not slot.bad:
            slots.clear(slot)

"""An image that holds a store: its superblock read and checked, its regions as flashes."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from agent.errors import NotAStoreError, StoreError, StoreVersionError
from agent.store import superblock as superblocks
from agent.store.disk import Disk
from agent.store.durable import disk_errors
from agent.store.file_medium import FileMedium
from agent.store.medium import Medium
from agent.store.nor_medium import NorMedium
from agent.store.superblock import COPIES, MARKS_OFFSET, Memory, Region, Superblock, Unit


@dataclass(frozen=True)
class Image:
    """A formatted memory."""

    medium: Medium
    superblock: Superblock
    bad: frozenset[int]
    """Numbers of the units that are marked."""
    copies: tuple[bool, ...]
    """Which copies of the superblock are whole and alike."""

    def flash(self, region: Region) -> RegionFlash:
        """The slots or segments of a region."""
        numbered = [(n, unit) for n, unit in enumerate(self.superblock.units)]
        return RegionFlash(self, tuple(one for one in numbered if one[1].region == region))

    def marks(self) -> frozenset[int]:
        """Numbers of the units that are marked now.

        Raises:
            StoreError: the memory cannot be read.
        """
        size = len(self.superblock.units)
        begins = [copy * self.medium.block_bytes + MARKS_OFFSET for copy in range(COPIES)]
        read = [self.medium.read(begin, size) for begin in begins]
        return frozenset(n for marks in read for n, mark in enumerate(marks) if mark != 0xFF)

    def mark_bad(self, number: int) -> None:
        """Mark a unit in both copies.

        Raises:
            StoreError: the memory cannot be written.
        """
        for copy in reversed(range(COPIES)):
            begin = copy * self.medium.block_bytes + MARKS_OFFSET
            self.medium.program(begin + number, b"\x00")


@dataclass(frozen=True)
class RegionFlash:
    """Implements `Flash` on the units of one region; everything is durable at once."""

    image: Image
    units: tuple[tuple[int, Unit], ...]
    """Each with its number in the superblock's table."""

    @property
    def slot_count(self) -> int:
        """See `Flash.slot_count`."""
        return len(self.units)

    @property
    def slot_bytes(self) -> int:
        """See `Flash.slot_bytes`."""
        return self.units[0][1].blocks * self.image.medium.block_bytes

    @property
    def wears(self) -> bool:
        """See `Flash.wears`."""
        return self.image.medium.wears

    @property
    def unit_bytes(self) -> int:
        """What is programmed at once."""
        return self.image.medium.unit_bytes

    def read(self, slot: int, offset: int, length: int) -> bytes:
        """See `Flash.read`."""
        return self.image.medium.read(self._begin(slot) + offset, length)

    def program(self, slot: int, offset: int, data: bytes) -> None:
        """See `Flash.program`."""
        self.image.medium.program(self._begin(slot) + offset, data)

    def erase(self, slot: int, length: int) -> None:
        """See `Flash.erase`."""
        step = self.image.medium.block_bytes if self.wears else self.unit_bytes
        self.image.medium.erase(self._begin(slot), -(-length // step) * step)

    def sync(self) -> None:
        """See `Flash.sync`; nothing waits."""

    def bad_slots(self) -> AbstractSet[int]:
        """See `Flash.bad_slots`."""
        marked = self.image.marks()
        return {slot for slot, (number, _) in enumerate(self.units) if number in marked}

    def mark_bad(self, slot: int) -> None:
        """See `Flash.mark_bad`."""
        self.image.mark_bad(self.units[slot][0])

    def _begin(self, slot: int) -> int:
        return self.units[slot][1].first_block * self.image.medium.block_bytes


def open_image(path: Path, disk: Disk) -> Image:
    """Find the superblock of an image file or device.

    Raises:
        NotAStoreError: there is none.
        StoreVersionError: it was formatted by a later version.
        StoreError: the file cannot be read, or is shorter than the store in it.
    """
    with disk_errors(f"read {path}"):
        size = disk.size(path)
        first = disk.read(path, 0, superblocks.BYTES)
    found = superblocks.decode(first)
    tried = [found.block_bytes] if found else _block_sizes()
    for block in tried:
        with disk_errors(f"read {path}"):
            second = disk.read(path, block, superblocks.BYTES)
        other = superblocks.decode(second)
        if found is None and other is not None and other.block_bytes == block:
            found = other
    if found is None:
        raise _not_ours(path, first)
    if found.size_bytes > size:
        raise StoreError(
            f"{path} has {size} bytes, the store in it needs {found.size_bytes}: it was cut; copy "
            "the image again, or format it anew"
        )
    return image_on(medium_for(path, found.memory, found.size_bytes, found.block_bytes, disk))


def medium_for(
    path: Path, memory: Memory, size_bytes: int, block_bytes: int, disk: Disk
) -> FileMedium | NorMedium:
    """The medium in a file or on a device."""
    medium = FileMedium(path, size_bytes, block_bytes, disk)
    return NorMedium(medium) if memory == Memory.NOR else medium


def image_on(medium: Medium) -> Image:
    """The image on a medium that is known.

    Raises:
        NotAStoreError: there is none.
        StoreError: the medium cannot be read.
    """
    read = [medium.read(copy * medium.block_bytes, superblocks.BYTES) for copy in range(COPIES)]
    decoded = [superblocks.decode(data) for data in read]
    found = next((one for one in decoded if one is not None), None)
    if found is None:
        raise NotAStoreError("this memory holds no store; format it first")
    marks = [superblocks.marks_in(data, len(found.units)) for data in read]
    return Image(medium, found, frozenset().union(*marks), tuple(one == found for one in decoded))


def _block_sizes() -> list[int]:
    low, high = superblocks.MIN_BLOCK_BYTES, superblocks.MAX_BLOCK_BYTES
    return [low << shift for shift in range((high // low).bit_length())]


def _not_ours(path: Path, first: bytes) -> StoreError:
    version = superblocks.version_of(first)
    if version is not None and version != superblocks.VERSION:
        return StoreVersionError(
            f"the image {path} has version {version}, this npp-agent knows {superblocks.VERSION}; "
            "use the npp-agent that made it, or format it anew"
        )
    return NotAStoreError(
        f"{path} holds no store: name a directory with --store, or make an image of it with "
        f"'npp-agent format-store {path}'"
    )

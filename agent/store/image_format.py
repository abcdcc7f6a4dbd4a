"""Making an image: erase what was there, then the superblock, the first copy last."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent.errors import NotAStoreError, StoreError, StoreVersionError
from agent.store.disk import SYSTEM_DISK, Disk
from agent.store.durable import disk_errors, replace_file
from agent.store.file_medium import BLOCK_BYTES
from agent.store.image import Image, image_on, medium_for, open_image
from agent.store.image_plan import Wishes, plan
from agent.store.log_ring import segment_header
from agent.store.medium import Medium
from agent.store.slot_header import WEAR_OFFSET, encode_wear
from agent.store.superblock import COPIES, GOOD, MARKS_OFFSET, Region, Superblock

_LOOKED_AT_BYTES = 2**17
"""File systems and partition tables have something in their first 128 KiB."""
_CHUNK_BYTES = 2**20
_LOGS = {Region.STATE, Region.HISTORY}


@dataclass(frozen=True)
class Formatted:
    """What was made."""

    image: Image
    bad_blocks: frozenset[int]


def make_image(  # noqa: PLR0913 - each is an option of the command
    path: Path,
    size_bytes: int | None,
    wishes: Wishes,
    *,
    block_bytes: int = BLOCK_BYTES,
    force: bool = False,
    disk: Disk = SYSTEM_DISK,
) -> Formatted:
    """Make an image file, or format a file or device that is there.

    Args:
        path: the file or device.
        size_bytes: of a new file, or how much of an existing one to use; None for all of it.
        wishes: what it shall be like.
        block_bytes: what is erased at once.
        force: overwrite what is there.
        disk: what to write on.

    Raises:
        NotAStoreError: something is there already, and `force` was not given.
        InputError: it is too small.
        StoreError: the disk refuses.
    """
    try:
        there = disk.size(path)
    except FileNotFoundError:
        there = None
    except OSError:
        with disk_errors(f"read {path}"):
            raise
    if there is not None and not force:
        _check_empty(path, disk)
    size = (there or 0) if size_bytes is None else size_bytes
    # Whether it fits is known before anything is written.
    probe = medium_for(path, wishes.memory, size, block_bytes, disk)
    plan(size, block_bytes, probe.unit_bytes, wishes)
    if there is None or (there < size and path.is_file()):
        ones = b"\xff" * _CHUNK_BYTES
        chunks = (ones[: min(_CHUNK_BYTES, size - at)] for at in range(0, size, _CHUNK_BYTES))
        replace_file(path, chunks, disk)
    elif there < size:
        raise StoreError(f"{path} has {there} bytes, not {size}: leave --size-kib out")
    return format_medium(probe, wishes)


def format_medium(medium: Medium, wishes: Wishes) -> Formatted:
    """Format a memory; whatever it held is gone.

    Raises:
        InputError: it is too small.
        StoreError: it cannot be written.
    """
    block = medium.block_bytes
    for copy in range(COPIES):
        medium.erase(copy * block, block)
    bad = _erased(medium) if medium.wears else frozenset()
    found = plan(medium.size_bytes, block, medium.unit_bytes, wishes, bad)
    if medium.wears:
        _counted(medium, found)
    else:
        _emptied(medium, found)
    for copy in reversed(range(COPIES)):
        medium.program(copy * block, found.encode())
    return Formatted(image_on(medium), bad)


def rewrite_superblocks(image: Image) -> None:
    """Write the copies that are damaged anew, with the marks of bad units; a whole one stays.

    Raises:
        StoreError: the memory cannot be written.
    """
    medium, found = image.medium, image.superblock
    marks = bytes(0 if n in image.bad else GOOD for n in range(len(found.units)))
    for copy, whole in enumerate(image.copies):
        if not whole:
            begin = copy * medium.block_bytes
            medium.erase(begin, medium.block_bytes)
            medium.program(begin + MARKS_OFFSET, marks)
            medium.program(begin, found.encode())


def _erased(medium: Medium) -> frozenset[int]:
    """Erase every block; returns those that do not become ones."""
    block, bad = medium.block_bytes, set()
    for number in range(COPIES, medium.size_bytes // block):
        try:
            medium.erase(number * block, block)
            erased = medium.read(number * block, block) == b"\xff" * block
        except StoreError:
            erased = False
        if not erased:
            bad.add(number)
    if len(bad) == medium.size_bytes // block - COPIES:
        raise StoreError("no block of this memory can be erased: it is write-protected or broken")
    return frozenset(bad)


def _counted(medium: Medium, found: Superblock) -> None:
    """Begin the count of erases in every slot and segment, with this one."""
    for unit in found.units:
        begin = unit.first_block * medium.block_bytes
        if unit.region in _LOGS:
            medium.program(begin, segment_header(0, 1))
        else:
            medium.program(begin + WEAR_OFFSET, encode_wear(1))


def _emptied(medium: Medium, found: Superblock) -> None:
    """Make every slot and segment an empty one."""
    for unit in found.units:
        blocks = unit.blocks if unit.region in _LOGS else 1
        medium.erase(unit.first_block * medium.block_bytes, blocks * medium.block_bytes)


def _check_empty(path: Path, disk: Disk) -> None:
    if path.is_dir():
        raise NotAStoreError(
            f"{path} is a directory: a store there needs no formatting, 'npp-agent install' makes "
            "it; for an image name a file or device"
        )
    try:
        open_image(path, disk)
    except StoreVersionError:
        there = "a store of another version"
    except NotAStoreError:
        with disk_errors(f"read {path}"):
            data = disk.read(path, 0, _LOOKED_AT_BYTES)
        if len(set(data)) <= 1 and data[:1] in {b"", b"\x00", b"\xff"}:
            return
        there = "something that is no store"
    else:
        there = "a store already"
    raise NotAStoreError(
        f"{path} holds {there}, and formatting would destroy it: name another, or say --force"
    )


def sizes_of(superblock: Superblock) -> dict[str, tuple[int, int]]:
    """How many units each region has, and the bytes of each."""
    found: dict[str, tuple[int, int]] = {}
    for unit in superblock.units:
        count, _ = found.get(unit.region.name.lower(), (0, 0))
        found[unit.region.name.lower()] = (count + 1, unit.blocks * superblock.block_bytes)
    return found

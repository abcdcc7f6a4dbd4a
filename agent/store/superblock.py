"""The superblock of an image: what kind of memory it is, and where each slot and segment lies.

Byte by byte in docs/format.md. Two copies, in the first two blocks; written once, when the image is
formatted. Only the marks of bad units are programmed later.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

MAGIC = b"NPPD"
VERSION = 1
COPIES = 2
BYTES = 4096
"""Of a copy that is read; blocks may be larger."""
TABLE_OFFSET = 64
MARKS_OFFSET = 2048
GOOD = 0xFF
MIN_BLOCK_BYTES, MAX_BLOCK_BYTES = 4096, 2**20

_FIELDS = struct.Struct("<4sHHIIQII")
_CHECK = struct.Struct("<I")
_UNIT = struct.Struct("<HHIII")
MAX_UNITS = (MARKS_OFFSET - TABLE_OFFSET) // _UNIT.size


class Memory(IntEnum):
    """What an image is made for."""

    REWRITABLE = 0
    """A file or block device."""
    NOR = 1
    """Blocks are erased to ones, programming only clears bits, erases wear."""


class Region(IntEnum):
    """What a unit holds."""

    BUNDLE = 1
    FACTORS = 2
    SAMPLES = 3
    STATE = 4
    HISTORY = 5


@dataclass(frozen=True)
class Unit:
    """A slot or a segment: whole blocks that are written and marked bad together."""

    region: Region
    index: int
    """Within its region."""
    first_block: int
    blocks: int


@dataclass(frozen=True)
class Superblock:
    """What stands in the superblock."""

    memory: Memory
    block_bytes: int
    unit_bytes: int
    size_bytes: int
    units: tuple[Unit, ...]

    def encode(self) -> bytes:
        """One copy, up to the marks.

        Raises:
            ValueError: there are more units than the table holds.
        """
        if len(self.units) > MAX_UNITS:
            raise ValueError(f"{len(self.units)} slots and segments, the table holds {MAX_UNITS}")
        table = b"".join(
            _UNIT.pack(unit.region, unit.index, 0, unit.first_block, unit.blocks)
            for unit in self.units
        )
        fields = _FIELDS.pack(
            MAGIC,
            VERSION,
            self.memory,
            self.block_bytes,
            self.unit_bytes,
            self.size_bytes,
            len(self.units),
            zlib.crc32(table),
        )
        head = fields + _CHECK.pack(zlib.crc32(fields))
        return head.ljust(TABLE_OFFSET, b"\xff") + table


def version_of(data: bytes) -> int | None:
    """The version of the superblock in these bytes; None where there is none of ours."""
    fields = data[: _FIELDS.size]
    if len(data) < _FIELDS.size + _CHECK.size or not data.startswith(MAGIC):
        return None
    if _CHECK.unpack_from(data, _FIELDS.size)[0] != zlib.crc32(fields):
        return None
    return int(_FIELDS.unpack(fields)[1])


def decode(data: bytes) -> Superblock | None:
    """The superblock in these bytes, or None where there is no whole and sensible one."""
    if version_of(data) != VERSION:
        return None
    _, _, memory, block, unit, size, count, check = _FIELDS.unpack(data[: _FIELDS.size])
    end = TABLE_OFFSET + count * _UNIT.size
    if count > MAX_UNITS or zlib.crc32(data[TABLE_OFFSET:end]) != check:
        return None
    try:
        units = tuple(
            Unit(Region(region), index, first, blocks)
            for region, index, _, first, blocks in _UNIT.iter_unpack(data[TABLE_OFFSET:end])
        )
        found = Superblock(Memory(memory), block, unit, size, units)
    except ValueError:
        return None
    return found if _is_sensible(found) else None


def marks_in(data: bytes, count: int) -> frozenset[int]:
    """Numbers of the units that are marked bad in a copy."""
    marks = data[MARKS_OFFSET : MARKS_OFFSET + count]
    return frozenset(number for number, mark in enumerate(marks) if mark != GOOD)


def _is_sensible(found: Superblock) -> bool:
    """Units lie behind the copies, in the memory, apart; each region's are equal and numbered."""
    block_ok = MIN_BLOCK_BYTES <= found.block_bytes <= MAX_BLOCK_BYTES
    if not block_ok or not 0 < found.unit_bytes <= found.block_bytes or not found.units:
        return False
    end = COPIES
    for unit in sorted(found.units, key=lambda unit: unit.first_block):
        if unit.first_block < end or unit.blocks < 1:
            return False
        end = unit.first_block + unit.blocks
    regions = [[unit for unit in found.units if unit.region == region] for region in Region]
    return end * found.block_bytes <= found.size_bytes and all(
        [unit.index for unit in units] == list(range(len(units)))
        and len({unit.blocks for unit in units}) == 1
        and len(units) > 1
        for units in regions
    )

"""A bounded log on a flash: segments that are filled one after the other, the oldest erased first.

Of n segments at most n − 1 count, those of the highest numbers that hold a whole record. So there
is always one that can be erased without anything that is visible being lost, and the moment in
which the first record of a new segment is whole is the moment in which the oldest leaves.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.errors import StoreError
from agent.store.flash import Flash
from agent.store.sealed import BEGIN, unseal

MAGIC = b"NPPL"
VERSION = 1
_FIELDS = struct.Struct("<4sHHQI")
_CHECK = struct.Struct("<I")
HEADER_BYTES = _FIELDS.size + _CHECK.size


def segment_header(number: int, wear: int) -> bytes:
    """The header of a segment; number 0 where it holds nothing."""
    fields = _FIELDS.pack(MAGIC, VERSION, 0, number, min(wear, 2**32 - 1))
    return fields + _CHECK.pack(zlib.crc32(fields))


class Segments(Flash, Protocol):
    """A flash whose slots are segments of a log."""

    @property
    def unit_bytes(self) -> int:
        """Records begin at multiples of this, so that writing one never touches another."""


@dataclass(frozen=True)
class Segment:
    """One segment as it was found."""

    index: int
    number: int
    """Rises with each segment that is begun; 0 where the header is not whole."""
    wear: int | None
    records: tuple[Mapping[str, Any], ...] = field(repr=False)
    damaged: int
    """Pieces between the records that are none."""
    end: int
    """Where the next record may begin."""


@dataclass(frozen=True)
class LogRing:
    """Sealed lines in the segments of a flash."""

    flash: Segments

    @property
    def room(self) -> int:
        """The longest line."""
        return self.flash.slot_bytes - self.flash.unit_bytes

    def segments(self) -> tuple[Segment, ...]:
        """Each segment as it stands.

        Raises:
            StoreError: the flash cannot be read.
        """
        return tuple(self._read(index) for index in range(self.flash.slot_count))

    def live(self) -> list[Segment]:
        """The segments that count, oldest first.

        Raises:
            StoreError: the flash cannot be read.
        """
        return _live(self.segments(), self.flash.bad_slots())

    def records(self) -> tuple[Mapping[str, Any], ...]:
        """All that is kept, oldest first.

        Raises:
            StoreError: the flash cannot be read.
        """
        return tuple(record for segment in self.live() for record in segment.records)

    def append(self, line: bytes) -> int:
        """Add a sealed line, durably; returns the bytes written.

        Raises:
            StoreError: it is too long, or the flash cannot be written; what was there stays.
        """
        if len(line) > self.room:
            raise StoreError(
                f"an entry of {len(line)} bytes does not fit the store's image, which takes "
                f"{self.room} at once; format one with larger segments"
            )
        failed: set[int] = set()
        while True:
            segments, bad = self.segments(), self.flash.bad_slots()
            newest = max(segments, key=lambda segment: segment.number)
            has_room = newest.number > 0 and newest.end + len(line) <= self.flash.slot_bytes
            if has_room and newest.index not in bad:
                target, written = newest, 0
            else:
                target, written = _victim(segments, bad), HEADER_BYTES
            try:
                if written:
                    self._begin(target, newest.number + 1, segments)
                self._program(target, self.flash.unit_bytes if written else target.end, line)
            except StoreError:
                place = self.flash.unit_bytes if written else target.end
                if not self.flash.wears or not self._spoilt(target, place, line):
                    raise
                if target.index in failed:
                    self.flash.mark_bad(target.index)
                failed.add(target.index)
            else:
                return written + len(line)

    def clear(self) -> None:
        """Forget everything, oldest first.

        Raises:
            StoreError: the flash cannot be written.
        """
        segments, bad = self.segments(), self.flash.bad_slots()
        for segment in sorted(segments, key=lambda segment: segment.number):
            if segment.index not in bad and (segment.number or segment.damaged):
                self._begin(segment, 0, segments)

    def _begin(self, segment: Segment, number: int, segments: tuple[Segment, ...]) -> None:
        """Erase a segment and write its header; number 0 leaves it out of the log."""
        known = [one.wear for one in segments if one.wear is not None]
        wear = (max(known, default=0) if segment.wear is None else segment.wear) + 1
        self.flash.erase(segment.index, self.flash.slot_bytes)
        self._program(segment, 0, segment_header(number, wear))

    def _program(self, segment: Segment, offset: int, data: bytes) -> None:
        self.flash.program(segment.index, offset, data)
        self.flash.sync()
        if self.flash.read(segment.index, offset, len(data)) != data:
            raise StoreError(
                f"segment {segment.index} does not hold what was written to it: the memory is worn "
                "or damaged; replace it, or choose another --store"
            )

    def _spoilt(self, segment: Segment, offset: int, line: bytes) -> bool:
        """Spoil a line that may have been written: written elsewhere, it would count twice.

        Returns:
            Whether it is not there any more.
        """
        with contextlib.suppress(StoreError):
            self.flash.program(segment.index, offset, bytes(len(line)))
        return self.flash.read(segment.index, offset, len(line)) != line

    def _read(self, index: int) -> Segment:
        data = self.flash.read(index, 0, self.flash.slot_bytes)
        fields = data[: _FIELDS.size]
        magic, version, _, number, wear = _FIELDS.unpack(fields)
        check = _CHECK.unpack_from(data, _FIELDS.size)[0]
        if check != zlib.crc32(fields) or (magic, version) != (MAGIC, VERSION):
            blank = data.count(b"\xff") == len(data)
            return Segment(index, 0, None, (), 0 if blank else 1, len(data))
        records, damaged, end = _records(data, self.flash.unit_bytes)
        return Segment(index, number, wear, tuple(records), damaged, end)


def _records(data: bytes, unit: int) -> tuple[list[Mapping[str, Any]], int, int]:
    """Whole records, pieces that are none, and where the last of both ends."""
    records: list[Mapping[str, Any]] = []
    damaged, end, at, broken = 0, unit, unit, False
    blank = b"\xff" * unit
    while at < len(data):
        record, stop = None, at + unit
        if data.startswith(BEGIN, at) and (newline := data.find(b"\n", at)) >= 0:
            record = unseal(data[at : newline + 1])
            stop = -(-(newline + 1) // unit) * unit if record is not None else stop
        if record is not None:
            records.append(record)
        elif data[at:stop] != blank:
            damaged += not broken
        broken = record is None and data[at:stop] != blank
        end = stop if broken or record is not None else end
        at = stop
    return records, damaged, end


def _live(segments: tuple[Segment, ...], bad: AbstractSet[int]) -> list[Segment]:
    good = len(segments) - len(bad)
    filled = [segment for segment in segments if segment.number > 0 and segment.records]
    newest_first = sorted(filled, key=lambda segment: segment.number, reverse=True)
    return newest_first[: max(1, good - 1)][::-1]


def _victim(segments: tuple[Segment, ...], bad: AbstractSet[int]) -> Segment:
    """The segment to erase: none that counts, the least worn first."""
    live = {segment.index for segment in _live(segments, bad)}
    free = [one for one in segments if one.index not in bad and one.index not in live]
    if not free:
        raise StoreError(
            "no segment is left that can be written: the memory is worn; replace it, or choose "
            "another --store. What is stored stays"
        )
    most = max((one.wear or 0 for one in segments), default=0)
    return min(free, key=lambda one: (most if one.wear is None else one.wear, one.number))

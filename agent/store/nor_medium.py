"""An emulated NOR flash in a file: blocks are erased to ones, pages programmed to zeros.

For images that a serial NOR flash will hold, and for trying what such a memory permits: a program
that would turn a zero into a one is refused, as the chip would silently do something else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agent.errors import StoreError
from agent.store.file_medium import FileMedium

PAGE_BYTES = 256


@dataclass(frozen=True)
class NorMedium:
    """Implements `Medium` with the rules of a NOR flash, on the bytes of a file."""

    file: FileMedium
    unit_bytes: ClassVar[int] = PAGE_BYTES
    wears: ClassVar[bool] = True

    @property
    def size_bytes(self) -> int:
        """See `Medium.size_bytes`."""
        return self.file.size_bytes

    @property
    def block_bytes(self) -> int:
        """See `Medium.block_bytes`."""
        return self.file.block_bytes

    def read(self, offset: int, length: int) -> bytes:
        """See `Medium.read`."""
        return self.file.read(offset, length)

    def program(self, offset: int, data: bytes) -> None:
        """See `Medium.program`; page by page."""
        there = self.read(offset, len(data))
        check_only_clears(there, data, str(self.file.path), offset)
        self.file.write(pages(offset, data))

    def erase(self, offset: int, length: int) -> None:
        """See `Medium.erase`; block by block."""
        if offset % self.block_bytes or length % self.block_bytes:
            raise StoreError(
                f"{self.file.path}: bytes {offset} to {offset + length} are no whole blocks of "
                f"{self.block_bytes}; npp-agent has a defect, please report it"
            )
        ones = b"\xff" * self.block_bytes
        self.file.write((at, ones) for at in range(offset, offset + length, self.block_bytes))


def pages(offset: int, data: bytes) -> list[tuple[int, bytes]]:
    """The pieces of a program, none across the border of a page."""
    end, pieces = offset + len(data), []
    at = offset
    while at < end:
        stop = min(end, (at // PAGE_BYTES + 1) * PAGE_BYTES)
        pieces.append((at, data[at - offset : stop - offset]))
        at = stop
    return pieces


def check_only_clears(there: bytes, data: bytes, name: str, offset: int) -> None:
    """Refuse to program what a NOR flash cannot.

    Raises:
        StoreError: a zero would have to become a one.
    """
    old, new = int.from_bytes(there), int.from_bytes(data)
    if old & new != new:
        raise StoreError(
            f"{name}: the {len(data)} bytes from {offset} on are not erased and cannot be "
            "programmed: the block is worn or damaged"
        )

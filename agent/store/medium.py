"""Raw memory below the regions of an image: bytes that can be read, programmed and erased."""

from __future__ import annotations

from typing import Protocol


class Medium(Protocol):
    """One memory as a row of blocks; what a method changed is durable when it returns."""

    @property
    def size_bytes(self) -> int:
        """All of it."""

    @property
    def block_bytes(self) -> int:
        """What is erased at once."""

    @property
    def unit_bytes(self) -> int:
        """What is programmed at once, and may be lost as a whole when the power goes."""

    @property
    def wears(self) -> bool:
        """See `Flash.wears`."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes.

        Raises:
            StoreError: the memory cannot be read, or ends before.
        """

    def program(self, offset: int, data: bytes) -> None:
        """Write; where the medium wears only ones can become zeros.

        Raises:
            StoreError: the memory cannot be written, or does not do as it is told.
        """

    def erase(self, offset: int, length: int) -> None:
        """Make 0xFF; offset and length are whole blocks.

        Raises:
            StoreError: the memory cannot be written.
        """

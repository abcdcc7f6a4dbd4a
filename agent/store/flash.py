"""Where slots live: a memory that is erased to ones and programmed to zeros."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Protocol


class Flash(Protocol):
    """Two or more slots of equal size, as littlefs sees a block device: a few methods.

    Programming turns ones into zeros and never back; only `erase` makes ones (0xFF). What is
    programmed may be lost or torn until `sync` returns.
    """

    @property
    def slot_count(self) -> int:
        """How many slots there are."""

    @property
    def slot_bytes(self) -> int:
        """The size of a slot."""

    @property
    def wears(self) -> bool:
        """Every erase counts: what is programmed must be erased, and slots are worn evenly.

        False for files and block devices: there any byte may be programmed over, and only what
        must read as 0xFF is erased.
        """

    def read(self, slot: int, offset: int, length: int) -> bytes:
        """Exactly `length` bytes; what is erased reads as 0xFF.

        Raises:
            StoreError: the memory cannot be read.
        """

    def program(self, slot: int, offset: int, data: bytes) -> None:
        """Clear bits. What lies there is erased, or differs from `data` in ones only.

        Raises:
            StoreError: the memory cannot be written.
        """

    def erase(self, slot: int, length: int) -> None:
        """Make at least the first `length` bytes 0xFF.

        Raises:
            StoreError: the memory cannot be written.
        """

    def sync(self) -> None:
        """Return when all that has been programmed and erased is durable.

        Raises:
            StoreError: the memory cannot be written.
        """

    def bad_slots(self) -> AbstractSet[int]:
        """Slots that are not written any more; what they hold may still be read.

        Raises:
            StoreError: the memory cannot be read.
        """

    def mark_bad(self, slot: int) -> None:
        """Never write this slot again.

        Raises:
            StoreError: the memory cannot be written.
        """

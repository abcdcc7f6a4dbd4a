"""What writing costs a flash: bytes, and the sectors that are erased for them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

SECTOR_BYTES = 4096
"""Of a NOR flash: what an erase takes away at once."""


@dataclass(frozen=True)
class Written:
    """Bytes, and the sectors that have to be erased for them."""

    bytes: int = 0
    erases: int = 0

    @classmethod
    def of(cls, sizes: Iterable[int]) -> Written:
        """Of several writes, each beginning a sector."""
        listed = list(sizes)
        return cls(sum(listed), sum(math.ceil(size / SECTOR_BYTES) for size in listed))

    def __add__(self, other: Written) -> Written:
        """Both."""
        return Written(self.bytes + other.bytes, self.erases + other.erases)

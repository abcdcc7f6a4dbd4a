"""What a network's factors may cost: bytes of flash, and operations beside the main path."""

from __future__ import annotations

import math
from dataclasses import dataclass

from calib.errors import CalibError


@dataclass(frozen=True)
class Budget:
    """Limits of all factors together; None: left to whoever set a budget before, else no limit."""

    rank: int | None = None
    """The bytes of this rank in every layer with 16 bits a number; only where `bytes` is None."""

    bytes: int | None = None
    """Of the factors as they are stored, gains, offsets and headers included."""

    mac_share: float | None = None
    """Multiply-accumulates of the surrogates, gains included, as a share of the network's."""

    slowdown: float | None = None
    """Time of one sample with all branches, in times of that without any, as the runtime takes it;
    from 1 on."""

    def __post_init__(self) -> None:
        """Refuse what is no limit."""
        for name, limit in (
            ("rank", self.rank),
            ("bytes", self.bytes),
            ("share of multiply-accumulates", self.mac_share),
        ):
            if limit is not None and not (limit >= 0 and math.isfinite(limit)):
                raise CalibError(f"a budget's {name} cannot be {limit}; give a number from 0 on")
        if self.slowdown is not None and not (self.slowdown >= 1 and math.isfinite(self.slowdown)):
            raise CalibError(
                f"a budget's slowdown cannot be {self.slowdown}; give a number from 1 on, which is "
                "the time without branches"
            )

    def over(self, other: Budget) -> Budget:
        """This budget, and the other one's limits where this has none.

        Rank and bytes are two ways to say one limit, so that either takes the place of both.
        """
        of_bytes = other if self.rank is None and self.bytes is None else self
        share = other.mac_share if self.mac_share is None else self.mac_share
        slowdown = other.slowdown if self.slowdown is None else self.slowdown
        return Budget(of_bytes.rank, of_bytes.bytes, share, slowdown)

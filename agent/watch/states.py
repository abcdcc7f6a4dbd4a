"""The states of a chip, and how it gets from one to another: up at once, down after calm rounds."""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN, HEALTHY, WATCH, DRIFTED, FAILED = "unknown", "healthy", "watch", "drifted", "failed"
STATES = (UNKNOWN, HEALTHY, WATCH, DRIFTED, FAILED)
"""Not enough rounds yet; as after the calibration; something has changed or may have; the chip is
worse than it was; it is beyond repair."""


@dataclass(frozen=True)
class Standing:
    """A state, and for how many rounds the signs have been better than it."""

    state: str
    calm: int = 0


def next_standing(standing: Standing, sign: str, calm_rounds: int) -> Standing:
    """Where a chip stands after a round whose sign is one of the states."""
    if STATES.index(sign) >= STATES.index(standing.state):
        return Standing(sign)
    if standing.calm + 1 >= calm_rounds:
        return Standing(sign)
    return Standing(standing.state, standing.calm + 1)

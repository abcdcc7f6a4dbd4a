"""Seconds that never run backwards, on machines whose clock does, or that have none.

A Raspberry Pi without a clock chip wakes up in the past; a time server sets clocks back. What
budgets and intervals are counted in is *agent time*: within one start of the machine the monotonic
clock, over a restart what the wall clock says has passed, if that can be believed, else nothing.
So a machine without a clock gets older too slowly, never too fast: it writes less, not more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

EARLIEST_WALL_S = 1_735_689_600.0
"""2025-01-01: before that this program was not there, so the clock has not been set."""

LONGEST_PAUSE_S = 5 * 365 * 86_400.0
"""A longer pause is taken for a clock that is wrong."""


@dataclass(frozen=True)
class Reading:
    """What a machine's clocks say at a moment."""

    monotonic_s: float
    wall_s: float | None
    """Unix time; None where there is no clock."""

    boot: str
    """Which start of the machine: the monotonic clock means something within one alone."""


@dataclass(frozen=True)
class AgentClock:
    """Agent time, and the reading that it was counted at."""

    agent_s: float = 0.0
    last: Reading | None = None
    set_back: int = 0
    """How often the wall clock was seen to run backwards."""

    def document(self) -> dict[str, Any]:
        """What is kept over restarts."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> AgentClock:
        """The inverse of `document`; what is no clock begins at zero."""
        try:
            agent_s, last = float(document["agent_s"]), document["last"]
            reading = None if last is None else _reading(last)
            found = cls(agent_s, reading, int(document["set_back"]))
        except (KeyError, TypeError, ValueError):
            return cls()
        return found if math.isfinite(agent_s) and agent_s >= 0 else cls()


def advance(clock: AgentClock, reading: Reading) -> AgentClock:
    """Agent time at a reading; never less than before."""
    last = clock.last
    if last is None:
        return AgentClock(clock.agent_s, reading, clock.set_back)
    wall_passed_s = _wall_passed_s(last, reading)
    set_back = clock.set_back + (wall_passed_s is not None and wall_passed_s < 0)
    if reading.boot == last.boot:
        passed_s = reading.monotonic_s - last.monotonic_s
    else:
        believed = wall_passed_s is not None and wall_passed_s <= LONGEST_PAUSE_S
        passed_s = wall_passed_s if believed and wall_passed_s is not None else 0.0
    return AgentClock(clock.agent_s + max(passed_s, 0.0), reading, set_back)


def _wall_passed_s(last: Reading, reading: Reading) -> float | None:
    """What the wall clock says has passed; None where it was not set at either moment."""
    if last.wall_s is None or reading.wall_s is None:
        return None
    if min(last.wall_s, reading.wall_s) < EARLIEST_WALL_S:
        return None
    return reading.wall_s - last.wall_s


def _reading(document: Mapping[str, Any]) -> Reading:
    wall_s = document["wall_s"]
    return Reading(
        float(document["monotonic_s"]),
        None if wall_s is None else float(wall_s),
        str(document["boot"]),
    )

"""What the machine says of itself: its clocks, whether it is on mains, how warm the chip is."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.watch.clock import AgentClock, Reading, advance

BOOT_FILE = Path("/proc/sys/kernel/random/boot_id")
SUPPLIES = Path("/sys/class/power_supply")

_FROM_OUTSIDE = {"Mains", "USB"}
_CELSIUS_MOST = 1000.0
"""Beyond this a thermometer's file speaks of millidegrees."""

_LEAST_APART_S = 10.0
"""Between two temperatures that are kept."""


def _boot() -> str:
    """Which start of the machine this is; where it does not say, each process is one."""
    try:
        return BOOT_FILE.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return uuid.uuid4().hex


_THIS_BOOT = _boot()


def read_clocks() -> Reading:
    """What the clocks say now."""
    return Reading(time.monotonic(), time.time(), _THIS_BOOT)


class AgentTime:
    """Agent time: it goes on over restarts, and never back.

    Args:
        clock: as it was kept.
        read: what the machine's clocks say.
    """

    def __init__(self, clock: AgentClock, read: Callable[[], Reading] = read_clocks) -> None:
        """Go on from where the clock was kept."""
        self._read = read
        self.clock = advance(clock, read())
        self._told = self.clock.set_back

    def now_s(self) -> float:
        """Agent time."""
        self.clock = advance(self.clock, self._read())
        return self.clock.agent_s

    def was_set_back(self) -> bool:
        """Whether the wall clock has run backwards since this was asked last."""
        before, self._told = self._told, self.clock.set_back
        return self._told > before


def on_mains(supplies: Path = SUPPLIES) -> bool | None:
    """Whether any supply from outside is there; None where the machine has no word of one."""
    try:
        places = sorted(supplies.iterdir())
    except OSError:
        return None
    online = [_word(one / "online") for one in places if _word(one / "type") in _FROM_OUTSIDE]
    found = [said != "0" for said in online if said]
    return any(found) if found else None


def read_thermometer(file: Path) -> float | None:
    """Degrees Celsius in a file that holds them, or thousandths of them; None where it does not."""
    try:
        value = float(_word(file))
    except ValueError:
        return None
    return value / 1000 if abs(value) > _CELSIUS_MOST else value


class Warmth:
    """Temperatures of the last while."""

    def __init__(self) -> None:
        """None is known."""
        self._seen: deque[tuple[float, float]] = deque()

    def see(self, now_s: float, temperature_c: float | None) -> None:
        """Note a temperature; one soon after another takes its place only if it is beyond all."""
        if temperature_c is None:
            return
        known = [value for _, value in self._seen]
        new = not known or not min(known) <= temperature_c <= max(known)
        if new or now_s - self._seen[-1][0] >= _LEAST_APART_S:
            self._seen.append((now_s, temperature_c))

    def range_k(self, now_s: float, within_s: float) -> float | None:
        """Highest less lowest within the last so many seconds; None where nothing is known."""
        while self._seen and now_s - self._seen[0][0] > within_s:
            self._seen.popleft()
        values = [value for _, value in self._seen]
        return max(values) - min(values) if values else None


def _word(file: Path) -> str:
    """What a small file says; empty where there is none."""
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


@dataclass(frozen=True)
class Machine:
    """What is asked of a machine."""

    clocks: Callable[[], Reading] = read_clocks
    mains: Callable[[], bool | None] = on_mains


THIS_MACHINE = Machine()

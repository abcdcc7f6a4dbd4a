"""Whether this is a good time: mains, and a temperature that has settled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.runtimes.names import CIM
from agent.service.machine import Warmth, read_thermometer
from agent.service.settings import Configuration
from agent.session import Session
from agent.watch.policy import Conditions, Policy


class Surroundings:
    """What is known around the chip.

    Args:
        mains: whether the machine is on mains; None where it does not know.
    """

    def __init__(self, mains: Callable[[], bool | None]) -> None:
        """Nothing has been looked at."""
        self._mains, self._warmth = mains, Warmth()

    def look(self, configuration: Configuration, session: Session, now_s: float) -> None:
        """Read the thermometer; without one, an emulated chip's temperature is the store's."""
        file = configuration.calibration.thermometer
        if file:
            self._warmth.see(now_s, read_thermometer(Path(file)))
        elif session.package.runtime == CIM:
            self._warmth.see(now_s, session.conditions.temperature_c)

    def conditions(self, policy: Policy, now_s: float, *, busy: bool) -> Conditions:
        """For the policy; `busy`: a calibration is under way."""
        warmed_k = self._warmth.range_k(now_s, policy.settling_s)
        return Conditions(self._mains(), warmed_k, busy=busy)

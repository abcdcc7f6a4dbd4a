"""Where a model holds: the ages and temperatures for which its source has figures."""

from __future__ import annotations

from dataclasses import dataclass

from device_models.contract import State

DAY_S = 86_400.0
YEAR_S = 365 * DAY_S


@dataclass(frozen=True)
class Validity:
    """The range of a model; outside it still computes, and says so."""

    longest_age_s: float | None = None
    """None: an age changes nothing."""

    least_c: float | None = None
    """None, as for `most_c`: a temperature changes nothing, and nothing is said of it."""

    most_c: float | None = None

    basis: str = ""
    """What the range rests on."""

    least_v: float | None = None
    """None, as for `most_v`: there is no supply in the model, and nothing is said of it."""

    most_v: float | None = None

    def cautions(self, kind: str, state: State) -> tuple[str, ...]:
        """A sentence for each condition outside the range."""
        said = []
        if self.longest_age_s is not None and state.age_s > self.longest_age_s:
            said.append(
                f"an age of {state.age_s:g} s is beyond the {self.longest_age_s:g} s that "
                f"device model {kind} holds for ({self.basis})"
            )
        ranges = (
            ("temperature", "C", state.temperature_c, self.least_c, self.most_c),
            ("supply", "V", state.supply_v, self.least_v, self.most_v),
        )
        for what, unit, value, low, high in ranges:
            if value is None or low is None or high is None or low <= value <= high:
                continue
            said.append(
                f"a {what} of {value:g} {unit} is outside the {low:g} to {high:g} {unit} "
                f"that device model {kind} holds for ({self.basis})"
            )
        return tuple(said)


ROOM_C = (15.0, 35.0)
"""Measured at room temperature; a model that knows no temperature holds there alone."""


def of_silicon(longest_age_s: float | None, supply_v: float, basis: str) -> Validity:
    """The range of commercial process corners: -40 to 125 C, the supply within 15 %."""
    return Validity(longest_age_s, -40.0, 125.0, basis, 0.85 * supply_v, 1.15 * supply_v)

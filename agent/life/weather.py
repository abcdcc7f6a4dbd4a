"""When a chip is looked at in its life, and what it is like then."""

from __future__ import annotations

import math
from dataclasses import dataclass

from agent.life.scenario import Scenario
from device_models.array import State

DAY_S, HOUR_S = 86_400.0, 3_600.0
YEAR_S = 365 * DAY_S
YOUNG_SHARE = 0.1
"""Of its age: the steps of a young chip, whose drift goes by the logarithm of time."""

SHORTEST_STEP_S = 300.0


@dataclass(frozen=True)
class Moment:
    """A moment of a life."""

    time_s: float
    """Since the life began."""

    state: State
    evaluated: bool
    """Whether the accuracy is asked for."""

    @property
    def day(self) -> float:
        """Since the life began."""
        return self.time_s / DAY_S


def moments(scenario: Scenario) -> list[Moment]:
    """All moments of a life, the first at its begin, the last at its end."""
    found: list[Moment] = []
    time_s, evaluated_s, end_s = 0.0, -math.inf, scenario.days * DAY_S
    while True:
        last = time_s >= end_s
        due = last or time_s - evaluated_s >= min(
            scenario.evaluate_h * HOUR_S, _step_s(scenario, time_s) * _steps(scenario)
        )
        evaluated_s = time_s if due else evaluated_s
        found.append(Moment(time_s, state_at(scenario, time_s), due))
        if last:
            return found
        time_s = min(time_s + _step_s(scenario, time_s), end_s)


def state_at(scenario: Scenario, time_s: float) -> State:
    """Age, temperature and supply."""
    grown_s = time_s if scenario.ageing else 0.0
    volts = [step.volts for step in scenario.supply if step.day * DAY_S <= time_s]
    return State(
        scenario.start_age_h * HOUR_S + grown_s,
        temperature_at(scenario, time_s),
        volts[-1] if volts else None,
    )


def temperature_at(scenario: Scenario, time_s: float) -> float:
    """Degrees Celsius: the mean, a wave of a day and one of a year."""
    day, year = (math.sin(2 * math.pi * time_s / period) for period in (DAY_S, YEAR_S))
    return scenario.temperature_c + scenario.day_swing_c * day + scenario.year_swing_c * year


def temperature_range_k(scenario: Scenario, time_s: float, window_s: float) -> float:
    """How much the temperature has changed within a window that ends now."""
    found = [temperature_at(scenario, time_s - window_s * part / 4) for part in range(5)]
    return max(found) - min(found)


def _steps(scenario: Scenario) -> float:
    """Rounds from one evaluation to the next."""
    return max(scenario.evaluate_h / scenario.round_h, 1.0)


def _step_s(scenario: Scenario, time_s: float) -> float:
    age_s = scenario.start_age_h * HOUR_S + time_s
    longest_s = scenario.round_h * HOUR_S
    return min(max(YOUNG_SHARE * age_s, SHORTEST_STEP_S), longest_s)

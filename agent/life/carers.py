"""Three ways to care for a chip: not at all, by a timer, by the watch and its policy.

All begin with a calibration on the first day.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agent.life.scenario import Scenario
from agent.life.ward import Ward
from agent.life.weather import HOUR_S, Moment, temperature_range_k
from agent.watch.budget import full, refilled, spent
from agent.watch.diagnosis import diagnose
from agent.watch.inputs import InputProfile, LiveInputs, begin_live, look_at_inputs
from agent.watch.policy import CALIBRATE, Conditions, Decision, Situation, decide
from agent.watch.rounds import CanaryRound, canary_round
from agent.watch.states import DRIFTED, FAILED, UNKNOWN
from agent.watch.trial import FAILED as NOT_PASSED
from agent.watch.trial import begin_trial, judge_trial, look_at_trial
from agent.watch.watching import Watch, begin, look, refused

NONE, TIMER, POLICY = "none", "timer", "policy"
CARERS = (NONE, TIMER, POLICY)


@dataclass(frozen=True)
class Visit:
    """What a carer saw and did at a moment."""

    event: str | None = None
    """`accepted`, `refused` or `rolled back`; None where nothing was done."""

    reason: str = ""
    state: str | None = None
    changed: str | None = None
    alarm: bool = False
    """Whether the chip has just come to be drifted or failed."""

    loss: float | None = None
    """Of the canaries, before anything was done."""

    layer_error: float | None = None


class Carer(Protocol):
    """Cares for a chip."""

    ward: Ward

    def visit(self, moment: Moment, live: NDArray[np.float32]) -> Visit:
        """Do what is to be done at a moment.

        Args:
            moment: when; the ward's runtime is the chip as it is then.
            live: inputs that came in since the last visit, [n, ...].
        """
        ...


@dataclass
class Nobody:
    """Calibrates the chip on the first day, and never again."""

    ward: Ward
    scenario: Scenario

    def visit(self, moment: Moment, live: NDArray[np.float32]) -> Visit:
        """See `Carer`."""
        del live
        return _calibrated(self.ward, self.scenario, moment) if moment.time_s == 0 else Visit()


@dataclass
class Timer:
    """Calibrates the chip in equal intervals, whatever it is like."""

    ward: Ward
    scenario: Scenario
    next_s: float = 0.0

    def visit(self, moment: Moment, live: NDArray[np.float32]) -> Visit:
        """See `Carer`."""
        del live
        if moment.time_s < self.next_s:
            return Visit()
        self.next_s += self.scenario.timer_h * HOUR_S
        return _calibrated(self.ward, self.scenario, moment)


@dataclass
class Agent:
    """Watches the chip, and calibrates it when the policy says so."""

    ward: Ward
    scenario: Scenario
    profile: InputProfile
    scale: float
    """What a loss is measured by."""

    watch: Watch = field(init=False)
    live: LiveInputs = field(init=False)
    last_attempt_s: float | None = None

    def __post_init__(self) -> None:
        """Know nothing yet; the store is new, so that its budget is full."""
        self.watch = self._fresh()
        self.live = begin_live(self.profile)
        self.budget = full(self.scenario.policy.allowance, 0.0)
        self.cost_bytes, self.cost_erases = 0, 0

    def visit(self, moment: Moment, live: NDArray[np.float32]) -> Visit:
        """See `Carer`."""
        seen = self._round()
        was = self.watch.state
        self.watch = look(self.watch, seen)
        self.live = look_at_inputs(self.live, live)
        decision = self._decision(moment)
        found = Visit(
            state=self.watch.state,
            changed=diagnose(self.watch, self.live).changed,
            alarm=self.watch.state in {DRIFTED, FAILED} and was not in {DRIFTED, FAILED},
            loss=seen.loss,
            layer_error=seen.mean_error,
        )
        if decision.action != CALIBRATE:
            return found
        return self._calibrate(moment, seen, found, decision.reason)

    def _decision(self, moment: Moment) -> Decision:
        """What the policy says; the first calibration is a person's."""
        policy = self.scenario.policy
        warmed_k = temperature_range_k(self.scenario, moment.time_s, policy.settling_s)
        situation = Situation(
            watch=self.watch,
            diagnosis=diagnose(self.watch, self.live),
            budget=self.budget,
            now_s=moment.time_s,
            conditions=Conditions(temperature_range_k=warmed_k, asked=moment.time_s == 0),
            last_attempt_s=self.last_attempt_s,
            calibrated=self.ward.sequence > 0,
            cost_bytes=self.cost_bytes,
            cost_erases=self.cost_erases,
        )
        return decide(policy, situation)

    def _calibrate(self, moment: Moment, seen: CanaryRound, found: Visit, reason: str) -> Visit:
        factors, previous, old = self.ward.loop.factors, self.ward.sequence, self.watch
        tried = self.ward.calibrate(self.scenario.samples, moment.time_s)
        self._spend(moment, tried.written.bytes, tried.written.erases)
        self.last_attempt_s = moment.time_s
        if not tried.accepted:
            self.watch = refused(old, promising=tried.promising)
            return replace(found, event="refused", reason=tried.reason)
        self.cost_bytes, self.cost_erases = tried.written.bytes, tried.written.erases
        trial = begin_trial(tried.sequence, previous, seen)
        self.watch = self._fresh()
        while self.watch.state == UNKNOWN:
            again = self._round()
            trial, self.watch = look_at_trial(trial, again), look(self.watch, again)
        outcome = judge_trial(trial)
        if outcome.state == NOT_PASSED:
            written = self.ward.roll_back(factors)
            self._spend(moment, written.bytes, written.erases)
            self.watch = refused(old, promising=True)
            return replace(found, event="rolled back", reason=outcome.reason)
        return replace(found, event="accepted", reason=reason)

    def _spend(self, moment: Moment, written_bytes: int, erases: int) -> None:
        allowance = self.scenario.policy.allowance
        now = refilled(self.budget, allowance, moment.time_s)
        self.budget = spent(now, written_bytes, erases)

    def _round(self) -> CanaryRound:
        return canary_round(self.ward.loop.measure(), self.scale)

    def _fresh(self) -> Watch:
        names = [layer.name for layer in self.ward.loop.network.layers]
        return begin(self.scenario.watch, names)


def carer_named(
    name: str, ward: Ward, scenario: Scenario, profile: InputProfile, scale: float
) -> Carer:
    """The carer of one of the names of `CARERS`."""
    if name == NONE:
        return Nobody(ward, scenario)
    if name == TIMER:
        return Timer(ward, scenario)
    return Agent(ward, scenario, profile, scale)


def _calibrated(ward: Ward, scenario: Scenario, moment: Moment) -> Visit:
    tried = ward.calibrate(scenario.samples, moment.time_s)
    return Visit("accepted" if tried.accepted else "refused", tried.reason)

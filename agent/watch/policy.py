"""When to calibrate: what it would gain against what it would wear, and whether it is a good time.

A pure function from a situation to a decision with its reason. The gain is the loss (see
`agent.watch.scale`) that has come up since the factors were fitted, and that a new fit is predicted
to take away. Its price rises as the flash budget is used up: a store that has half of its budget
left asks for twice the gain, and one that has none left waits, whatever there is to gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from agent.watch.budget import Allowance, FlashBudget, refilled, share_left
from agent.watch.diagnosis import BOTH, INPUT, Diagnosis
from agent.watch.states import DRIFTED, FAILED
from agent.watch.trial import FAILED as NOT_PASSED
from agent.watch.trial import RUNNING, Trial, judge_trial
from agent.watch.watching import Watch

CALIBRATE, WAIT, ROLL_BACK = "calibrate", "wait", "roll back"
HOUR_S = 3_600.0
USUAL = Allowance()


@dataclass(frozen=True)
class Policy:
    """What is asked of a calibration that nobody asked for."""

    allowance: Allowance = USUAL
    price: float = 0.003
    """Loss that a calibration has to take away where the budget is full, as a share of what the
    answers say."""

    minimum_interval_s: float = HOUR_S
    """From the end of a calibration to the next."""

    retry_s: float = HOUR_S
    """From a refusal to the next calibration; twice as long after each further one."""

    longest_retry_s: float = 7 * 24 * HOUR_S
    settled_k: float = 3.0
    """How much the temperature may have changed within `settling_s`."""

    settling_s: float = 900.0
    needs_mains: bool = True


@dataclass(frozen=True)
class Conditions:
    """What the machine says; None where it does not know."""

    on_mains: bool | None = None
    temperature_range_k: float | None = None
    """Highest less lowest temperature within the policy's `settling_s`."""

    busy: bool = False
    """A calibration runs, or another holds the store."""

    asked: bool = False
    """A person wants one."""


NOTHING_KNOWN = Conditions()


@dataclass(frozen=True)
class Situation:
    """Everything that a decision depends on."""

    watch: Watch
    diagnosis: Diagnosis
    budget: FlashBudget
    now_s: float
    """Agent time, see `agent.watch.clock`."""

    conditions: Conditions = NOTHING_KNOWN
    last_attempt_s: float | None = None
    """Agent time of the end of the latest calibration, accepted or not."""

    calibrated: bool = True
    """Whether factors run that a calibration has made; else all of the loss may be gained."""

    cost_bytes: float = 0.0
    """What a calibration is expected to write: as much as the last one, or the factors' size."""

    cost_erases: float = 0.0
    trial: Trial | None = None
    live_loss: float | None = None
    """Of the chip's answers to live samples, against the float network's, where a calibration can
    take such samples in (`calib.extended_references`); None where it cannot."""


@dataclass(frozen=True)
class Decision:
    """What to do, and why, in a sentence without a full stop."""

    action: str
    reason: str
    gain: float | None = None
    """Predicted: the loss that a calibration would take away."""

    price: float | None = None
    """What it has to be, at least."""


def decide(policy: Policy, situation: Situation) -> Decision:
    """What to do now."""
    conditions = situation.conditions
    if conditions.busy:
        return Decision(WAIT, "a calibration is running, and never two run at once")
    if conditions.asked:
        return Decision(CALIBRATE, "somebody asked for it")
    if situation.trial is not None:
        outcome = judge_trial(situation.trial)
        if outcome.state == NOT_PASSED:
            return Decision(ROLL_BACK, outcome.reason)
        if outcome.state == RUNNING:
            return Decision(WAIT, outcome.reason)
    return _weighed(policy, situation)


def back_off_s(policy: Policy, refusals: int) -> float:
    """How long to wait after so many refusals in a row."""
    if not refusals:
        return policy.minimum_interval_s
    longest = max(policy.longest_retry_s, policy.minimum_interval_s)
    retry_s = policy.retry_s * 2.0 ** min(refusals - 1, 60)
    return float(min(max(retry_s, policy.minimum_interval_s), longest))


def _weighed(policy: Policy, situation: Situation) -> Decision:
    """Gain against price, and whether this is a good time."""
    why_not = _no_reason(situation)
    if why_not:
        return Decision(WAIT, why_not)
    gain, price = _gain(situation), _price(policy, situation)
    if price == math.inf:
        return Decision(WAIT, f"{_flash(policy, situation)}: too little for a calibration", gain)
    if gain < price:
        reason = (
            f"it would take away a loss of {gain:.2g}, and the flash it wears is worth {price:.2g}"
        )
        return Decision(WAIT, reason, gain, price)
    bad_time = _bad_time(policy, situation)
    if bad_time:
        return Decision(WAIT, bad_time, gain, price)
    reason = f"{situation.diagnosis.reason}; it would take away a loss of {gain:.2g}"
    return Decision(CALIBRATE, reason, gain, price)


def _no_reason(situation: Situation) -> str:
    """Why nothing needs to be repaired, or cannot be; empty if something does."""
    watch, diagnosis = situation.watch, situation.diagnosis
    if watch.state == FAILED:
        return diagnosis.reason
    if diagnosis.changed == INPUT:
        follows = situation.live_loss is not None
        return "" if follows else f"{diagnosis.reason}; a calibration repairs chips"
    if watch.state == DRIFTED or diagnosis.changed == BOTH:
        return ""
    if not situation.calibrated and watch.anchor is not None:
        return ""
    return diagnosis.reason


def _gain(situation: Situation) -> float:
    """The loss that a calibration is predicted to take away."""
    watch = situation.watch
    now = watch.loss or 0.0
    if situation.diagnosis.changed in {INPUT, BOTH}:
        now = max(now, situation.live_loss or 0.0)
    normal = (watch.normal_loss or 0.0) if situation.calibrated else 0.0
    return max(now - normal, 0.0)


def _price(policy: Policy, situation: Situation) -> float:
    """The gain that the flash is worth, at least; infinite where the budget does not do."""
    budget = refilled(situation.budget, policy.allowance, situation.now_s)
    needed = FlashBudget(situation.cost_bytes, situation.cost_erases, situation.now_s)
    if budget.bytes_left < needed.bytes_left or budget.erases_left < needed.erases_left:
        return math.inf
    share = share_left(budget, policy.allowance, FlashBudget(0.0, 0.0, situation.now_s))
    return policy.price / max(share, 1e-6)


def _flash(policy: Policy, situation: Situation) -> str:
    budget = refilled(situation.budget, policy.allowance, situation.now_s)
    return (
        f"{max(budget.bytes_left, 0):.0f} bytes and {max(budget.erases_left, 0):.0f} erases of "
        f"the flash budget are left, {situation.cost_bytes:.0f} and {situation.cost_erases:.0f} "
        "needed"
    )


def _bad_time(policy: Policy, situation: Situation) -> str:
    """Why this is no good time; empty if it is one. What is not known is no hindrance."""
    conditions = situation.conditions
    if policy.needs_mains and conditions.on_mains is False:
        return "on battery: a calibration waits for mains"
    warmed_k = conditions.temperature_range_k
    if warmed_k is not None and warmed_k > policy.settled_k:
        return (
            f"the temperature has changed by {warmed_k:.1f} K within {policy.settling_s:.0f} s, "
            f"more than {policy.settled_k:g} K: a calibration waits until it has settled"
        )
    if situation.last_attempt_s is None:
        return ""
    waited_s = max(situation.now_s - situation.last_attempt_s, 0.0)
    needed_s = back_off_s(policy, situation.watch.refusals)
    if waited_s >= needed_s:
        return ""
    after = f"after {situation.watch.refusals} refusals" if situation.watch.refusals else "at least"
    return f"{waited_s:.0f} s since the last calibration, {needed_s:.0f} s are waited {after}"

"""The policy: every reason to wait, every reason to act, the budget, trials."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.watch.budget import DAY_S, Allowance, FlashBudget, full, one_day, refilled, spent
from agent.watch.diagnosis import diagnose
from agent.watch.inputs import WINDOW, LiveInputs, begin_live, look_at_inputs, profile_of
from agent.watch.policy import Conditions, Decision, Policy, Situation, back_off_s, decide
from agent.watch.rounds import CanaryRound
from agent.watch.settings import WatchSettings
from agent.watch.trial import Trial, begin_trial, judge_trial, look_at_trial
from agent.watch.watching import Watch, begin, look, refused

POLICY = Policy()
NOW_S = 100 * DAY_S
FULL = full(POLICY.allowance, NOW_S)


def watch_with(loss: float, normal_loss: float = 1e-3, rounds: int = 12) -> Watch:
    """Ten rounds as after a calibration, and some with a loss that goes with its layer errors."""
    watch = begin(WatchSettings(), ("a", "b"))
    for value in [normal_loss] * 10 + [loss] * rounds:
        error = 0.05 * math.sqrt(value / normal_loss)
        watch = look(watch, CanaryRound({"a": error, "b": error}, value))
    return watch


def situation(loss: float = 0.05, live: LiveInputs | None = None, **change: object) -> Situation:
    watch = watch_with(loss)
    plain = Situation(watch, diagnose(watch, live), FULL, NOW_S, cost_bytes=13_000, cost_erases=5)
    return replace(plain, **change)  # type: ignore[arg-type]  # fields by name


def decided(**change: object) -> Decision:
    return decide(POLICY, situation(**change))  # type: ignore[arg-type]  # fields by name


def test_a_drifted_chip_is_calibrated_and_the_reason_says_what_it_brings() -> None:
    found = decided()
    assert found.action == "calibrate"
    assert "drifted: mean layer error" in found.reason
    assert "it would take away a loss of 0.04" in found.reason
    assert found.gain is not None
    assert found.price is not None
    assert found.gain > found.price


def test_a_healthy_chip_waits() -> None:
    found = decided(loss=1e-3)
    assert (found.action, found.gain) == ("wait", None)
    assert found.reason.startswith("healthy: mean layer error 1 times")


def test_a_drift_that_does_not_show_in_answers_is_not_worth_the_flash() -> None:
    found = decided(loss=3e-3)
    assert found.action == "wait"
    assert "and the flash it wears is worth 0.003" in found.reason


def test_the_price_rises_as_the_budget_is_used_up() -> None:
    half = FlashBudget(FULL.bytes_left / 2, FULL.erases_left, NOW_S)
    found = decided(loss=6e-3, budget=half)
    assert found.action == "wait"
    assert found.price == pytest.approx(0.006)
    assert decided(loss=6e-3).action == "calibrate"


@pytest.mark.parametrize(
    "budget", [FlashBudget(9_000.0, 100.0, NOW_S), FlashBudget(90_000.0, 4.0, NOW_S)]
)
def test_an_empty_budget_waits_whatever_could_be_gained(budget: FlashBudget) -> None:
    found = decided(loss=5.0, budget=budget)
    assert found.action == "wait"
    assert "of the flash budget are left, 13000 and 5 needed" in found.reason
    assert decided(loss=5.0, budget=budget, now_s=NOW_S + DAY_S).action == "calibrate"


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        (Conditions(on_mains=False), "on battery"),
        (Conditions(temperature_range_k=8.0), "changed by 8.0 K within 900 s, more than 3 K"),
        (Conditions(busy=True), "never two run at once"),
    ],
)
def test_bad_times_wait(conditions: Conditions, said: str) -> None:
    found = decided(conditions=conditions)
    assert found.action == "wait"
    assert said in found.reason


def test_good_or_unknown_conditions_do_not_hinder() -> None:
    for conditions in (Conditions(), Conditions(on_mains=True, temperature_range_k=0.5)):
        assert decided(conditions=conditions).action == "calibrate"
    on_battery = situation(conditions=Conditions(on_mains=False))
    assert decide(replace(POLICY, needs_mains=False), on_battery).action == "calibrate"


def test_a_person_goes_first_and_waits_for_a_running_calibration_alone() -> None:
    empty = FlashBudget(0.0, 0.0, NOW_S)
    asked = Conditions(asked=True, on_mains=False, temperature_range_k=50.0)
    assert decided(loss=1e-3, budget=empty, conditions=asked).action == "calibrate"
    assert decided(conditions=replace(asked, busy=True)).action == "wait"
    trial = Trial(2, 1, 0.1, 0.1)
    assert decided(conditions=asked, trial=trial).action == "calibrate"


def test_the_minimum_interval_is_kept() -> None:
    found = decided(last_attempt_s=NOW_S - 600)
    assert found.action == "wait"
    assert "600 s since the last calibration, 3600 s are waited at least" in found.reason
    assert decided(last_attempt_s=NOW_S - 3600).action == "calibrate"
    assert decided(last_attempt_s=NOW_S + 600).action == "wait"  # a clock that was set back


def test_each_refusal_doubles_the_wait() -> None:
    assert [back_off_s(POLICY, count) / 3600 for count in range(5)] == [1, 1, 2, 4, 8]
    assert back_off_s(POLICY, 500) == POLICY.longest_retry_s
    watch = refused(refused(watch_with(0.05), promising=True), promising=True)
    found = decided(watch=watch, last_attempt_s=NOW_S - 5_000)
    assert found.action == "wait"
    assert "5000 s since the last calibration, 7200 s are waited after 2 refusals" in found.reason


def test_what_cannot_be_repaired_is_left_alone() -> None:
    watch = refused(watch_with(0.5), promising=False)
    found = decided(watch=watch, diagnosis=diagnose(watch, None))
    assert found.action == "wait"
    assert found.reason.startswith("failed: nothing is to be gained")


def test_a_change_of_input_is_no_reason_and_with_a_change_of_the_chip_it_is() -> None:
    generator = np.random.default_rng(0)
    profile = profile_of([generator.normal(size=(64, 20))])
    live = look_at_inputs(begin_live(profile), 5 + generator.normal(size=(4 * WINDOW, 20)))
    found = decided(loss=1e-3, live=live)
    assert found.action == "wait"
    assert "the inputs have moved" in found.reason
    assert "a calibration repairs chips" in found.reason
    assert decided(live=live).action == "calibrate"
    follows = decided(loss=1e-3, live=live, live_loss=0.2)
    assert (follows.action, follows.gain) == ("calibrate", pytest.approx(0.199, abs=1e-3))
    assert decided(loss=1e-3, live=live, live_loss=2e-3).action == "wait"


def test_a_chip_that_was_never_calibrated_may_gain_all_of_its_loss() -> None:
    watch = begin(WatchSettings(), ("a",))
    for _ in range(6):
        watch = look(watch, CanaryRound({"a": 0.3}, 0.2))
    never = situation(watch=watch, diagnosis=diagnose(watch, None), calibrated=False)
    assert decide(POLICY, never).action == "calibrate"
    assert decide(POLICY, replace(never, calibrated=True)).action == "wait"


def on_trial(*rounds: tuple[float, float]) -> Trial:
    trial = begin_trial(7, 6, CanaryRound({"a": 0.2, "b": 0.4}, 0.05))
    for loss, error in rounds:
        trial = look_at_trial(trial, CanaryRound({"a": error, "b": error}, loss))
    return trial


@pytest.mark.parametrize(
    ("rounds", "state", "said"),
    [
        ([(0.01, 0.1)] * 2, "running", "factors 7 are on trial, 2 of 3 rounds"),
        ([(0.01, 0.1)] * 3, "passed", "factors 7 hold: loss 0.01, before 0.05"),
        ([(0.01, 0.1), (0.01, 0.1), (0.5, 0.9)], "passed", "hold"),  # one bad round of three
        ([(0.06, 0.1)] * 3, "failed", "factors 7 have a loss of 0.06, those before 0.05"),
        ([(0.05, 0.35)] * 3, "failed", "leave a mean layer error of 0.35, those before 0.3"),
        ([(math.nan, 0.1)], "failed", "answers that are no numbers"),
    ],
)
def test_factors_on_trial_stay_go_or_are_watched(
    rounds: list[tuple[float, float]], state: str, said: str
) -> None:
    trial = on_trial(*rounds)
    outcome = judge_trial(trial)
    assert outcome.state == state
    assert said in outcome.reason
    action = {"running": "wait", "failed": "roll back", "passed": "calibrate"}[state]
    assert decided(trial=trial).action == action
    again = Trial.of(json.loads(json.dumps(trial.document())))
    assert str(again) == str(trial)


def test_a_damaged_trial_is_none() -> None:
    assert Trial.of({}) is None
    assert Trial.of({**on_trial().document(), "losses": "x"}) is None


ALLOWANCE = Allowance(bytes_per_day=1000.0, erases_per_day=2.0, days_kept=3.0)


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 5000)), max_size=30),
)
def test_a_budget_is_never_more_than_is_kept_and_time_that_runs_back_adds_nothing(
    steps: list[tuple[float, float]],
) -> None:
    budget, now_s, latest_s, written = full(ALLOWANCE, 0.0), 0.0, 0.0, 0.0
    for passed_s, wanted in steps:
        now_s += passed_s
        latest_s = max(latest_s, now_s)
        budget = refilled(budget, ALLOWANCE, now_s)
        assert budget.bytes_left <= 3000
        assert budget.at_s == latest_s
        if wanted <= budget.bytes_left:
            budget = spent(budget, wanted, 0)
            written += wanted
    # Over any time: what was there at first, and what has flowed in.
    assert written <= 3000 + 1000 * latest_s / DAY_S + 1e-6


def test_a_budget_comes_back_from_json_and_a_damaged_one_is_that_of_a_day() -> None:
    budget = spent(full(ALLOWANCE, 5.0), 100, 1)
    assert FlashBudget.of(json.loads(json.dumps(budget.document())), ALLOWANCE, 9.0) == budget
    for damage in (
        {},
        {**budget.document(), "at_s": None},
        {**budget.document(), "at_s": math.nan},
    ):
        assert FlashBudget.of(damage, ALLOWANCE, 9.0) == one_day(ALLOWANCE, 9.0)

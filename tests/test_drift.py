"""Drift: a score against the last calibration, and what it is called."""

from __future__ import annotations

import math

import pytest

from agent.drift import DRIFTED_FROM, FAILED_FROM, WATCH_FROM, Drift, baseline_of, drift
from agent.events import CALIBRATION


@pytest.mark.parametrize(
    ("score", "state"),
    [
        (0.5, "healthy"),
        (1.0, "healthy"),
        (WATCH_FROM, "watch"),
        (DRIFTED_FROM, "drifted"),
        (FAILED_FROM, "failed"),
        (math.inf, "failed"),
    ],
)
def test_the_state_follows_from_the_score(score: float, state: str) -> None:
    found = drift(0.25 * score, 0.25)
    assert found.state == state
    assert found.score == pytest.approx(score)


def test_answers_that_are_no_numbers_are_a_failure() -> None:
    assert drift(math.nan, 0.1).state == "failed"


@pytest.mark.parametrize("baseline", [None, 0.0])
def test_without_anything_to_compare_with_it_is_unknown(baseline: float | None) -> None:
    assert drift(0.1, baseline) == Drift("unknown", None)


def test_the_baseline_is_that_of_the_factors_that_run() -> None:
    history = [
        {"event": "installation"},
        {"event": CALIBRATION, "sequence": 1, "mean_layer_error": {"before": 1.0, "after": 0.2}},
        {"event": CALIBRATION, "sequence": None, "mean_layer_error": {"after": 0.9}},
        {"event": CALIBRATION, "sequence": 2, "mean_layer_error": {"after": 0.1}},
        {"event": "rollback", "sequence": 1},
        {"event": CALIBRATION, "sequence": 3, "mean_layer_error": "torn"},
    ]
    assert [baseline_of(history, number) for number in range(5)] == [None, 0.2, 0.1, None, None]

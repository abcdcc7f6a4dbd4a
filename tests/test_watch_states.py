"""States of a chip: their signs, their hysteresis, what is beyond repair, and their bytes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.watch.rounds import CanaryRound, canary_round
from agent.watch.settings import WatchSettings
from agent.watch.states import STATES, Standing, next_standing
from agent.watch.watching import Watch, begin, explain, look, refused
from calib.layer_error import LayerError
from calib.verify import Judgement

NAMES = ("a", "b", "c")
SETTINGS = WatchSettings()


def seen(growth: float = 1.0, loss: float = 1e-4, saturated: tuple[str, ...] = ()) -> CanaryRound:
    return CanaryRound(dict.fromkeys(NAMES, 0.05 * growth), loss, saturated)


def watched(*rounds: CanaryRound, watch: Watch | None = None) -> Watch:
    found = begin(SETTINGS, NAMES) if watch is None else watch
    for one in rounds:
        found = look(found, one)
    return found


CALM = [seen()] * 8


def test_the_first_rounds_judge_nothing() -> None:
    watch = watched(*[seen()] * 4)
    assert (watch.state, watch.score) == ("unknown", None)
    assert explain(watch) == "unknown: 4 of 5 rounds of canaries since the last calibration"
    assert watched(*[seen()] * 5).state == "healthy"


def test_a_drifting_chip_is_drifted_and_recovers_after_calm_rounds_only() -> None:
    watch = watched(*CALM, *[seen(1.5, 2e-3)] * 3)
    assert watch.state == "drifted"
    assert "cusum:layers" in watch.alarms
    states = []
    for _ in range(40):
        watch = look(watch, seen())
        states.append(watch.state)
    assert states[0] == "drifted"
    assert states[-1] == "healthy"
    turned = [one for one, after in pairwise(states) if one != after]
    assert len(turned) <= 2  # down, never up and down again


def test_an_alarm_does_not_outlive_its_cause_by_as_long_as_that_has_lasted() -> None:
    watch = watched(*CALM, *[seen(3.0)] * 500)
    watch = watched(*[seen()] * 40, watch=watch)
    assert watch.state == "healthy"


def test_smaller_errors_are_a_change_and_no_drift() -> None:
    watch = watched(*CALM, *[seen(0.5)] * 20)
    assert watch.state == "watch"
    assert "mewma:each-layer" in watch.alarms


def test_one_layer_alone_is_seen() -> None:
    errors = {**dict.fromkeys(NAMES, 0.05), "b": 0.08}
    watch = watched(*CALM, *[CanaryRound(errors, 1e-4)] * 3)
    assert watch.state == "drifted"
    assert "mewma:each-layer" in watch.alarms


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_answers_that_are_no_numbers_are_the_worst_of_errors(value: float) -> None:
    errors = {**dict.fromkeys(NAMES, 0.05), "c": value}
    watch = watched(*CALM, *[CanaryRound(errors, value)] * 2)
    assert watch.state == "drifted"
    json.dumps(watch.document(), allow_nan=False)


def test_a_chip_that_nothing_can_be_gained_on_has_failed_until_its_loss_is_small_again() -> None:
    watch = watched(*CALM, *[seen(9.0, 2.0)] * 10)
    assert watch.state == "drifted"
    watch = refused(watch, promising=False)
    assert watch.state == "failed"
    assert "nothing is to be gained by a calibration, and a loss of 1.6" in explain(watch)
    for _ in range(30):
        watch = look(watch, seen())
    assert watch.state == "healthy"


def test_refusals_in_a_row_are_evidence_and_one_is_none() -> None:
    watch = watched(*CALM, *[seen(9.0, 2.0)] * 10)
    for state in ("drifted", "drifted", "failed"):
        watch = refused(watch, promising=True)
        assert watch.state == state
    harmless = watched(*CALM, *[seen(1.5, 2e-3)] * 10)
    for _ in range(9):
        harmless = refused(harmless, promising=False)
    assert harmless.state == "drifted"


def test_a_layer_that_follows_its_input_no_more_has_failed_once_a_calibration_was_refused() -> None:
    watch = watched(*CALM, *[seen(9.0, 2.0, ("b",))] * 6)
    assert watch.state == "drifted"
    watch = refused(watch, promising=True)
    assert watch.state == "failed"
    assert "layers b do not follow their inputs" in explain(watch)


def test_a_judgement_becomes_a_round_and_names_dead_layers() -> None:
    dead = LayerError(relative_error=1.0, sqnr_db=0.0, bias=0.0, gain=0.0)
    well = LayerError(relative_error=0.1, sqnr_db=20.0, bias=0.0, gain=1.0)
    off = LayerError(relative_error=1.5, sqnr_db=-3.5, bias=1.5, gain=1.0)
    found = canary_round(Judgement(0.5, {"a": dead, "b": well, "c": off}), 2.0)
    assert found.loss == 0.25
    assert found.saturated == ("a",)
    assert found.errors == {"a": 1.0, "b": 0.1, "c": 1.5}
    assert found.is_finite
    assert not replace(found, loss=math.nan).is_finite


@given(st.lists(st.sampled_from(STATES), max_size=40), st.integers(1, 5))
def test_states_rise_at_once_and_fall_after_calm_rounds(signs: list[str], calm: int) -> None:
    standing, better = Standing("healthy"), 0
    for sign in signs:
        after = next_standing(standing, sign, calm)
        if STATES.index(sign) >= STATES.index(standing.state):
            assert after.state == sign
            better = 0
        else:
            better += 1
            assert after.state == (sign if better == calm else standing.state)
            better = 0 if better == calm else better
        standing = after


def test_a_watch_comes_back_from_json_as_it_was() -> None:
    watch = refused(watched(*CALM, *[seen(2.0, 0.01)] * 3), promising=True)
    again = Watch.of(json.loads(json.dumps(watch.document())), SETTINGS, NAMES)
    assert again.document() == watch.document()
    assert look(again, seen()).document() == look(watch, seen()).document()


@pytest.mark.parametrize(
    "change",
    [
        {"layers": ["a", "b"]},
        {"normal": {}},
        {"memories": {}},
        {"memories": {"cusum:layers": [0.0, 1.0]}},
        {"standing": []},
        {"refusals": "many"},
        {"normal": None},
    ],
)
def test_a_damaged_or_foreign_watch_begins_anew(change: dict[str, Any]) -> None:
    document = {**watched(*CALM).document(), **change}
    assert Watch.of(document, SETTINGS, NAMES).document() == begin(SETTINGS, NAMES).document()

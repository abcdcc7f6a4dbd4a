"""What the service asks the machine, and what it remembers in the history."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.drift import Drift
from agent.service.care import recall
from agent.service.chip_watch import ChipWatch
from agent.service.configuration import read_configuration
from agent.service.machine import AgentTime, Warmth, on_mains, read_clocks, read_thermometer
from agent.service.rules import policy_of, watch_settings
from agent.service.settings import CanarySettings, Configuration, all_settings
from agent.watch.budget import Allowance, full, one_day
from agent.watch.clock import AgentClock, Reading
from agent.watch.policy import Policy
from agent.watch.rounds import CanaryRound
from agent.watch.settings import WatchSettings
from agent.watch.wear import Written

ALLOWANCE = Allowance()
DAY_S = 86_400.0


def supply(folder: Path, name: str, kind: str, online: str | None) -> None:
    place = folder / name
    place.mkdir(parents=True)
    (place / "type").write_text(f"{kind}\n", encoding="ascii")
    if online is not None:
        (place / "online").write_text(f"{online}\n", encoding="ascii")


def test_mains_are_what_any_supply_from_outside_says(tmp_path: Path) -> None:
    assert on_mains(tmp_path / "nothing") is None
    supply(tmp_path, "battery", "Battery", "1")
    assert on_mains(tmp_path) is None
    supply(tmp_path, "adapter", "Mains", "0")
    assert on_mains(tmp_path) is False
    supply(tmp_path, "port", "USB", "1")
    assert on_mains(tmp_path) is True


@pytest.mark.parametrize(
    ("text", "celsius"), [("47774\n", 47.774), ("-5000", -5.0), ("21.5", 21.5), ("warm", None)]
)
def test_thermometers_speak_of_degrees_or_thousandths(
    tmp_path: Path, text: str, celsius: float | None
) -> None:
    file = tmp_path / "temp"
    file.write_text(text, encoding="ascii")
    assert read_thermometer(file) == celsius
    assert read_thermometer(tmp_path / "none") is None


@given(st.lists(st.tuples(st.floats(0.1, 400), st.floats(-40, 90)), min_size=1, max_size=60))
def test_the_range_of_temperatures_is_that_of_the_last_while(
    steps: list[tuple[float, float]],
) -> None:
    warmth, now_s, everything = Warmth(), 0.0, []
    for passed_s, value in steps:
        now_s += passed_s
        everything.append((now_s, value))
        warmth.see(now_s, value)
        found = warmth.range_k(now_s, 900.0)
        recent = [one for when, one in everything if now_s - when <= 900.0]
        assert found is not None
        assert found <= max(recent) - min(recent) + 1e-9
        # What comes within ten seconds of another and is not beyond all is not kept.
        spaced = [later for one, later in pairwise(everything) if later[0] - one[0] > 10]
        kept = [one for when, one in spaced if now_s - when <= 900.0]
        assert found >= (max(kept) - min(kept) if kept else 0.0) - 1e-9
    warmth.see(now_s, None)
    assert Warmth().range_k(0.0, 900.0) is None


def test_this_machines_clock_grows() -> None:
    before = AgentTime(AgentClock())
    first, second = before.now_s(), before.now_s()
    assert 0.0 <= first <= second
    assert read_clocks().boot == read_clocks().boot != ""
    assert not before.was_set_back()


def calibration(time_s: float, *, accepted: bool, size: int = 9000) -> dict[str, Any]:
    return {
        "event": "calibration",
        "time_s": time_s,
        "accepted": accepted,
        "bytes_written": size if accepted else 0,
    }


NOW = Reading(50.0, 1.8e9, "now")


def test_a_new_store_has_its_whole_budget_and_an_unknown_one_that_of_a_day() -> None:
    assert recall([], ALLOWANCE, NOW).care.budget == full(ALLOWANCE, 0.0)
    old = recall([calibration(1.8e9 - DAY_S, accepted=True)], ALLOWANCE, NOW)
    day = one_day(ALLOWANCE, 0.0)
    assert old.care.budget.bytes_left == day.bytes_left - 9001
    assert old.care.cost == Written(9001, 4)
    assert old.care.last_attempt_s == -DAY_S
    assert (old.refusals, old.accepted) == (0, True)


@pytest.mark.parametrize("wall_s", [1.7e9, 5.0, None])
def test_a_clock_that_cannot_be_believed_makes_it_wait(wall_s: float | None) -> None:
    history = [calibration(1.8e9 - 1e6, accepted=False), calibration(1.8e9, accepted=False)]
    found = recall(history, ALLOWANCE, Reading(50.0, wall_s, "now"))
    assert found.care.last_attempt_s == found.clock.agent_s == 0.0
    assert found.refusals == 2
    assert recall([{"event": "calibration"}], ALLOWANCE, NOW).care.last_attempt_s == 0.0


def test_agent_time_and_budget_go_on_from_the_newest_note() -> None:
    clock = AgentClock(1000.0, Reading(10.0, 1.8e9 - 500.0, "before"))
    care = {
        "budget": {"bytes_left": 100.0, "erases_left": 3.0, "at_s": 1000.0},
        "last_attempt_s": 900.0,
        "cost": [5000, 3],
        "trial": None,
    }
    note = {"event": "watch", "care": care, "clock": clock.document()}
    found = recall([calibration(0.0, accepted=False), note], ALLOWANCE, NOW)
    assert found.clock.agent_s == 1500.0
    assert (found.care.last_attempt_s, found.care.cost) == (900.0, Written(5000, 3))
    assert found.care.budget.bytes_left == 100.0
    assert (found.refusals, found.accepted) == (0, False)
    later = recall([note, calibration(1.8e9 - 100.0, accepted=False)], ALLOWANCE, NOW)
    assert later.care.last_attempt_s == 1400.0
    assert later.refusals == 1
    assert recall([{"event": "watch"}], ALLOWANCE, NOW).care.budget == one_day(ALLOWANCE, 0.0)


LAYERS = ("a", "b")


def rounds(count: int, factor: float = 1.0) -> list[CanaryRound]:
    return [
        CanaryRound({"a": factor * round(0.1 + n % 3 / 1e3, 5), "b": factor * 0.2}, 1e-3 * factor)
        for n in range(count)
    ]


def looked(chip: ChipWatch, some: list[CanaryRound], state: str = "healthy") -> ChipWatch:
    for seen in some:
        chip = chip.look(seen, Drift(state, 7.0))
    return chip


def test_a_baseline_comes_back_and_judges_as_before() -> None:
    fresh = ChipWatch.begun(WatchSettings(), LAYERS)
    first = looked(fresh, rounds(5))
    again = fresh.recalled(first.refused(promising=False).document())
    assert (again.is_ready, again.watch.refusals, again.watch.hopeless) == (True, 1, True)
    assert again.baseline == first.baseline
    worse = rounds(3, 3.0)
    assert looked(again, worse).drift.state == looked(first, worse).drift.state == "drifted"


@pytest.mark.parametrize(
    "damage",
    [
        {},
        {"baseline": [[1.0, 2.0, 3.0]] * 4},
        {"baseline": [[1.0, 2.0]] * 5},
        {"baseline": [[1.0, 2.0, None]] * 5},
        {"baseline": [[1.0, 2.0, float("nan")]] * 5},
        {"baseline": "gone"},
    ],
)
def test_a_baseline_that_does_not_fit_is_taken_anew(damage: dict[str, Any]) -> None:
    fresh = ChipWatch.begun(WatchSettings(), LAYERS)
    found = fresh.recalled({"refusals": 0, "hopeless": False, **damage})
    assert not found.is_ready
    assert found.baseline == ()


def test_a_chip_that_was_worse_from_the_first_round_on_is_drifted_until_it_is_not() -> None:
    fresh = ChipWatch.begun(WatchSettings(), LAYERS)
    assert looked(fresh, rounds(4), "failed").drift.state == "unknown"
    found = looked(fresh, rounds(5), "failed")
    assert found.drift == Drift("drifted", 7.0)
    assert found.diagnosis(None).changed == "chip"
    found = looked(found, rounds(1), "healthy")
    assert found.drift.state == "healthy"
    assert looked(found, rounds(1), "failed").drift.state == "healthy"  # the charts see to that


def test_the_defaults_are_those_of_the_watch_and_its_policy() -> None:
    assert policy_of(Configuration()) == Policy()
    settings = watch_settings(Configuration())
    hourly = watch_settings(Configuration(canaries=CanarySettings(every_s=3600.0)))
    assert hourly == WatchSettings()
    assert settings.rounds_between_false_alarms == 90 * DAY_S / 60.0


@given(data=st.data())
def test_every_configuration_makes_a_watch_and_a_policy(data: st.DataObject) -> None:
    chosen = {
        (section, spec.name): data.draw(
            st.sampled_from([spec.metadata[n] for n in ("least", "most")])
        )
        for section, spec in all_settings()
        if section in {"watch", "canaries", "calibration"} and type(spec.default) is float
    }
    chosen["calibration", "longest_interval_s"] = 1e9
    configuration = read_configuration(None, {}, chosen)
    settings = watch_settings(configuration)
    ChipWatch.begun(settings, LAYERS)
    looked(ChipWatch.begun(settings, LAYERS), rounds(7))
    policy_of(configuration)

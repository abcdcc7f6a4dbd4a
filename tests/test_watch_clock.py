"""Agent time, on machines whose clocks jump, stand or are not there."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.watch.clock import EARLIEST_WALL_S, LONGEST_PAUSE_S, AgentClock, Reading, advance

NOON_S = 1_800_000_000.0


def clock_after(*readings: Reading) -> AgentClock:
    clock = AgentClock()
    for reading in readings:
        clock = advance(clock, reading)
    return clock


def test_within_one_start_the_monotonic_clock_counts_whatever_the_wall_clock_does() -> None:
    found = clock_after(
        Reading(10.0, NOON_S, "a"),
        Reading(70.0, NOON_S - 1e6, "a"),
        Reading(100.0, NOON_S + 1e9, "a"),
    )
    assert found.agent_s == 90.0
    assert found.set_back == 1


def test_over_a_restart_the_wall_clock_counts_where_it_can_be_believed() -> None:
    first = Reading(5_000.0, NOON_S, "a")
    assert clock_after(first, Reading(3.0, NOON_S + 600, "b")).agent_s == 600.0
    for wall_s in (None, NOON_S - 600, 1_000.0, EARLIEST_WALL_S - 1, NOON_S + LONGEST_PAUSE_S + 1):
        found = clock_after(first, Reading(3.0, wall_s, "b"))
        assert found.agent_s == 0.0, wall_s


def test_a_machine_without_a_clock_counts_the_time_that_it_runs() -> None:
    readings = [Reading(seconds, None, boot) for boot in "abc" for seconds in (4.0, 104.0, 304.0)]
    assert clock_after(*readings).agent_s == 900.0


def test_a_clock_that_is_set_after_the_start_adds_no_years() -> None:
    found = clock_after(
        Reading(1.0, 0.0, "a"),  # 1970: not set yet
        Reading(31.0, NOON_S, "a"),
        Reading(2.0, 0.0, "b"),
        Reading(32.0, NOON_S + 500, "b"),
    )
    assert found.agent_s == 60.0


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e7),
            st.one_of(st.none(), st.floats(0, 4e9)),
            st.sampled_from("ab"),
        ),
        max_size=20,
    )
)
def test_agent_time_never_runs_backwards(steps: list[tuple[float, float | None, str]]) -> None:
    clock = AgentClock()
    for step in steps:
        after = advance(clock, Reading(*step))
        assert after.agent_s >= clock.agent_s
        clock = AgentClock.of(json.loads(json.dumps(after.document())))
        assert clock == after


@pytest.mark.parametrize(
    "damage", [{}, {"agent_s": "x"}, {"agent_s": -1.0}, {"agent_s": float("nan")}, {"last": 3}]
)
def test_a_damaged_clock_begins_at_zero(damage: dict[str, object]) -> None:
    document = clock_after(Reading(0.0, None, "a"), Reading(50.0, None, "a")).document()
    assert AgentClock.of({**document, **damage} if damage else {}) == AgentClock()

"""Canaries make the measurement that `measure` makes, at a pace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api import Agent
from agent.runtimes.base import Trace
from agent.service.canaries import Canaries, Round
from agent.service.settings import CanarySettings
from device_models.errors import DeviceModelError
from tests.test_agent_api import put

HELD_BACK = 16
ALWAYS = CanarySettings(share=0.5, every_s=0.0)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with Agent.open(put(tmp_path / "store", tmp_path), follow_s=None) as one:
        yield one


class Clock:
    """Time that passes where a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def rounds(canaries: Canaries, clock: Clock | None = None) -> Round:
    """One round of canaries."""
    for _ in range(10 * HELD_BACK):
        if clock is not None:
            clock.now_s += 1.0
        if (done := canaries.turn(idle=True)) is not None:
            return done
    raise AssertionError("no round")


def without_pace(agent: Agent) -> Canaries:
    """Canaries on a clock that stands still: each takes no time and may be followed at once."""
    return Canaries(agent, ALWAYS, lambda: 0.0)


def test_a_round_is_the_measurement(agent: Agent) -> None:
    done = rounds(without_pace(agent))
    measured = agent.measure().judgement
    assert done.canaries == HELD_BACK
    np.testing.assert_allclose(done.judgement.loss, measured.loss, rtol=1e-5)
    assert list(done.judgement.errors) == list(measured.errors)
    for name, error in measured.errors.items():
        found = asdict(done.judgement.errors[name])
        np.testing.assert_allclose(list(found.values()), list(asdict(error).values()), rtol=1e-4)


def test_draws_of_moments_make_one_too(tmp_path: Path) -> None:
    store = put(tmp_path / "store", tmp_path, references_as="moments", references=64, held_back=16)
    with Agent.open(store, follow_s=None) as agent:
        done = rounds(without_pace(agent))
        measured = agent.measure().judgement
    np.testing.assert_allclose(done.judgement.loss, measured.loss, rtol=1e-5)
    np.testing.assert_allclose(done.judgement.mean_error, measured.mean_error, rtol=1e-5)


def test_new_factors_begin_a_new_round(agent: Agent) -> None:
    canaries = without_pace(agent)
    for _ in range(HELD_BACK // 2):
        assert canaries.turn(idle=True) is None
    assert agent.calibrate().verdict.accepted
    for _ in range(HELD_BACK - 1):
        assert canaries.turn(idle=True) is None
    done = canaries.turn(idle=True)
    assert done is not None
    assert done.sequence == 1
    np.testing.assert_allclose(done.judgement.loss, agent.measure().judgement.loss, rtol=1e-5)


@given(
    share=st.floats(0.01, 0.5),
    costs=st.lists(st.floats(0.001, 0.3), min_size=1, max_size=20),
    idle=st.booleans(),
)
def test_canaries_take_no_more_than_their_share(
    share: float,
    costs: list[float],
    idle: bool,  # noqa: FBT001  # given by hypothesis
) -> None:
    clock = Clock()
    canaries = Canaries(None, CanarySettings(share=share, every_s=0.0), clock)  # type: ignore[arg-type]  # never asked
    begun_s, spent_s = clock.now_s, 0.0
    for cost_s in costs:
        while not (
            canaries._next_s() <= clock.now_s and (idle or canaries._overdue_s <= clock.now_s)
        ):
            clock.now_s = canaries._due_s if idle else canaries._overdue_s
        started_s = clock.now_s
        # The pauses before this canary paid for all that ran before.
        bound = share if idle else share / (2 - share)
        assert spent_s <= bound * (started_s - begun_s) * (1 + 1e-9)
        clock.now_s += cost_s
        spent_s += cost_s
        canaries._pace(started_s)


def test_a_busy_source_is_interrupted_only_when_a_canary_is_overdue(agent: Agent) -> None:
    clock = Clock()
    canaries = Canaries(agent, CanarySettings(share=0.1, every_s=0.0), clock)
    assert canaries.turn(idle=False) is None  # the very first is overdue
    assert canaries._ran == 1
    canaries._due_s, canaries._overdue_s = 2000.0, 3000.0
    for now_s, idle, ran in (
        (1999.0, True, 1),
        (2000.0, False, 1),
        (2999.0, False, 1),
        (3000.0, False, 2),
    ):
        clock.now_s = now_s
        canaries.turn(idle=idle)
        assert canaries._ran == ran
    canaries._due_s = clock.now_s
    canaries.turn(idle=True)
    assert canaries._ran == 3


def test_no_share_no_canary(agent: Agent) -> None:
    canaries = Canaries(agent, CanarySettings(share=0.0))
    assert canaries.turn(idle=True) is None
    assert canaries.wait_s(0.5) == 0.5


def test_canaries_step_aside_for_a_change(agent: Agent) -> None:
    canaries = without_pace(agent)
    with agent.between_changes() as session:
        assert session is not None
        canaries.turn(idle=True)
        assert canaries._ran == 0


class Broken:
    """A board that has fallen off."""

    def run(self, *_: Any) -> Trace:
        raise DeviceModelError("no board at the port")


def test_a_board_that_does_not_answer_ends_the_round_for_a_while(agent: Agent) -> None:
    clock = Clock()
    canaries = Canaries(agent, ALWAYS, clock)
    canaries.turn(idle=True)
    canaries._measuring._runtime = Broken()  # type: ignore[union-attr,assignment]  # it has begun
    clock.now_s += 100.0
    with pytest.raises(DeviceModelError):
        canaries.turn(idle=True)
    for _ in range(9):
        clock.now_s += 1.0
        assert canaries.turn(idle=True) is None
        assert canaries._measuring is None
    assert rounds(canaries, clock).canaries == HELD_BACK

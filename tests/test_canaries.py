"""Canaries make the measurement that `measure` makes, at a pace; what follows from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api import Agent
from agent.drift import Drift
from agent.notices import Notice
from agent.running import Running
from agent.runtimes.base import Answer, Positions, Trace
from agent.service.canaries import Canaries, Round
from agent.service.keeper import Keeper, RatioWatch, Watch
from agent.service.policy import (
    Attempts,
    Situation,
    attempts_in,
    decide,
    interval_s,
    trial_problem,
)
from agent.service.settings import CalibrationSettings, CanarySettings
from agent.session import open_session
from agent.store.store import Store
from calib.factors import Factors
from calib.layer_error import LayerError
from calib.verify import Judgement
from device_models.errors import DeviceModelError
from tests.agent_stores import npp
from tests.test_agent_api import put

HELD_BACK = 16
ALWAYS = CanarySettings(share=0.5, every_s=0.0)
AUTO = CalibrationSettings(auto=True, least_interval_s=100.0, longest_interval_s=1000.0)


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


# What follows from a round.


def situation(
    state: str = "drifted", now_s: float = 1000.0, sequence: int = 1, **more: Any
) -> Situation:
    attempts = Attempts(more.pop("last_s", None), more.pop("refusals", 0))
    return Situation(now_s, Drift(state, None), sequence, attempts, **more)


@pytest.mark.parametrize(
    ("given_situation", "calibrates"),
    [
        (situation(), True),
        (situation("failed"), True),
        (situation("watch"), False),
        (situation("healthy"), False),
        (situation("unknown", sequence=0), True),
        (situation("unknown"), False),
        (situation(busy=True), False),
        (situation(last_s=901.0), False),
        (situation(last_s=900.0), True),
        (situation(last_s=900.0, refusals=1), False),
        (situation(last_s=800.0, refusals=1), True),
        (situation(last_s=0.0, refusals=60), True),
        (situation(last_s=1.0, refusals=4), False),
    ],
)
def test_when_it_calibrates(
    given_situation: Situation,
    calibrates: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    decision = decide(AUTO, given_situation)
    assert decision.calibrate is calibrates
    assert decision.reason
    assert not decide(CalibrationSettings(), given_situation).calibrate  # auto is off


@given(refusals=st.integers(0, 10_000), least=st.floats(0, 1e9), longest=st.floats(0, 1e9))
def test_pauses_grow_to_an_end(refusals: int, least: float, longest: float) -> None:
    settings = CalibrationSettings(least_interval_s=least, longest_interval_s=longest)
    now, later = interval_s(settings, refusals), interval_s(settings, refusals + 1)
    assert least <= now <= later <= max(least, longest)


def test_what_the_history_tells_of_attempts() -> None:
    def done(time_s: float, *, accepted: bool) -> dict[str, Any]:
        return {"event": "calibration", "time_s": time_s, "accepted": accepted}

    history = [done(100.0, accepted=False), done(200.0, accepted=True)]
    assert attempts_in([], 1000.0, 50.0) == Attempts()
    assert attempts_in(history, 1000.0, 50.0) == Attempts(50.0 - 800.0, 0)
    history += [{"event": "rollback", "time_s": 300.0}, done(400.0, accepted=False)]
    assert attempts_in(history, 1000.0, 50.0) == Attempts(50.0 - 600.0, 1)
    history += [{"event": "rollback", "time_s": 500.0, "trial": True}]
    assert attempts_in(history, 1000.0, 50.0).refusals == 2
    # A clock that went back, or none: as if it had just been.
    assert attempts_in(history, 10.0, 50.0).last_s == 50.0
    assert attempts_in([{"event": "calibration", "accepted": True}], 10.0, 50.0).last_s == 50.0


def judgement(loss: float, error: float) -> Judgement:
    return Judgement(loss, {"layer": LayerError(error, 0.0, 0.0, 1.0)})


@pytest.mark.parametrize(
    ("now", "passes"),
    [
        (judgement(0.5, 0.1), True),
        (judgement(1.0, 0.2), True),
        (judgement(1.1, 0.1), False),
        (judgement(0.5, 0.3), False),
        (judgement(math.nan, 0.1), False),
        (judgement(0.5, math.inf), False),
    ],
)
def test_what_passes_a_trial(
    now: Judgement,
    passes: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    assert (trial_problem(judgement(1.0, 0.2), now) is None) is passes


class Kept:
    """An agent with a keeper, on a clock of the test's."""

    def __init__(
        self, agent: Agent, settings: CalibrationSettings = AUTO, watch: Watch | None = None
    ) -> None:
        self.agent, self.clock = agent, Clock()
        self.told: list[Notice] = []
        watch = watch or RatioWatch(agent)
        self.keeper = Keeper(agent, settings, watch, self.told.append, self.clock)
        self.canaries = without_pace(agent)

    def round(self) -> None:
        """A round of canaries, and the end of what follows from it."""
        if self.keeper.turn():
            self.canaries.again()
        self.keeper.round(rounds(self.canaries))
        self.keeper.finish()

    def events(self) -> list[str]:
        return [notice.event for notice in self.told if notice.event != "decision"]


def test_a_chip_without_factors_is_calibrated_once_and_they_pass_their_trial(agent: Agent) -> None:
    kept = Kept(agent)
    kept.round()
    assert agent.sequence == 1
    for _ in range(3):
        kept.clock.now_s += 1000.0
        kept.round()
    assert agent.sequence == 1
    assert kept.events() == ["canaries", "calibration", "canaries", "trial", "canaries", "canaries"]
    assert kept.told[1].fields["calibrate"] is True


def test_nothing_is_calibrated_that_nobody_allowed(agent: Agent) -> None:
    kept = Kept(agent, CalibrationSettings())
    kept.round()
    assert agent.sequence == 0
    assert "auto is off" in kept.told[-1].fields["reason"]


def test_a_chip_that_aged_is_calibrated_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = put(tmp_path / "store", tmp_path, chip="pcm")
    with Agent.open(store, follow_s=None) as agent:
        kept = Kept(agent)
        kept.round()
        kept.round()
        assert npp(capsys, "measure", "--store", store, "--age-s", 1e8).code == 0
        agent.refresh()
        kept.clock.now_s += 10.0
        kept.round()
        assert agent.sequence == 1  # too soon
        kept.clock.now_s += 100.0
        kept.round()
        assert agent.sequence == 2


def test_a_persons_calibration_goes_first(agent: Agent) -> None:
    kept = Kept(agent)
    with Store(agent.session.store.directory).lock():
        kept.round()
    assert agent.sequence == 0
    assert kept.told[-1].level == "info"
    kept.round()  # at once: nothing was refused
    assert agent.sequence == 1


class Spoiling:
    """A chip that is spoilt, in place, as soon as it is told to."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.layers, self.spoilt = inner, inner.layers, False

    def run(self, samples: Any, factors: Factors, taps: Positions) -> Trace:
        trace = self.inner.run(samples, factors, taps)
        return Trace(-trace.answers, trace.layers) if self.spoilt else trace

    def probe(self, layer: Any, rows: Any) -> Any:
        return self.inner.probe(layer, rows)

    def loaded(self, factors: Factors) -> Answer:
        return lambda samples: self.run(samples, factors, {}).answers

    def close(self) -> None:
        self.inner.close()


def spoiling(store: Path) -> tuple[Agent, Spoiling]:
    """An agent on such a chip."""
    session = open_session(Store(store))
    chip = Spoiling(session.loop.runtime)
    session = replace(session, loop=replace(session.loop, runtime=chip))
    return Agent(Running.of(session)), chip


def test_factors_that_fail_their_trial_are_rolled_back(tmp_path: Path) -> None:
    agent, chip = spoiling(put(tmp_path / "store", tmp_path))
    kept = Kept(agent)
    kept.round()
    assert agent.sequence == 1
    chip.spoilt = True
    kept.round()
    assert agent.sequence == 0
    told = kept.told[-1]
    assert (told.event, told.level, told.fields["failed"]) == ("trial", "warning", 1)
    (event,) = [e for e in agent.session.store.read_history().entries if e["event"] == "rollback"]
    assert event["trial"] is True
    kept.clock.now_s += 150.0  # more than the least interval, less than twice that
    kept.round()
    assert "the next one may be in" in kept.told[-1].fields["reason"]


def attempts_of(agent: Agent) -> Attempts:
    """What the store's history says."""
    return attempts_in(agent.session.store.read_history().entries, 0.0, 0.0)


class AlwaysDrifted:
    """A watch that is never content."""

    def begin(self) -> None:
        """Nothing is remembered."""

    def look(self, _: Judgement) -> Drift:
        return Drift("drifted", None)


def test_refusals_make_it_wait_longer(agent: Agent) -> None:
    while agent.calibrate().verdict.accepted:  # until nothing helps any more
        assert agent.sequence < 10
    best, refused = agent.sequence, attempts_of(agent).refusals
    assert refused == 1
    kept = Kept(agent, watch=AlwaysDrifted())
    waits = []
    for _ in range(5):
        kept.clock.now_s += 2000.0
        kept.round()
        assert kept.told[-1].fields["accepted"] is False
        kept.round()
        waits.append(kept.told[-1].fields["reason"])
    told = [float(text.rpartition(" in ")[2].split()[0]) for text in waits]
    assert told == [400, 800, 1000, 1000, 1000]  # the agent's own refusal was the first
    assert agent.sequence == best


def test_another_bundle_ends_a_trial(agent: Agent, tmp_path: Path) -> None:
    kept = Kept(agent)
    kept.round()
    assert kept.keeper._trial is not None
    put(agent.session.store.directory, tmp_path, name="coarse", scheme="int4")
    agent.refresh()
    assert kept.keeper.turn()
    assert kept.keeper._trial is None

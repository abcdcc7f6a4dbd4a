"""What the service does for its chip: calibrates, tries, rolls back, waits, and says why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.api import Agent
from agent.errors import StoreError
from agent.notices import Notice
from agent.running import Running
from agent.runtimes.base import Answer, Positions, Trace
from agent.service.canaries import Canaries, Round
from agent.service.keeper import Keeper
from agent.service.machine import Machine
from agent.service.settings import (
    CalibrationSettings,
    CanarySettings,
    Configuration,
    WatchSettings,
)
from agent.session import open_session
from agent.store.disk import SystemDisk
from agent.store.store import Store
from agent.watch.clock import Reading
from agent.watch.inputs import WINDOW
from calib.factors import Factors
from tests.agent_stores import labelled, npp
from tests.test_agent_api import put

BASELINE, TRIAL = 5, 3
INTERVAL_S = 100.0
CANARIES = CanarySettings(share=0.5, every_s=60.0)
NEVER_MIND = {"least_gain": 0.0, "longest_interval_s": 1000.0, "least_interval_s": INTERVAL_S}
AUTO = CalibrationSettings(auto=True, **NEVER_MIND)  # type: ignore[arg-type]  # all floats


class FakeMachine:
    """Clocks and power as a test wants them."""

    def __init__(self) -> None:
        self.now_s, self.wall_s, self.boot = 1000.0, 1.8e9, "first"
        self.mains: bool | None = None

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds
        self.wall_s += seconds

    def reading(self) -> Reading:
        return Reading(self.now_s, self.wall_s, self.boot)

    def machine(self) -> Machine:
        return Machine(self.reading, lambda: self.mains)


class Kept:
    """An agent with a keeper, on a machine of the test's."""

    def __init__(
        self,
        agent: Agent,
        calibration: CalibrationSettings = AUTO,
        machine: FakeMachine | None = None,
        watch: WatchSettings = WatchSettings(),  # noqa: B008  # frozen
    ) -> None:
        self.agent, self.machine = agent, machine or FakeMachine()
        self.told: list[Notice] = []
        self.seen: list[str] = []
        self.keeper = Keeper(
            agent,
            Configuration(canaries=CANARIES, calibration=calibration, watch=watch),
            self.told.append,
            lambda _, drift: self.seen.append(drift.state),
            self.machine.machine(),
        )
        self.canaries = Canaries(agent, replace(CANARIES, every_s=0.0), lambda: 0.0)

    def measured(self) -> Round:
        """A round of canaries."""
        while (done := self.canaries.turn(idle=True)) is None:
            pass
        return done

    def round(self, times: int = 1) -> None:
        """Rounds of canaries, and the end of what follows from each."""
        for _ in range(times):
            if self.keeper.turn():
                self.canaries.again()
            self.keeper.round(self.measured())
            self.keeper.finish()
            self.machine.pass_s(1.0)

    def events(self, *left_out: str) -> list[str]:
        return [n.event for n in self.told if n.event not in {"decision", "canaries", *left_out}]

    def last(self, event: str) -> Notice:
        return next(notice for notice in reversed(self.told) if notice.event == event)

    def reason(self) -> str:
        """Of the last decision."""
        return str(self.last("decision").fields["reason"])


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with Agent.open(put(tmp_path / "store", tmp_path), follow_s=None) as one:
        yield one


def notes(agent: Agent) -> list[dict[str, Any]]:
    entries = agent.session.store.read_history().entries
    return [dict(entry) for entry in entries if entry["event"] == "watch"]


def test_a_chip_without_factors_is_calibrated_once_and_they_pass_their_trial(agent: Agent) -> None:
    kept = Kept(agent)
    kept.round(BASELINE - 1)
    assert agent.sequence == 0
    assert kept.seen == ["unknown"] * (BASELINE - 1)
    kept.round()
    assert agent.sequence == 1
    assert kept.last("decision").fields["calibrate"] is True
    for _ in range(3 * BASELINE):
        kept.machine.pass_s(1000.0)
        kept.round()
    assert agent.sequence == 1
    assert kept.events() == ["watch", "watch", "calibration", "watch", "trial", "watch"]
    assert kept.last("watch").fields["changed"] == "nothing"
    assert kept.seen[-1] == "healthy"


def test_rounds_hurry_until_baseline_and_trial_are_complete(agent: Agent) -> None:
    kept = Kept(agent)
    assert kept.keeper.in_a_hurry
    kept.round(BASELINE)  # and the first of the calibration
    kept.round(BASELINE - 1)
    assert kept.keeper.in_a_hurry
    kept.round()
    assert not kept.keeper.in_a_hurry


def test_nothing_is_calibrated_that_nobody_allowed(agent: Agent) -> None:
    kept = Kept(agent, CalibrationSettings(least_gain=0.0))
    kept.round(BASELINE + 1)
    assert agent.sequence == 0
    assert "auto is off" in kept.reason()


def test_what_it_gains_has_to_be_worth_the_flash(agent: Agent) -> None:
    kept = Kept(agent, replace(AUTO, least_gain=100.0))
    kept.round(BASELINE + 1)
    assert agent.sequence == 0
    assert "the flash it wears is worth 1e+02" in kept.reason()


def aged(agent: Agent, capsys: pytest.CaptureFixture[str], age_s: float) -> None:
    store = agent.session.store.path
    assert npp(capsys, "measure", "--store", store, "--age-s", age_s).code == 0
    agent.refresh()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Agent]:
    """An agent on phase-change memory, which ages."""
    store = put(tmp_path / "store", tmp_path, chip="pcm")
    with Agent.open(store, follow_s=None) as one:
        yield one


def test_a_chip_that_aged_is_said_to_have_changed_and_calibrated_again(
    memory: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Kept(memory)
    kept.round(2 * BASELINE)
    assert memory.sequence == 1
    aged(memory, capsys, 1e8)
    kept.round(3)
    said = kept.last("watch")
    assert (said.level, said.fields["drift"], said.fields["changed"]) == (
        "warning",
        "drifted",
        "chip",
    )
    assert memory.sequence == 1
    assert f"{INTERVAL_S:.0f} s are waited" in kept.reason()
    kept.machine.pass_s(INTERVAL_S)
    kept.round()
    assert memory.sequence == 2
    kept.round(BASELINE)
    assert kept.seen[-1] == "healthy"
    assert notes(memory)[-1]["changed"] == "nothing"


def test_what_changed_is_noted_for_status(
    memory: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Kept(memory, CalibrationSettings(least_gain=0.0))
    kept.round(BASELINE)
    aged(memory, capsys, 1e8)
    kept.machine.pass_s(3600.0)  # so often at most
    kept.round(3)
    said = npp(capsys, "status", "--store", memory.session.store.path, "--json").document["watch"]
    assert (said["drift"]["state"], said["changed"], said["sequence"]) == ("drifted", "chip", 0)
    assert "drifted: mean layer error" in said["reason"]
    assert "changed: chip" in npp(capsys, "status", "--store", memory.session.store.path).out
    assert len(notes(memory)) == 2
    kept.round(5)
    assert len(notes(memory)) == 2


def test_flash_that_is_scarce_is_not_worn_by_news(
    memory: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Kept(memory, CalibrationSettings(bytes_per_day=100.0))
    kept.round(BASELINE)
    aged(memory, capsys, 1e8)
    kept.machine.pass_s(3600.0)
    kept.round(3)
    assert kept.last("watch").fields["changed"] == "chip"
    assert len(notes(memory)) == 1  # the baseline, which a restart needs


def test_a_restart_takes_no_drifted_chip_for_normal(
    memory: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    Kept(memory).round(2 * BASELINE)
    assert notes(memory)[-1]["sequence"] == memory.sequence == 1
    aged(memory, capsys, 1e8)
    again = Kept(memory, CalibrationSettings(least_gain=0.0))
    again.round(3)
    assert again.seen[0] != "unknown"
    assert again.seen[-1] == "drifted"


def test_factors_of_others_that_have_drifted_before_it_came_count_as_drifted(
    memory: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    assert memory.calibrate().verdict.accepted
    aged(memory, capsys, 1e8)
    kept = Kept(memory)
    kept.round(BASELINE - 1)
    assert set(kept.seen) == {"unknown"}
    kept.machine.pass_s(1e6)
    kept.round()
    assert kept.seen[-1] == "drifted"
    assert kept.last("watch").fields["changed"] == "chip"
    assert "the history gives for these factors" in kept.last("watch").fields["reason"]
    assert memory.sequence == 2


def test_a_change_of_input_is_no_change_of_the_chip(agent: Agent) -> None:
    kept = Kept(agent)
    kept.round(2 * BASELINE)
    x, _ = labelled(WINDOW, 5)
    for factor, changed in ((1.0, "nothing"), (4.0, "input")):
        for _ in range(4):
            for sample in x:
                kept.keeper._live._due_s = 0.0  # as if it were time for one
                kept.keeper.live(factor * sample)
        kept.machine.pass_s(1e6)
        kept.round()
        assert kept.last("canaries").fields["changed"] == changed
    assert agent.sequence == 1
    assert "the inputs have moved" in kept.last("watch").fields["reason"]
    assert "a calibration repairs chips" in kept.reason()


def test_live_inputs_take_little_time(agent: Agent) -> None:
    live = Kept(agent).keeper._live
    now = iter([0.0, 0.01, 0.5, 0.98, 1.1, 1.11, 9.0, 9.0])
    live._clock = lambda: next(now)
    x, _ = labelled(8, 5)
    counts = []
    for _ in range(4):
        live.see(x)
        assert live.inputs is not None
        counts.append(live.inputs.count)
    assert counts == [4, 4, 4, 8]
    live.see(np.zeros((3, 3)))  # another network's
    assert live.inputs.count == 8


def test_a_persons_calibration_goes_first(agent: Agent) -> None:
    kept = Kept(agent)
    kept.round(BASELINE - 1)
    with Store(agent.session.store.directory).lock():
        kept.round()
    assert agent.sequence == 0
    assert kept.last("calibration").level == "info"
    kept.round()  # at once: nothing was refused
    assert agent.sequence == 1


def test_a_persons_calibration_counts_for_the_interval(agent: Agent) -> None:
    kept = Kept(agent)
    before = kept.keeper._care
    assert agent.calibrate().verdict.accepted
    assert kept.keeper.turn()
    assert before.last_attempt_s is None
    assert kept.keeper._care.last_attempt_s == kept.keeper._time.now_s()


def test_on_battery_it_waits(agent: Agent) -> None:
    kept = Kept(agent)
    kept.machine.mains = False
    kept.round(BASELINE + 1)
    assert agent.sequence == 0
    assert "on battery" in kept.reason()
    kept.machine.mains = True
    kept.round()
    assert agent.sequence == 1


def test_it_waits_for_the_temperature(agent: Agent, tmp_path: Path) -> None:
    thermometer = tmp_path / "temp"
    thermometer.write_text("21000\n", encoding="ascii")
    kept = Kept(agent, replace(AUTO, thermometer=str(thermometer)))
    kept.round(BASELINE - 1)
    thermometer.write_text("41500\n", encoding="ascii")
    kept.round(2)
    assert agent.sequence == 0
    assert "has changed by 20.5 K" in kept.reason()
    kept.machine.pass_s(901.0)
    kept.round()
    assert agent.sequence == 1


def test_without_flash_budget_it_waits_for_tomorrow(
    memory: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Kept(memory, replace(AUTO, bytes_per_day=5000.0, days_kept=1.0))
    kept.round(2 * BASELINE)
    cost = kept.keeper._care.cost
    assert cost.bytes < 5000 < 2 * cost.bytes, "the budget of a day is one calibration"
    kept.machine.pass_s(INTERVAL_S)
    aged(memory, capsys, 1e8)
    kept.round(3)
    assert memory.sequence == 1
    assert "too little for a calibration" in kept.reason()
    kept.machine.pass_s(86_400.0)
    kept.round()
    assert memory.sequence == 2


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


def rolled_back(agent: Agent) -> list[dict[str, Any]]:
    entries = agent.session.store.read_history().entries
    return [dict(entry) for entry in entries if entry["event"] == "rollback"]


def test_factors_that_fail_their_trial_are_rolled_back(tmp_path: Path) -> None:
    agent, chip = spoiling(put(tmp_path / "store", tmp_path))
    kept = Kept(agent)
    kept.round(BASELINE)
    assert agent.sequence == 1
    chip.spoilt = True
    kept.round(TRIAL)
    assert agent.sequence == 0
    told = kept.last("trial")
    assert (told.level, told.fields["failed"]) == ("warning", 1)
    (event,) = rolled_back(agent)
    assert event["trial"] is True
    kept.round()
    assert kept.seen[-1] != "unknown"  # it goes on with what it knew of the old factors
    assert "are waited after 1 refusals" in kept.reason()


def test_its_own_calibration_is_paid_for_once(agent: Agent) -> None:
    kept = Kept(agent)
    full = kept.keeper._care.budget
    kept.round(BASELINE)
    written = kept.last("calibration").fields["bytes_written"]
    notes_bytes = sum(len(json.dumps(note)) for note in notes(agent))
    spent = full.bytes_left - kept.keeper._care.budget.bytes_left
    assert written <= spent <= written + 2 * notes_bytes
    assert kept.keeper.turn() is False  # nobody else has changed anything


def test_others_may_follow_before_a_calibration_of_ours_is_done_and_cost_nothing(
    agent: Agent,
) -> None:
    kept = Kept(agent)
    kept.round(BASELINE - 1)
    kept.keeper.round(kept.measured())  # which begins a calibration
    while kept.keeper._job is not None:
        kept.canaries.turn(idle=True)
        changed = kept.keeper.turn()
    assert changed
    assert kept.keeper._care.trial is not None
    assert agent.sequence == 1


def test_a_roll_back_that_cannot_be_ends_the_trial(tmp_path: Path) -> None:
    agent, chip = spoiling(put(tmp_path / "store", tmp_path))
    kept = Kept(agent)
    kept.round(BASELINE)
    chip.spoilt = True
    slots = sorted(agent.session.store.path.glob("factors.*"))
    for slot in slots:
        slot.write_bytes(b"\0" * slot.stat().st_size)
    kept.round(TRIAL)
    assert kept.last("keeper").level == "warning"
    assert kept.keeper._care.trial is None


def test_a_trial_goes_on_after_a_restart(tmp_path: Path) -> None:
    agent, chip = spoiling(put(tmp_path / "store", tmp_path))
    kept = Kept(agent)
    kept.round(BASELINE)
    assert agent.sequence == 1
    chip.spoilt = True
    again = Kept(agent, machine=kept.machine)
    again.round(TRIAL)
    assert agent.sequence == 0
    assert len(rolled_back(agent)) == 1
    assert notes(agent)[-1]["chip"]["refusals"] == 1


def test_refusals_make_it_wait_longer_and_a_restart_forgets_none(agent: Agent) -> None:
    while agent.calibrate().verdict.accepted:  # until nothing helps any more
        assert agent.sequence < 10
    best = agent.sequence
    kept = Kept(agent, CalibrationSettings(least_gain=0.0))
    kept.round(BASELINE)
    assert kept.keeper._chip.watch.refusals == 1  # the agent's own
    drifted = replace(kept.keeper._chip.watch.standing, state="drifted")
    waits = []
    for _ in range(5):
        watch = replace(kept.keeper._chip.watch, standing=drifted)
        kept.keeper._chip = replace(kept.keeper._chip, watch=watch)
        kept.keeper._start()
        kept.keeper.finish()
        assert kept.last("calibration").fields["accepted"] is False
        kept = Kept(agent, machine=kept.machine)
        watch = replace(kept.keeper._chip.watch, standing=drifted)
        kept.keeper._chip = replace(kept.keeper._chip, watch=watch)
        kept.round()
        waits.append(kept.reason())
    told = [float(text.partition(" calibration, ")[2].split()[0]) for text in waits]
    assert told == [200, 400, 800, 1000, 1000]
    assert agent.sequence == best


def test_another_bundle_ends_a_trial(agent: Agent, tmp_path: Path) -> None:
    kept = Kept(agent)
    kept.round(BASELINE)
    assert kept.keeper._care.trial is not None
    put(agent.session.store.directory, tmp_path, name="coarse", scheme="int4")
    agent.refresh()
    assert kept.keeper.turn()
    assert kept.keeper._care.trial is None
    kept.round()
    assert kept.seen[-1] == "unknown"


def test_a_clock_that_goes_back_is_told_and_counts_for_nothing(agent: Agent) -> None:
    kept = Kept(agent)
    kept.round()
    before = kept.keeper._time.now_s()
    kept.machine.wall_s -= 1e7
    kept.round()
    assert kept.last("clock").level == "warning"
    assert kept.keeper._time.now_s() == before + 1.0
    kept.round()
    assert kept.events().count("clock") == 1


def test_a_machine_without_a_clock_waits_its_intervals_anew(
    memory: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Kept(memory)
    kept.round(2 * BASELINE)
    kept.machine.now_s, kept.machine.wall_s, kept.machine.boot = 5.0, 5.0, "second"
    aged(memory, capsys, 1e8)
    again = Kept(memory, machine=kept.machine)
    again.round(3)
    assert "s since the last calibration, 100 s are waited" in again.reason()
    again.machine.pass_s(INTERVAL_S)
    again.round()
    assert memory.sequence == 2


class FullDisk(SystemDisk):
    """A disk that takes nothing once it is full."""

    def __init__(self) -> None:
        self.full = False

    def write(self, handle: int, offset: int, data: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().write(handle, offset, data)


def test_a_note_that_cannot_be_written_is_told_and_written_later(
    tmp_path: Path,
) -> None:
    disk = FullDisk()
    agent = Agent(Running.of(open_session(Store(put(tmp_path / "store", tmp_path), disk))))
    kept = Kept(agent, CalibrationSettings())
    disk.full = True
    kept.round(BASELINE)
    assert "not noted in the history" in kept.last("store").fields["reason"]
    assert "disk is full" in kept.last("store").fields["reason"]
    disk.full = False
    kept.round()
    assert notes(agent) == []  # not at once: such a disk is not asked again and again
    kept.machine.pass_s(3600.0)
    kept.round()
    assert len(notes(agent)) == 1


@pytest.mark.parametrize(
    "damage",
    [
        {"chip": 7},
        {"chip": {"baseline": [[None]], "refusals": 1, "hopeless": False}},
        {"care": {"budget": "all", "last_attempt_s": "now"}},
        {"clock": [], "care": None},
    ],
)
def test_damaged_notes_begin_anew(agent: Agent, damage: dict[str, Any]) -> None:
    Kept(agent, CalibrationSettings()).round(BASELINE)
    (note,) = notes(agent)
    json.dumps(note, allow_nan=False)
    with agent.session.store.lock():
        agent.session.store.append_history({**note, **damage})
    kept = Kept(agent)
    kept.round(BASELINE)
    assert agent.sequence == 1


def test_other_settings_are_taken_over(agent: Agent) -> None:
    kept = Kept(agent, CalibrationSettings())
    kept.round(BASELINE)
    kept.keeper.configure(Configuration(canaries=CANARIES, calibration=AUTO))
    kept.round()
    assert agent.sequence == 1


def test_a_history_that_cannot_be_read_is_told_while_it_runs(agent: Agent) -> None:
    kept = Kept(agent, CalibrationSettings())
    kept.round(BASELINE)
    assert agent.calibrate().verdict.accepted
    path = agent.session.store.path / "history.jsonl"
    path.unlink()
    path.mkdir()
    assert kept.keeper.turn()
    assert "cannot read" in kept.last("store").fields["reason"]
    kept.round()
    assert kept.last("keeper").level == "warning"


def test_a_history_that_cannot_be_read_is_an_error_at_the_start(agent: Agent) -> None:
    path = agent.session.store.path / "history.jsonl"
    path.unlink(missing_ok=True)
    path.mkdir()
    with pytest.raises(StoreError):
        Kept(agent)

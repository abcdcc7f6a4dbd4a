"""The agent as an object: answers, measures, calibrates, follows what others do to its store."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.api import Agent
from agent.chip import describe_chip
from agent.errors import (
    InputError,
    NoBundleError,
    RuntimeUnavailableError,
    StoppedError,
    StoreError,
    StoreLockedError,
)
from agent.installation import install
from agent.loop import CalibrationRequest
from agent.notices import Notice
from agent.running import Running, active_sequence
from agent.runtimes.base import Answer
from agent.serving import Serving
from agent.session import open_session
from agent.store.bundle import open_bundle
from agent.store.lock import in_service, locked
from agent.store.package import read_package
from agent.store.store import Store
from calib.factors import Factors
from device_models.errors import DeviceModelError
from tests.agent_stores import ROOT, bundle, labelled, npp
from tests.shown_commands import blocks

CHIP = "mismatch-30"
WAIT_S = 60.0


def put(
    store: Path, folder: Path, *, chip: str = CHIP, name: str = "small", **options: Any
) -> Path:
    opened = open_bundle(bundle(folder / f"{name}.npp", **options))
    target = Store(store)
    with target.lock(create=True):
        install(target, opened, read_package(opened), describe_chip(chip, 0))
    return store


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    return put(folder / "store", folder)


@pytest.fixture
def store(installed: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "store"
    copy.mkdir()
    for path in installed.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


@pytest.fixture
def agent(store: Path) -> Iterator[Agent]:
    with Agent.open(store, follow_s=None) as one:
        yield one


def loop_answers(store: Path, x: Any) -> Any:
    """What a session that is opened now answers with the store's active factors."""
    loop = open_session(Store(store)).loop
    return loop.runtime.run(x, loop.factors, {}).answers


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.005)


def test_answers_are_those_of_the_loop_before_and_after_a_calibration(
    agent: Agent, store: Path
) -> None:
    x, _ = labelled(12, 5)
    before = agent.infer(x)
    np.testing.assert_array_equal(before, loop_answers(store, x))
    calibration = agent.calibrate(CalibrationRequest(samples=16))
    assert calibration.verdict.accepted
    assert agent.sequence == active_sequence(Store(store)) == 1
    np.testing.assert_array_equal(agent.infer(x), loop_answers(store, x))
    assert np.abs(agent.infer(x) - before).max() > 0.1
    assert agent.measure().drift.state == "healthy"
    assert not agent.refresh()  # its own work is no news
    history = Store(store).read_history().entries
    assert [entry["event"] for entry in history] == ["calibration"]
    agent.rollback()
    assert agent.sequence == 0
    np.testing.assert_array_equal(agent.infer(x), before)


def test_one_sample_or_many_of_any_numeric_type(agent: Agent) -> None:
    x, _ = labelled(3, 5)
    assert agent.input_shape == x.shape[1:]
    assert agent.infer(x).shape == (3, 5)
    assert agent.infer(x[0]).shape == (5,)
    np.testing.assert_array_equal(agent.infer(x[:1])[0], agent.infer(x[0]))
    whole = np.rint(x).astype(np.int8)
    np.testing.assert_array_equal(agent.infer(whole), agent.infer(whole.astype(np.float64)))


@pytest.mark.parametrize(
    ("x", "what"),
    [
        (np.zeros((2, 8)), r"shape \[2, 8\], the network takes \[2, 8, 8\], or \[n, 2, 8, 8\]"),
        (np.full((2, 8, 8), np.nan), "NaN"),
        (np.full((2, 8, 8), 1e300), "beyond float32"),
        (np.zeros((0, 2, 8, 8)), "no sample"),
        (np.full((2, 8, 8), "a"), "type <U1"),
        (np.full((2, 8, 8), None), "type object"),
    ],
)
def test_inputs_that_are_none(agent: Agent, x: Any, what: str) -> None:
    with pytest.raises(InputError, match=what):
        agent.infer(x)


def test_one_agent_runs_on_a_store(agent: Agent, store: Path) -> None:
    del agent
    with pytest.raises(StoreLockedError, match="another agent runs on") as caught:
        Agent.open(store)
    assert caught.value.exit_code == 4


def test_the_store_is_free_again_afterwards_and_where_opening_failed(
    store: Path, tmp_path: Path
) -> None:
    with pytest.raises(NoBundleError):
        Agent.open(tmp_path / "nothing")
    with pytest.raises(DeviceModelError):
        Agent.open(store, temperature_c=-1000.0)
    for _ in range(2):
        Agent.open(store).close()


def test_a_persons_calibration_is_swapped_in(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[Notice] = []
    x, _ = labelled(4, 5)
    with Agent.open(store, follow_s=0.01, tell=told.append) as agent:
        assert npp(capsys, "calibrate", "--store", store, "--json").code == 0
        until(lambda: agent.sequence == 1)
        np.testing.assert_array_equal(agent.infer(x), loop_answers(store, x))
        assert agent.measure().drift.state == "healthy"
        assert npp(capsys, "rollback", "--store", store).code == 0
        until(lambda: agent.sequence == 0)
    assert [notice.event for notice in told] == ["factors", "factors"]
    assert told[0].fields["factors"] == 1


def test_another_bundle_is_loaded(store: Path, tmp_path: Path) -> None:
    told: list[Notice] = []
    x, _ = labelled(4, 5)
    with Agent.open(store, follow_s=None, tell=told.append) as agent:
        agent.calibrate()
        put(store, tmp_path, name="coarse", scheme="int4")
        assert agent.refresh()
        assert (agent.sequence, agent.session.package.network.scheme) == (0, "int4")
        np.testing.assert_array_equal(agent.infer(x), loop_answers(store, x))
    assert [notice.event for notice in told] == ["reloaded"]


def test_the_state_of_the_chip_is_followed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, (x, _) = put(tmp_path / "store", tmp_path, chip="pcm"), labelled(4, 5)
    with Agent.open(store, follow_s=None, age_s=60.0) as agent:
        young = agent.infer(x)
        assert npp(capsys, "measure", "--store", store, "--age-s", 1e8).code == 0
        assert agent.refresh()
        assert agent.session.conditions.age_s == 1e8
        assert np.abs(agent.infer(x) - young).max() > 0.01
        assert not agent.refresh()


def test_a_bundle_that_cannot_be_loaded_leaves_the_old_one(store: Path) -> None:
    told: list[Notice] = []
    x, _ = labelled(4, 5)
    with Agent.open(store, follow_s=None, tell=told.append) as agent:
        before = agent.infer(x)
        other = open_bundle(bundle(store.parent / "other.npp", scheme="int4"))
        target = Store(store)
        with target.lock():
            state = target.install(other, {"name": "no-such-chip", "seed": 0})
        for _ in range(3):
            assert not agent.refresh()
        np.testing.assert_array_equal(agent.infer(x), before)
        assert state.bundle_id != agent.session.installed.bundle_id
    (notice,) = told
    assert (notice.event, notice.level) == ("not-taken-over", "warning")
    assert "no-such-chip" in notice.fields["reason"]


def test_a_store_that_goes_away_and_comes_back(store: Path) -> None:
    told: list[Notice] = []
    x, _ = labelled(2, 5)
    away = store.with_name("away")
    with Agent.open(store, follow_s=0.01, tell=told.append) as agent:
        before = agent.infer(x)
        store.rename(away)
        until(lambda: len(told) == 1)
        np.testing.assert_array_equal(agent.infer(x), before)
        with pytest.raises(StoreError):
            agent.calibrate()
        away.rename(store)
        until(lambda: len(told) == 2)
        assert agent.calibrate().verdict.accepted
    assert [notice.event for notice in told[:2]] == ["store", "store"]
    assert told[1].fields["state"] == "readable again"


def test_who_calibrates_first_goes_first(agent: Agent, store: Path) -> None:
    with Store(store).lock(), pytest.raises(StoreLockedError, match="another npp-agent works"):
        agent.calibrate()
    assert agent.calibrate().verdict.accepted


def test_a_dry_run_changes_nothing(agent: Agent, store: Path) -> None:
    before = {path.name: path.read_bytes() for path in store.iterdir()}
    assert agent.calibrate(CalibrationRequest(dry_run=True)).verdict.accepted
    after = {path.name: path.read_bytes() for path in store.iterdir() if path.name != "lock"}
    assert after == {name: data for name, data in before.items() if name != "lock"}
    assert agent.sequence == 0


def test_an_agent_that_is_told_to_stop_commits_nothing(agent: Agent, store: Path) -> None:
    agent.stop()
    with pytest.raises(StoppedError):
        agent.calibrate()
    assert active_sequence(Store(store)) == 0


def test_factors_that_cannot_be_loaded_are_not_committed(store: Path) -> None:
    session = open_session(Store(store))
    models = iter([session.loop.runtime.loaded(session.loop.factors)])
    agent = Agent(Running(session, Serving(lambda _: next(models), session.loop.factors, 0)))
    x, _ = labelled(4, 5)
    before = agent.infer(x)
    with pytest.raises(RuntimeUnavailableError, match="new factors were not kept"):
        agent.calibrate()
    assert active_sequence(Store(store)) == 0
    np.testing.assert_array_equal(agent.infer(x), before)


@pytest.mark.parametrize(("wrong", "taken"), [(1, True), (9, False)])
def test_factors_that_fail_their_check_are_tried_again(
    store: Path,
    wrong: int,
    taken: bool,  # noqa: FBT001  # a parameter of the test
    capsys: pytest.CaptureFixture[str],
) -> None:
    session = open_session(Store(store))
    loads = iter(range(100))

    def load(factors: Factors) -> Answer:
        answer, number = session.loop.runtime.loaded(factors), next(loads)
        return (lambda x: 2 * answer(x)) if 1 <= number <= wrong else answer

    agent = Agent(Running(session, Serving(load, session.loop.factors, 0)))
    assert npp(capsys, "calibrate", "--store", store).code == 0
    assert agent.refresh() is taken
    assert agent.sequence == int(taken)


def test_requests_are_answered_while_it_calibrates(agent: Agent) -> None:
    x, _ = labelled(8, 5)
    served: list[tuple[int, Any]] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            one = agent.serve(x)
            served.append((one.sequence, one.answers))

    old = agent.infer(x)
    asking = threading.Thread(target=ask)
    asking.start()
    assert agent.calibrate().verdict.accepted
    answered = len(served)
    until(lambda: len(served) > answered + 1)
    done.set()
    asking.join()
    assert served[0][0] == 0
    assert served[-1][0] == 1
    assert sum(sequence == 0 for sequence, _ in served) > 1
    for sequence, answers in served:
        np.testing.assert_array_equal(answers, agent.infer(x) if sequence else old)


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_the_running_agents_lock_is_not_the_lock_of_changes(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "store"
    place.mkdir() if kind == "directory" else place.touch()
    for _ in range(2):
        with in_service(place), place.open("rb") if kind == "file" else locked(place):
            with pytest.raises(StoreLockedError, match="another agent runs on"), in_service(place):
                pass
            if kind == "file":  # as an image is locked by who changes it
                with place.open("rb") as image:
                    fcntl.flock(image, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_example_in_the_readme_runs(store: Path, tmp_path: Path) -> None:
    (example,) = blocks((ROOT / "README.md").read_text(encoding="utf-8"), "python")
    x, _ = labelled(20, 5)
    np.savez(tmp_path / "digits.npz", test_x=x)
    assert store == tmp_path / "store"
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "(5,)"
    assert "factors 1 answer" in done.stdout

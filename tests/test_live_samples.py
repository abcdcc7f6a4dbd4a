"""Live samples: which are kept, in how many bytes, and what a calibration makes of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.buffer import SampleBuffer
from agent.data_file import Data
from agent.evaluation import compare
from agent.life.damage import moved_data
from agent.life.scenario import MovedInputs
from agent.loop import CalibrationRequest, ClosedLoop, Commit
from agent.runtimes.cim import CimRuntime
from agent.simulation.workload import comparison_of
from agent.store.bundle import open_bundle
from agent.store.package import read_package
from agent.watch.live_samples import (
    LiveRules,
    LiveSample,
    buffered,
    decode_live,
    encode_live,
    inputs_of,
    live_sample,
    offered,
    recalled,
    valued,
)
from agent.workstation.demo_bundle import DEMO_BUNDLE, read_held_out
from calib.errors import CalibError
from calib.extended_references import with_live
from calib.factors import Factors, no_factors
from calib.packed import PackedNetwork
from calib.references import RecomputedReferences
from device_models.array import Chip, State
from device_models.presets import preset
from tests.agent_stores import bundle

RULES = LiveRules()
DAY_S = 86_400.0


def picture(level: float, shape: tuple[int, ...] = (1, 8, 8)) -> NDArray[np.float32]:
    return np.full(shape, level, np.float32)


def kept(*given: tuple[float, float, float], now_s: float = 0.0) -> list[LiveSample]:
    """Pictures of a level, a loss, and a time."""
    samples = [live_sample(i, picture(a), b, c) for i, (a, b, c) in enumerate(given)]
    return list(offered((), samples, RULES, now_s))


def test_what_is_answered_wrong_comes_before_what_is_answered_right() -> None:
    assert [one.number for one in kept((1, 0.0, 0), (2, 0.5, 0), (3, 0.1, 0))] == [1, 2, 0]


def test_of_samples_that_are_alike_the_later_ones_are_worth_little() -> None:
    order = [one.number for one in kept((5, 0.5, 0), (5.01, 0.5, 0), (9, 0.1, 0))]
    assert order == [0, 2, 1]


def test_old_samples_fade() -> None:
    fresh, old = (3, 0.1, 14 * DAY_S), (9, 0.3, 0)
    assert [one.number for one in kept(fresh, old, now_s=14 * DAY_S)] == [0, 1]
    assert [one.number for one in kept(fresh, old, now_s=0)] == [1, 0]


def test_what_is_no_number_is_not_taken() -> None:
    assert kept((1, math.nan, 0), (2, math.inf, 0)) == []


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 1), st.floats(0, 1e7)), max_size=20))
def test_never_more_bytes_than_allowed_and_the_best_stays(
    given_samples: list[tuple[float, float, float]],
) -> None:
    samples = [live_sample(i, picture(a), b, c) for i, (a, b, c) in enumerate(given_samples)]
    rules = replace(RULES, capacity_bytes=600)
    found = offered((), samples, rules, 1e7)
    assert sum(one.bytes for one in buffered(found, rules, 1e7)) <= 600
    if samples:
        assert found[0] == valued(samples, rules, 1e7)[0][0]
    again = offered(found, (), rules, 1e7)
    assert set(again) == set(found)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 4), (20,)])
def test_inputs_come_back_from_their_bytes(shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    whole = generator.integers(0, 17, shape).astype(np.float32)
    assert np.array_equal(decode_live(encode_live(whole), shape), whole)
    real = generator.normal(size=shape).astype(np.float32)
    assert np.allclose(decode_live(encode_live(real), shape), real, atol=2e-3)
    with pytest.raises(ValueError, match="are no input of shape"):
        decode_live(encode_live(real), (*shape, 2))


def test_a_restart_keeps_them_and_leaves_out_what_is_damaged() -> None:
    samples = kept((1, 0.0, 5.0), (2, 0.5, 6.0))
    buffer = SampleBuffer()
    buffer.offer(buffered(samples, RULES, 10.0))
    again = SampleBuffer.from_bytes(buffer.to_bytes())
    found = recalled(again.samples, (1, 8, 8), RULES)
    assert {(one.number, one.taken_s, one.data) for one in found} == {
        (one.number, one.taken_s, one.data) for one in samples
    }
    assert recalled(again.samples, (1, 8, 9), RULES) == ()
    there = inputs_of(found, (1, 8, 8))
    assert there[:, 0, 0, 0].tolist() == [1.0, 2.0]
    assert inputs_of((), (1, 8, 8)).shape == (0, 1, 8, 8)


def test_live_samples_stand_among_the_references_and_no_number_is_twice() -> None:
    network = read_package(open_bundle(DEMO_BUNDLE)).network
    live = np.stack([picture(level) for level in np.linspace(0, 1, 10)])
    found = with_live(network, live)
    old, new = network.references, found.references
    assert isinstance(old, RecomputedReferences)
    assert (new.count, new.held_back) == (old.count + 10, old.held_back + 2)
    held = np.arange(old.held_back)
    before, after = old.block(held), new.block(held)
    assert np.allclose(after.inputs, before.inputs, atol=1e-3)
    for name, at in before.positions.items():
        assert np.array_equal(after.positions[name], at)
    judging = new.block(np.arange(old.held_back, new.held_back)).inputs
    assert np.allclose(judging, live[3::4], atol=1e-3)
    fitting = new.block(np.arange(new.count - 8, new.count)).inputs
    assert np.allclose(fitting, live[np.arange(10) % 4 != 3], atol=1e-3)


def test_bundles_without_a_float_network_and_other_shapes_are_refused(tmp_path: Path) -> None:
    stored = bundle(tmp_path / "stored.npp", references_as="stored")
    network = read_package(open_bundle(stored)).network
    shape = network.graph.input.shape[1:]
    with pytest.raises(CalibError, match="the bundle's are stored; pack the model with"):
        with_live(network, np.zeros((4, *shape), np.float32))
    network = read_package(open_bundle(DEMO_BUNDLE)).network
    with pytest.raises(CalibError, match="live samples have shape"):
        with_live(network, np.zeros((4, 2, 8, 8), np.float32))
    with pytest.raises(CalibError, match="give finite samples"):
        with_live(network, np.full((4, 1, 8, 8), np.nan, np.float32))


class _Nowhere:
    def commit(self, payload: bytes) -> Commit:
        return Commit(1, len(payload))


def test_a_calibration_with_live_samples_follows_inputs_that_have_moved() -> None:
    opened = open_bundle(DEMO_BUNDLE)
    network = read_package(opened).network
    digits = read_held_out(opened, network.graph.input.shape[1:])
    data = Data(digits.inputs, digits.labels.astype(np.int64))
    dark = moved_data(data, MovedInputs(0, gain=0.3))
    test = comparison_of(network, Data(dark.x[64:], dark.y[64:]), network.float_graph)  # type: ignore[index]  # there are labels
    chip = Chip(preset("mismatch-40"), 0)
    factors: dict[str, Factors] = {}
    for name, references in (("bundle", network), ("live", with_live(network, dark.x[:64]))):
        factors[name] = calibrated(references, chip)
    runtime = CimRuntime(network, chip, State(), np.random.default_rng(0))
    scores = compare(runtime, factors, test.batches(), classes=True)
    before, after = (scores[name].agreement or 0 for name in ("bundle", "live"))
    assert before < 0.97
    assert 1 - after < 0.5 * (1 - before)


def calibrated(network: PackedNetwork, chip: Chip) -> Factors:
    runtime = CimRuntime(network, chip, State(), np.random.default_rng(0))
    generator, nothing = np.random.default_rng(0), no_factors(network.layers)
    loop = ClosedLoop(network, runtime, nothing, SampleBuffer(), lambda: 0.0, generator)
    loop.calibrate(CalibrationRequest(96), _Nowhere())
    return loop.factors

"""The closed loop: what comes before what, and that nothing but an accepted commit changes it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import count
from typing import Any

import numpy as np
import pytest

from agent.buffer import BufferedSample, Origin, SampleBuffer
from agent.errors import AgentError, RuntimeUnavailableError, StoreError
from agent.loop import Calibration, CalibrationRequest, ClosedLoop
from agent.runtimes.base import Runtime
from agent.runtimes.cim import CimRuntime
from calib.errors import CalibError
from calib.factor_codes import decode_factors
from calib.factors import Factors, no_factors
from calib.graph.model import Graph
from calib.packed import PackedNetwork
from calib.selection import RULES
from device_models.array import Chip, State
from device_models.presets import preset
from tests.fakes import ConservativeRuntime, DeviatingRuntime, LoggedRuntime, MemoryStore
from tests.small_networks import chain, classifier, packed, signal_network

REQUEST = CalibrationRequest(samples=16)


@cache
def network_of(kind: str) -> PackedNetwork:
    graphs: dict[str, Graph] = {
        "classifier": classifier(groups=1),
        "depthwise": classifier(),
        "grouped": classifier(groups=2),
        "signal": signal_network(),
        "chain": chain(3, relu=True),
    }
    return packed(graphs[kind], count=64, scheme="int4", rank=2)


def chip_of(network: PackedNetwork, device: str = "mismatch-20", seed: int = 1) -> CimRuntime:
    return CimRuntime(network, Chip(preset(device), seed), State(), np.random.default_rng(0))


def loop_of(network: PackedNetwork, runtime: Runtime, **changes: Any) -> ClosedLoop:
    ticks = count()
    loop = ClosedLoop(
        network=network,
        runtime=runtime,
        factors=no_factors(network.layers),
        buffer=SampleBuffer(),
        clock=lambda: float(next(ticks)),
        generator=np.random.default_rng(0),
    )
    return replace(loop, **changes)


def calibrated(
    loop: ClosedLoop, request: CalibrationRequest = REQUEST
) -> tuple[Calibration, MemoryStore]:
    store = MemoryStore(lambda: loop.factors)
    return loop.calibrate(request, store), store


def same(one: Factors, other: Factors) -> bool:
    parts = ("gain", "offset", "a", "b")
    return one.surrogates.keys() == other.surrogates.keys() and all(
        np.array_equal(getattr(one[name], part), getattr(other[name], part))
        for name in one.surrogates
        for part in parts
    )


@pytest.mark.parametrize("kind", ["classifier", "signal", "chain", "depthwise", "grouped"])
def test_a_deviating_chip_gets_better_and_the_report_says_so(kind: str) -> None:
    network = network_of(kind)
    loop = loop_of(network, chip_of(network))
    found, store = calibrated(loop)
    assert found.verdict.accepted, found.verdict.reason
    assert found.verdict.after.loss < found.verdict.before.loss
    assert found.verdict.after.mean_error < 0.7 * found.verdict.before.mean_error
    assert loop.factors is found.factors
    now = loop.measure()
    assert now.loss == found.verdict.after.loss
    assert found.method == "probe"
    assert len(found.chosen) == 16
    assert found.commit is not None
    assert (found.commit.sequence, found.commit.bytes_written) == (1, len(store.payloads[0]))
    assert found.seconds > 0


def test_what_was_committed_is_what_was_verified_and_runs() -> None:
    network = network_of("classifier")
    loop = loop_of(network, chip_of(network))
    _, store = calibrated(loop)
    assert same(decode_factors(store.payloads[0], network.layers), loop.factors)


def test_verify_comes_before_commit_and_commit_before_activation() -> None:
    network = network_of("classifier")
    before = no_factors(network.layers)
    store = MemoryStore(lambda: loop.factors)
    runtime = LoggedRuntime(DeviatingRuntime(network, 0.2, np.random.default_rng(0)), store.log)
    loop = loop_of(network, runtime, factors=before)
    found = loop.calibrate(REQUEST, store)
    assert found.verdict.accepted
    assert found.method == "sequential"
    assert store.log.count("commit") == 1
    assert store.log[-1] == "commit"
    assert store.active_at_commit == [before]
    assert loop.factors is found.factors


def test_a_refused_calibration_leaves_the_old_factors_and_commits_nothing() -> None:
    network = network_of("classifier")
    before = no_factors(network.layers)
    loop = loop_of(network, ConservativeRuntime(chip_of(network), before), factors=before)
    found, store = calibrated(loop)
    assert not found.verdict.accepted
    assert found.verdict.reason.endswith("old factors kept")
    assert loop.factors is before
    assert found.commit is None
    assert store.log == []


@pytest.mark.parametrize("error", [StoreError("the disk is full"), KeyboardInterrupt()])
def test_a_commit_that_fails_leaves_the_old_factors_active(error: Exception) -> None:
    network = network_of("classifier")
    loop = loop_of(network, chip_of(network))
    before = loop.factors
    with pytest.raises(type(error)):
        loop.calibrate(REQUEST, MemoryStore(lambda: loop.factors, fails=error))
    assert loop.factors is before
    found, store = calibrated(loop)
    assert found.commit is not None
    assert len(store.payloads) == 1


def test_a_dry_run_reports_and_changes_nothing() -> None:
    network = network_of("classifier")
    loop = loop_of(network, chip_of(network))
    before = loop.factors
    found, store = calibrated(loop, replace(REQUEST, dry_run=True))
    assert found.verdict.accepted
    assert found.commit is None
    assert store.log == []
    assert loop.factors is before
    real, _ = calibrated(loop)
    assert same(real.factors, found.factors)


def test_the_buffer_holds_the_references_with_their_sensitivities() -> None:
    network = network_of("classifier")
    loop = loop_of(network, chip_of(network))
    found, _ = calibrated(loop)
    held = {sample.index: sample for sample in loop.buffer.samples}
    assert set(held) == set(range(16, 64))
    for index, rise in zip(found.sensitivity.indices, found.sensitivity.rises, strict=True):
        assert held[int(index)].value == rise
        assert held[int(index)].origin is Origin.REFERENCE
    ranked = [sample.index for sample in loop.buffer.samples]
    assert [one.index for one in found.chosen] == ranked[:16]


def test_a_small_buffer_bounds_what_can_be_chosen() -> None:
    network = network_of("classifier")
    loop = loop_of(network, chip_of(network), buffer=SampleBuffer(10 * 28))
    found, _ = calibrated(loop)
    assert len(loop.buffer.samples) == len(found.chosen) == 10


def test_held_back_samples_never_take_part_whatever_an_old_buffer_says() -> None:
    network = network_of("classifier")
    loop = loop_of(network, chip_of(network))
    foreign = [(Origin.REFERENCE, 3), (Origin.REFERENCE, 900), (Origin.LIVE, 20)]
    loop.buffer.offer(BufferedSample(kind, index, 1e9, 0.0) for kind, index in foreign)
    found, _ = calibrated(loop, replace(REQUEST, select="all"))
    assert sorted(one.index for one in found.chosen) == list(range(16, 64))


@pytest.mark.parametrize("kind", ["classifier", "signal"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_second_calibration_of_an_unchanged_chip_is_refused_or_improves(
    kind: str, seed: int
) -> None:
    network = network_of(kind)
    loop = loop_of(network, chip_of(network, seed=seed))
    first, _ = calibrated(loop)
    second, store = calibrated(loop)
    assert second.verdict.before.loss == first.verdict.after.loss
    if second.verdict.accepted:
        assert second.verdict.after.loss < first.verdict.after.loss
        assert second.verdict.after.mean_error < first.verdict.after.mean_error
    else:
        assert same(loop.factors, first.factors)
        assert store.log == []


@pytest.mark.parametrize("rule", RULES)
def test_every_selection_rule_closes_the_loop(rule: str) -> None:
    network = network_of("classifier")
    found, _ = calibrated(loop_of(network, chip_of(network)), replace(REQUEST, select=rule))
    assert found.verdict.accepted
    assert len(found.chosen) == (48 if rule == "all" else 16)
    assert len({one.index for one in found.chosen}) == len(found.chosen)


def test_where_layers_are_only_tapped_no_rule_takes_more_runs_than_sensitivity() -> None:
    network = network_of("classifier")

    def runs(rule: str) -> int:
        runtime = DeviatingRuntime(network, 0.2, np.random.default_rng(0))
        calibrated(loop_of(network, runtime), replace(REQUEST, select=rule))
        return runtime.runs

    assert {runs(rule) for rule in RULES if rule != "all"} == {runs("sensitivity")}


@pytest.mark.parametrize("rule", ["margin", "entropy"])
def test_without_classes_rules_about_classes_are_refused(rule: str) -> None:
    network = network_of("signal")
    loop = loop_of(network, chip_of(network))
    with pytest.raises(CalibError, match="its outputs are no classes"):
        calibrated(loop, replace(REQUEST, select=rule))


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        (CalibrationRequest(samples=0), CalibError, "0 samples are to be chosen from 48"),
        (CalibrationRequest(select="best"), CalibError, "no selection 'best'"),
        (CalibrationRequest(method="magic"), RuntimeUnavailableError, "no method 'magic'"),
    ],
)
def test_a_request_that_cannot_be_met_leaves_everything_as_it_is(
    request_: CalibrationRequest, kind: type[Exception], words: str
) -> None:
    network = network_of("classifier")
    loop = loop_of(network, chip_of(network))
    before = loop.factors
    with pytest.raises((AgentError, CalibError), match=words) as caught:
        calibrated(loop, request_)
    assert caught.type is kind
    assert loop.factors is before


def test_a_runtime_without_probe_says_what_to_choose() -> None:
    network = network_of("classifier")
    loop = loop_of(network, DeviatingRuntime(network, 0.1, np.random.default_rng(0)))
    with pytest.raises(RuntimeUnavailableError, match="choose --method sequential"):
        calibrated(loop, replace(REQUEST, method="probe"))

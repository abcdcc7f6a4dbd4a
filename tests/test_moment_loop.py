"""The closed loop without samples: single layers alone are driven, judged and corrected."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.buffer import SampleBuffer
from agent.errors import RuntimeUnavailableError
from agent.inspection import inspection_document
from agent.loop import CalibrationRequest, ClosedLoop
from agent.measurement import judge_chip
from agent.report import calibration_document
from agent.runtimes.base import ProbingRuntime, Trace
from agent.runtimes.cim import CimRuntime
from agent.store.package import Package
from calib.factors import Factors, no_factors
from calib.graph.linear import LinearLayer
from calib.graph.model import Graph
from calib.importers.onnx_export import write_onnx
from calib.packed import PackedNetwork
from device_models.array import Chip, State
from device_models.presets import preset
from tests.agent_stores import GRAPH, Said, bundle, data, npp
from tests.fakes import LoggedRuntime, MemoryStore
from tests.small_networks import chain, classifier, packed, signal_network

Capture = pytest.CaptureFixture[str]
GRAPHS: dict[str, Graph] = {
    "classifier": classifier(),
    "dense": classifier(groups=1),
    "grouped": classifier(groups=2),
    "signal": signal_network(),
    "chain": chain(3, relu=True),
}
EVERY_KIND = pytest.mark.parametrize("kind", GRAPHS)


@cache
def network_of(kind: str, form: str = "moments") -> PackedNetwork:
    return packed(GRAPHS[kind], count=128, scheme="int4", rank=4, references_as=form)


def chip_of(network: PackedNetwork, device: str = "mismatch-20") -> CimRuntime:
    return CimRuntime(network, Chip(preset(device), 1), State(), np.random.default_rng(0))


class LayersOnly:
    """A chip whose single layers can be driven; it fails a test that runs the network."""

    def __init__(self, inner: ProbingRuntime) -> None:
        self.inner, self.layers = inner, inner.layers

    def run(self, samples: Any, factors: Factors, taps: Any) -> Trace:
        del factors, taps
        raise AssertionError(f"{len(samples)} samples were run, and there are none")

    def probe(self, layer: LinearLayer, rows: Any) -> Any:
        return self.inner.probe(layer, rows)

    def close(self) -> None:
        self.inner.close()


def loop_of(network: PackedNetwork, device: str = "mismatch-20") -> ClosedLoop:
    return ClosedLoop(
        network=network,
        runtime=LayersOnly(chip_of(network, device)),
        factors=no_factors(network.layers),
        buffer=SampleBuffer(),
        clock=lambda: 0.0,
        generator=np.random.default_rng(0),
    )


@EVERY_KIND
def test_factors_from_moments_mend_the_answers_to_samples(kind: str) -> None:
    network, with_samples = network_of(kind), network_of(kind, "recomputed")
    loop = loop_of(network)
    before = judge_chip(chip_of(network), with_samples, loop.factors)
    done = loop.calibrate(CalibrationRequest(), MemoryStore(lambda: loop.factors))
    assert done.verdict.accepted, done.verdict.reason
    assert done.method == "probe"
    after = judge_chip(chip_of(network), with_samples, loop.factors)
    assert after.loss < 0.5 * before.loss
    assert after.mean_error < 0.7 * before.mean_error
    predicted = done.verdict.after.mean_error / done.verdict.before.mean_error
    assert predicted < 0.7


@EVERY_KIND
def test_they_come_near_to_factors_from_samples(kind: str) -> None:
    losses = {}
    for form in ("moments", "recomputed"):
        network = network_of(kind, form)
        loop = loop_of(network)
        if form == "recomputed":
            loop = replace(loop, runtime=chip_of(network))
        loop.calibrate(CalibrationRequest(), MemoryStore(lambda: loop.factors))  # noqa: B023
        judge = network_of(kind, "recomputed")
        losses[form] = judge_chip(chip_of(network), judge, loop.factors).loss
    untouched = judge_chip(chip_of(judge), judge, no_factors(judge.layers)).loss
    assert losses["moments"] < losses["recomputed"] + 0.1 * untouched


def test_a_calibration_that_does_not_help_is_refused_and_changes_nothing() -> None:
    loop = loop_of(network_of("dense"))
    store = MemoryStore(lambda: loop.factors)
    assert loop.calibrate(CalibrationRequest(), store).verdict.accepted
    good = loop.factors
    worse = loop.calibrate(CalibrationRequest(samples=1), store)
    assert not worse.verdict.accepted
    assert "old factors kept" in worse.verdict.reason
    assert worse.commit is None
    assert loop.factors is good


def test_a_chip_without_errors_is_not_written_to() -> None:
    network = packed(GRAPHS["dense"], count=64, scheme="int8", references_as="moments")
    loop = loop_of(network, "ideal")
    found = loop.calibrate(CalibrationRequest(), MemoryStore(lambda: loop.factors))
    before, after = found.verdict.before, found.verdict.after
    assert before.mean_error < 0.02
    assert found.verdict.accepted == (after.mean_error < 0.99 * before.mean_error)


def test_there_is_nothing_to_choose_from() -> None:
    loop = loop_of(network_of("classifier"))
    done = loop.calibrate(CalibrationRequest(samples=10), MemoryStore(lambda: loop.factors))
    fit = range(loop.network.references.held_back, loop.network.references.count)
    assert [one.index for one in done.chosen] == list(fit)[:10]
    assert loop.buffer.samples == ()
    document = calibration_document(done, loop.buffer, 0)
    assert document["samples_used"] == 10
    assert np.isnan(document["selected"][0]["sensitivity"])
    assert document["held_back"]["after"] < document["held_back"]["before"]
    everything = replace(loop, factors=no_factors(loop.network.layers)).calibrate(
        CalibrationRequest(select="all"), MemoryStore(lambda: loop.factors)
    )
    assert [one.index for one in everything.chosen] == list(fit)


@pytest.mark.parametrize("method", ["sequential", "gradient", "gradient-from-zero"])
def test_methods_that_need_samples_are_refused_before_anything_runs(method: str) -> None:
    loop = loop_of(network_of("chain"))
    with pytest.raises(RuntimeUnavailableError) as caught:
        loop.calibrate(CalibrationRequest(method=method), MemoryStore(lambda: loop.factors))
    assert str(caught.value).startswith(f"--method {method} runs samples through the network")
    assert "--references-as recomputed" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_runtime_that_can_only_be_tapped_is_refused() -> None:
    network = network_of("chain")
    loop = replace(loop_of(network), runtime=LoggedRuntime(chip_of(network), []))
    with pytest.raises(RuntimeUnavailableError, match="--references-as stored"):
        loop.measure()
    with pytest.raises(RuntimeUnavailableError, match="--references-as stored"):
        loop.calibrate(CalibrationRequest(), MemoryStore(lambda: loop.factors))


def test_the_loss_is_none_where_layers_do_what_they_should() -> None:
    network = packed(chain(2), count=32, scheme="int8", references_as="moments")
    assert network.float_weights is not None
    judged = judge_chip(chip_of(network, "ideal"), network, no_factors(network.layers))
    worse = judge_chip(chip_of(network, "mismatch-50"), network, no_factors(network.layers))
    assert 0 <= judged.loss < 1e-3
    assert 0.01 < worse.loss < 2


def test_inspect_says_what_moments_were_taken_over() -> None:
    found = inspection_document(Package(network_of("classifier"), "small", "cim"))["references"]
    numbers = {"count": 96, "held_back": 32, "positions": 16, "samples": 128, "moment_rank": 16}
    assert found == {"form": "moments", **numbers}


@pytest.fixture
def store(tmp_path: Path, capsys: Capture) -> Path:
    place = tmp_path / "store"
    packed_file = bundle(tmp_path / "small.npp", references_as="moments")
    chip = ("--chip", "mismatch-30", "--chip-seed", 5)
    assert npp(capsys, "install", packed_file, "--store", place, *chip).code == 0
    return place


def test_every_command_works_on_a_bundle_of_moments(
    store: Path, tmp_path: Path, capsys: Capture
) -> None:
    def say(*arguments: object, code: int = 0) -> Said:
        said = npp(capsys, *arguments, "--store", store, "--json")
        assert said.code == code, said.err
        return said

    before = say("measure").document
    assert before["held_back_loss"] > 0
    report = say("calibrate").document
    assert report["accepted"]
    assert report["selected"][0]["sensitivity"] is None
    assert report["buffer"]["bytes_used"] == 0
    after = say("measure").document
    assert after["mean_relative_error"] < 0.7 * before["mean_relative_error"]
    assert after["drift"] == {"state": "healthy", "score": pytest.approx(1.0)}
    found = say("evaluate", "--data", data(tmp_path / "test.npz", 200)).document
    assert found["uncorrected"] < found["corrected"]
    assert found["float"] == pytest.approx(1.0, abs=0.02)
    assert say("calibrate", "--samples", 1, code=3).document["accepted"] is False
    assert say("status").document["sequence"] == 1
    assert len(json.loads(say("history").out)["entries"]) == 3
    assert say("doctor").document["store"]["exists"]
    assert say("rollback").document["sequence"] == 0
    refused = npp(capsys, "calibrate", "--store", store, "--method", "sequential")
    assert "runs samples through the network" in refused.sentence()
    assert npp(capsys, "calibrate", "--store", store).out.count("draws are all alike") == 5


def test_pack_takes_the_rank_of_moments(tmp_path: Path, capsys: Capture) -> None:
    write_onnx(GRAPH, tmp_path / "model.onnx")
    samples = data(tmp_path / "data.npz", 64)
    arguments = ("pack", tmp_path / "model.onnx", "--samples", samples, "--out", tmp_path / "o.npp")
    moments = ("--references-as", "moments", "--moment-rank", 3)
    said = npp(capsys, *arguments, *moments, "--json").document
    assert (said["references_as"], said["moment_rank"], said["samples_seen"]) == ("moments", 3, 64)
    assert (said["references"], said["held_back"]) == (48, 16)
    words = "48 and 16 held back drawn from moments of rank 3 of 64 samples"
    assert words in npp(capsys, *arguments, *moments).out
    assert words in npp(capsys, "inspect", tmp_path / "o.npp").out

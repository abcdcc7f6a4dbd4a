"""Networks of many architectures are packed, put on a chip that deviates, and calibrated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.buffer import SampleBuffer
from agent.data_file import Data
from agent.evaluation import evaluate
from agent.loop import CalibrationRequest, ClosedLoop
from agent.runtimes.cim import CimRuntime
from calib.factors import no_factors
from calib.graph.executor import run
from calib.graph.model import Graph, Node, Port
from calib.importers import load_model
from calib.importers.onnx_export import write_onnx
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from calib.train.frames import Frames, TimeConvolution, time_network
from calib.train.transformer import TransformerShape, transformer_network
from device_models.array import Chip, State
from device_models.presets import preset
from tests.agent_stores import npp
from tests.fakes import DeviatingRuntime, MemoryStore
from tests.small_networks import classifier, samples_for

ROOT = Path(__file__).resolve().parents[1]
FRAMES = Frames(14, 4, np.zeros(4, np.float32), np.ones(4, np.float32))
SHAPE = TransformerShape(width=12, heads=3, hidden=16, blocks=2, patch=3, stride=2)


def transformer() -> Graph:
    return transformer_network("words", FRAMES, SHAPE, 5, np.random.default_rng(0))


def over_time(groups: int) -> Graph:
    layers = (TimeConvolution(8, stride=2), TimeConvolution(8, kernel=3, groups=groups))
    return time_network("words", FRAMES, layers, 5, np.random.default_rng(0))


def autoencoder() -> Graph:
    """Vectors of 24 through a neck of 4, no classes."""
    generator, sizes = np.random.default_rng(0), (24, 16, 4, 16, 24)
    constants, nodes, last = {}, [], "x"
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        weight = generator.standard_normal((inputs, outputs)) / np.sqrt(inputs)
        constants[f"w{i}"] = weight.astype(np.float32)
        constants[f"b{i}"] = generator.normal(0, 0.1, outputs).astype(np.float32)
        nodes.append(Node(f"dense{i}", "Gemm", (last, f"w{i}", f"b{i}"), (f"y{i}",)))
        last = f"y{i}"
        if i < len(sizes) - 2:
            nodes.append(Node(f"relu{i}", "Relu", (last,), (f"r{i}",)))
            last = f"r{i}"
    return Graph("autoencoder", Port("x", (1, 24)), last, tuple(nodes), constants)


GRAPHS = {
    "transformer": transformer,
    "convolutions over time": lambda: over_time(1),
    "groups over time": lambda: over_time(2),
    "depthwise over time": lambda: over_time(8),
    "depthwise": classifier,
    "grouped": lambda: classifier(groups=3),
    "autoencoder": autoencoder,
}
EVERY_NETWORK = pytest.mark.parametrize("kind", GRAPHS)


@cache
def network_of(kind: str, scheme: str = "int4") -> PackedNetwork:
    graph = GRAPHS[kind]()
    options = PackOptions(scheme=scheme, held_back=24, references=72)
    with np.errstate(under="ignore"):  # as outside the tests
        return prepare(graph, samples_for(graph, 96), None, options)


def loop_on(network: PackedNetwork, runtime: Any) -> ClosedLoop:
    ticks = count()
    return ClosedLoop(
        network=network,
        runtime=runtime,
        factors=no_factors(network.layers),
        buffer=SampleBuffer(),
        clock=lambda: float(next(ticks)),
        generator=np.random.default_rng(0),
    )


def chip_of(network: PackedNetwork, seed: int = 1) -> CimRuntime:
    chip = Chip(preset("mismatch-20"), seed)
    return CimRuntime(network, chip, State(), np.random.default_rng(0))


@EVERY_NETWORK
@pytest.mark.parametrize("scheme", ["int4", "nf4"])
def test_a_deviating_chip_gets_better_on_samples_that_took_no_part(kind: str, scheme: str) -> None:
    network = network_of(kind, scheme)
    loop = loop_on(network, chip_of(network))
    found = loop.calibrate(CalibrationRequest(), MemoryStore(lambda: loop.factors))
    assert found.verdict.accepted, found.verdict.reason
    assert found.verdict.after.loss < 0.5 * found.verdict.before.loss
    assert found.verdict.after.mean_error < 0.6 * found.verdict.before.mean_error
    graph = GRAPHS[kind]()
    before, after = (
        evaluate(loop_of, Data(samples_for(graph, 100, seed=9), None), graph)
        for loop_of in (loop_on(network, loop.runtime), loop)
    )
    if network.decision.classes:
        assert after.output_sqnr_db is None
        assert after.agreement is not None
        assert before.agreement is not None
        assert after.agreement >= before.agreement
    else:
        assert after.agreement is None
        assert after.output_sqnr_db is not None
        assert before.output_sqnr_db is not None
        assert after.output_sqnr_db > before.output_sqnr_db + 6


@EVERY_NETWORK
def test_a_runtime_that_can_only_be_tapped_gets_better_too(kind: str) -> None:
    network = network_of(kind)
    runtime = DeviatingRuntime(network, 0.2, np.random.default_rng(1))
    loop = loop_on(network, runtime)
    found = loop.calibrate(CalibrationRequest(samples=72), MemoryStore(lambda: loop.factors))
    assert found.method == "sequential"
    assert found.verdict.after.mean_error < found.verdict.before.mean_error


@pytest.mark.parametrize("kind", ["depthwise", "depthwise over time", "groups over time"])
def test_grouped_layers_get_a_part_of_their_own_and_gain_by_it(kind: str) -> None:
    network = network_of(kind)
    grouped = [layer.name for layer in network.layers if layer.groups > 1]
    loop = loop_on(network, chip_of(network))
    found = loop.calibrate(CalibrationRequest(), MemoryStore(lambda: loop.factors))
    for name in grouped:
        assert found.factors[name].rank
        before, after = (side.errors[name] for side in (found.verdict.before, found.verdict.after))
        assert after.relative_error < 0.5 * before.relative_error


def test_a_transformer_has_an_array_for_every_product_with_a_constant_and_no_other() -> None:
    layers = network_of("transformer").layers
    parts = ("query", "key", "value", "output")
    expected = ["embedding"]
    for block in ("block_1", "block_2"):
        expected += [f"{block}/attention/{part}" for part in parts]
        expected += [f"{block}/perceptron/first", f"{block}/perceptron/second"]
    assert [layer.name for layer in layers] == [*expected, "classifier"]
    assert [layer.positions for layer in layers] == [6] * 13 + [1]


@EVERY_NETWORK
def test_it_comes_from_an_onnx_file_just_as_well(kind: str, tmp_path: Path) -> None:
    graph = GRAPHS[kind]()
    write_onnx(graph, tmp_path / "network.onnx")
    with np.errstate(under="ignore"):  # as outside the tests
        options = PackOptions(scheme="int4", held_back=24, references=72)
        network = prepare(
            load_model(tmp_path / "network.onnx"), samples_for(graph, 96), None, options
        )
    expected = network_of(kind)
    assert [layer.name for layer in network.layers] == [layer.name for layer in expected.layers]
    for one, other in zip(network.layers, expected.layers, strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)


def test_an_autoencoder_from_the_command_line(tmp_path: Path, capsys: Any) -> None:
    graph = autoencoder()
    model, samples, bundle = (tmp_path / name for name in ("ae.onnx", "x.npz", "ae.npp"))
    write_onnx(graph, model)
    np.savez(samples, x=samples_for(graph, 96))
    where = ("--store", tmp_path / "store", "--json")
    packed = npp(capsys, "pack", model, "--samples", samples, "--out", bundle)
    assert packed.code == 0
    assert "judged by      output error" in packed.out
    chip = ("--chip", "mismatch-20", "--chip-seed", 1)
    assert npp(capsys, "install", bundle, *where[:2], *chip).code == 0
    assert npp(capsys, "measure", *where).document["layers"][0]["sqnr_db"] > 0
    evaluation = ("evaluate", "--data", samples, "--float", model, *where)
    before = npp(capsys, *evaluation).document
    report = npp(capsys, "calibrate", *where).document
    assert report["accepted"] is True
    assert report["held_back"]["after"] < report["held_back"]["before"]
    after = npp(capsys, *evaluation).document
    assert after["output_sqnr_db"] > before["output_sqnr_db"] + 6
    for key in ("float", "uncorrected", "corrected", "agreement"):
        assert after[key] is None
    json.dumps(report, allow_nan=False)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["transformer", "grouped"])
def test_keyword_networks_are_trained_and_written(
    which: str, data_directory: Path, tmp_path: Path
) -> None:
    """A few steps of the tool; it checks by itself that onnxruntime gives the same answers."""
    made = tmp_path / "words.onnx"
    few = ("--variants", "1500", "--epochs", "5", "--network", which)
    done = subprocess.run(
        [sys.executable, "tools/train_keyword_transformer.py", "--out", str(made), *few],
        cwd=ROOT,
        env={**os.environ, "NPP_DATA": str(data_directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(data_directory / "kws.npz") as file:
        x, y = file["x"][300:].astype(np.float32), file["y"][300:]
    graph = load_model(made)
    with np.errstate(under="ignore"):  # as outside the tests
        found = run(graph, x)[graph.output].argmax(axis=1)
    accuracy = float((found == y).mean())
    assert accuracy > 0.16  # of 12 words, by chance 0.08
    assert f"{accuracy:.1%} on the others" in done.stdout

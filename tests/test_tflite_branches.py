"""Which layers of a bundle for the runtime tflite get a branch, and what the runtime refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.cli.program import run
from agent.errors import InputError
from agent.workstation.tflite.branches import ALLOWED_SHARE, branch_cost, branch_worth, plain_cost
from calib.importers.onnx_export import write_onnx
from calib.prepare import PackOptions
from tests.small_networks import classifier
from tests.test_importers_tflite import attention, dense, depthwise, pools
from tests.tflite_models import Writer
from tests.tflite_packs import FEW, packed_for_tflite, samples_of


def model_in(folder: Path, network: Any = dense) -> Path:
    writer = Writer()
    path = folder / "small.tflite"
    path.write_bytes(writer.content(network(writer)))
    return path


def ranks(path: Path, branches: str, options: PackOptions = FEW) -> dict[str, int]:
    made = packed_for_tflite(path, samples_of(path), branches=branches, options=options)
    return {name: layer.rank for name, layer in made.plan.layers.items()}


def test_all_none_and_names(tmp_path: Path) -> None:
    path = model_in(tmp_path)
    every = ranks(path, "all")
    assert all(every.values())
    assert not any(ranks(path, "none").values())
    first, *_, last = every
    some = ranks(path, f"{first}, {last}")
    assert {name for name, rank in some.items() if rank} == {first, last}
    assert some[first] == every[first]


def test_ranks_are_rounded_up_to_what_costs_the_same(tmp_path: Path) -> None:
    path = model_in(tmp_path)
    for name, rank in ranks(path, "all", replace(FEW, rank=3)).items():
        made = packed_for_tflite(path, samples_of(path), branches="all")
        layer = next(layer for layer in made.network.layers if layer.name == name)
        assert rank % 8 == 0 or rank == min(layer.inputs, layer.outputs)


def test_names_that_are_none_are_refused(tmp_path: Path) -> None:
    path = model_in(tmp_path)
    with pytest.raises(InputError, match="there is no layer wrong; say all, none, auto, or some"):
        ranks(path, "wrong")
    path = model_in(tmp_path, depthwise)
    (name,) = ranks(path, "all")
    with pytest.raises(InputError, match=f"layer {name} cannot have a branch, because it has grou"):
        ranks(path, name)


def test_auto_takes_the_best_worth_for_its_cost(data_directory: Path) -> None:
    path = data_directory / "mlperf-tiny" / "resnet8_float.tflite"
    with np.load(data_directory / "cifar10.npz") as data:
        x = data["test_x"][:24].astype(np.float32)
    options = replace(FEW, references_as="recomputed")
    made = packed_for_tflite(path, x, branches="auto", options=options)
    network, plan = made.network, made.plan
    chosen = {name for name, layer in plan.layers.items() if layer.rank}
    cost = {x.name: branch_cost(x, plan.layers[x.name].rank) for x in network.layers}
    spent = sum(cost[name] for name in chosen)
    assert 0 < spent <= ALLOWED_SHARE * plain_cost(network.layers)
    with np.errstate(under="ignore"):
        worth = branch_worth(network.float_graph, network, list(network.layers), x)  # type: ignore[arg-type]  # kept
    every = packed_for_tflite(path, x, branches="all", options=options).plan.layers
    layers = {layer.name: layer for layer in network.layers}
    value = {n: worth[n] / branch_cost(layers[n], every[n].rank) for n in layers}
    assert max(value, key=value.__getitem__) in chosen


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scheme": "nf4"}, "weights of --scheme nf4 are no integers.*int8, int4, int4-tensor"),
        ({"scheme": "float"}, "weights of --scheme float are no integers"),
        ({"activation_bits": 6}, "has activations of 8 bits, not of 6"),
    ],
)
def test_options_without_kernels_are_refused(
    options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = model_in(tmp_path)
    with pytest.raises(InputError, match=said):
        packed_for_tflite(path, samples_of(path), options=replace(FEW, **options))


def test_an_onnx_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_onnx(classifier(), path)
    with pytest.raises(InputError, match="this is an ONNX model: pack it with --runtime onnxrunt"):
        packed_for_tflite(path, samples_of(path))


def test_models_that_kernels_do_not_have_are_refused(tmp_path: Path) -> None:
    writer = Writer()
    x, weight = writer.input(2, 6), writer.constant(np.ones((3, 6)))
    options = {"kind": "FullyConnectedOptions"}
    y = writer.operator("FULLY_CONNECTED", [x, weight, -1], (2, 3), **options)
    path = tmp_path / "two.tflite"
    path.write_bytes(writer.content(y))
    with pytest.raises(InputError, match=r"takes 2 samples at once \(input of shape \[2, 6\]\)"):
        packed_for_tflite(path, samples_of(path))
    writer = Writer()
    x = writer.input(1, 6)
    inputs = [x, writer.constant(np.ones((3, 6))), -1]
    y = writer.operator("FULLY_CONNECTED", inputs, (1, 3), **options, fusedActivationFunction=2)
    path.write_bytes(writer.content(y))
    with pytest.raises(InputError, match="fused activation number 2, and int8 kernels know none"):
        packed_for_tflite(path, samples_of(path))
    writer = Writer()
    x = writer.input(1, 6)
    inputs = [x, writer.constant(np.ones((3, 6))), -1]
    y = writer.operator("FULLY_CONNECTED", inputs, (1, 3), **options)
    y = writer.operator("SOFTMAX", [y], (1, 3), kind="SoftmaxOptions", beta=0.5)
    path.write_bytes(writer.content(y))
    with pytest.raises(InputError, match="ends in a SOFTMAX with a factor of its own"):
        packed_for_tflite(path, samples_of(path))


def test_the_command_names_branches_and_what_stays_uncorrected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = model_in(tmp_path, attention)
    np.savez(tmp_path / "samples.npz", x=samples_of(path))
    command = ["pack", str(path), "--samples", str(tmp_path / "samples.npz")]
    command += ["--out", str(tmp_path / "small.npp")]
    assert run([*command, "--runtime", "tflite", "--branches", "all", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["branches"]) == said["layers"] > 0
    assert len(said["uncorrected"]) == 2
    assert run([*command, "--runtime", "tflite", "--branches", "none"]) == 0
    table = capsys.readouterr().out
    assert "branches       none" in table
    assert "not corrected  " in table
    assert run([*command, "--branches", "all"]) == 2
    assert "--branches is for --runtime tflite, not cim: leave it out" in capsys.readouterr().err


def test_a_layer_without_branch_still_has_gain_and_offset(tmp_path: Path) -> None:
    path = model_in(tmp_path, pools)
    plan = packed_for_tflite(path, samples_of(path), branches="none").plan
    for layer in plan.layers.values():
        assert (layer.rank, layer.model.a, layer.model.b) == (0, None, None)
        assert layer.model.scales.size == layer.model.bias.size

"""Quantised TFLite models: the file's own codes, the network that they stand for, and refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from agent.runtimes.names import RUNTIMES
from agent.workstation.pack import pack
from agent.workstation.target import Target
from calib.errors import CalibError, UnsupportedError
from calib.given import GIVEN
from calib.graph.executor import run
from calib.importers import load_model
from calib.importers.load import load_source
from calib.importers.tflite_schema import packed, unpacked
from calib.packed import PackedNetwork
from tests.test_importers_tflite import depthwise, grouped, means, pools
from tests.tflite_models import Writer
from tests.tflite_packs import FEW, answers, packed_for_tflite, samples_of

SMALL = pytest.mark.parametrize("network", [depthwise, grouped, means, pools])


def made_int8(network: Any, folder: Path) -> tuple[Path, PackedNetwork, Any]:
    """An int8 file, the network that we made it of, and samples."""
    writer = Writer()
    path = folder / "small.tflite"
    path.write_bytes(writer.content(network(writer)))
    x = samples_of(path)
    ours = packed_for_tflite(path, x, branches="none")
    made = folder / "int8.tflite"
    made.write_bytes(ours.model)
    return made, ours.network, x


@SMALL
def test_the_codes_are_those_of_the_file(network: Any, tmp_path: Path) -> None:
    path, ours, _ = made_int8(network, tmp_path)
    codes = load_source(path).codes
    assert codes is not None
    for layer, (name, found) in zip(ours.layers, codes.weights.items(), strict=True):
        expected = ours.weights[layer.name]
        np.testing.assert_array_equal(found.codes, expected.codes)
        np.testing.assert_array_equal(found.scales, expected.scales)
        given, wanted = codes.activations[name], ours.activations[layer.name]
        assert (np.float32(wanted.step), wanted.zero_point) == (given.step, given.zero_point)


@SMALL
def test_the_network_is_what_the_codes_stand_for(network: Any, tmp_path: Path) -> None:
    path, _, x = made_int8(network, tmp_path)
    graph, file = load_model(path), answers(path.read_bytes(), x)
    ours = run(graph, x)[graph.output]
    assert np.linalg.norm(ours - file) < 0.03 * np.linalg.norm(file)  # activations in float here


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_is_packed_with_the_codes_of_the_file(runtime: str, tmp_path: Path) -> None:
    path, _, x = made_int8(depthwise, tmp_path)
    np.savez(tmp_path / "samples.npz", x=x)
    with np.errstate(under="ignore"):  # as outside the tests
        package = pack(path, tmp_path / "samples.npz", None, FEW, target=Target(runtime))
    codes = load_source(path).codes
    assert codes is not None
    network = package.network
    assert (network.scheme, network.ranges.method) == ("int8", GIVEN)
    for name, weights in codes.weights.items():
        np.testing.assert_array_equal(network.weights[name].codes, weights.codes)
    assert dict(network.activations) == dict(codes.activations)


@pytest.mark.parametrize(("option", "value"), [("scheme", "int4"), ("activation_bits", 6)])
def test_another_scheme_is_refused(option: str, value: Any, tmp_path: Path) -> None:
    path, _, x = made_int8(depthwise, tmp_path)
    np.savez(tmp_path / "samples.npz", x=x)
    options = replace(FEW, **{option: value})
    with pytest.raises(CalibError, match=f"is quantised already.*become .*{value}.*leave --scheme"):
        pack(path, tmp_path / "samples.npz", None, options)


def changed(path: Path, tensor: str, kind: str) -> Path:
    """The file with another type for its first tensor whose name starts so."""
    model = unpacked(path.read_bytes())
    found = [t for t in model.subgraphs[0].tensors if t.name.decode().startswith(tensor)]
    found[0].type = getattr(schema.TensorType, kind)
    path.write_bytes(packed(model))
    return path


@pytest.mark.parametrize(
    ("tensor", "kind", "said"),
    [
        ("t0/codes", "INT16", r"activations of INT16 \(tensor 't0/codes'\), and only int8"),
        ("t0/codes", "UINT8", r"in the old way.*'t0/codes' of a DEPTHWISE_CONV_2D is UINT8"),
        ("t0/codes", "FLOAT32", r"in part only: its DEPTHWISE_CONV_2D of tensor 't0/codes'"),
    ],
)
def test_other_forms_are_named(tensor: str, kind: str, said: str, tmp_path: Path) -> None:
    path, _, _ = made_int8(depthwise, tmp_path)
    with pytest.raises(UnsupportedError, match=f"{said}.*give the float model"):
        load_model(changed(path, tensor, kind))


def test_weights_that_are_no_codes_around_zero_are_named(tmp_path: Path) -> None:
    path, _, _ = made_int8(depthwise, tmp_path)
    model = unpacked(path.read_bytes())
    weights = model.subgraphs[0].tensors[model.subgraphs[0].operators[1].inputs[1]]
    weights.quantization.zeroPoint = weights.quantization.zeroPoint + 3
    path.write_bytes(packed(model))
    with pytest.raises(UnsupportedError, match=r"its weights \(INT8\) are no codes of int8 around"):
        load_model(path)


def test_an_input_of_unsigned_codes_is_taken(tmp_path: Path) -> None:
    """As `inference_input_type=tf.uint8` makes it: a QUANTIZE from uint8 to int8 in front."""
    path, _, x = made_int8(depthwise, tmp_path)
    expected = answers(path.read_bytes(), x)
    model = unpacked(path.read_bytes())
    graph = model.subgraphs[0]
    entry, codes = graph.tensors[graph.inputs[0]], graph.tensors[graph.operators[0].outputs[0]]
    entry.type = schema.TensorType.UINT8
    entry.quantization = schema.QuantizationParametersT(
        scale=codes.quantization.scale, zeroPoint=codes.quantization.zeroPoint + 128
    )
    path.write_bytes(packed(model))
    made = packed_for_tflite(path, x, surrogates_at="post-activation", branches="all")
    np.testing.assert_array_equal(answers(made.model, x), expected)

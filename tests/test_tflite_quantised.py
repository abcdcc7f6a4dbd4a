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
from tests.tflite_bundles import IntegerWriter
from tests.tflite_models import Writer
from tests.tflite_packs import FEW, answers, outputs, packed_for_tflite, samples_of

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


def with_kept_axes(folder: Path) -> Path:
    """A product of int8 that keeps the axes of its input and has a bias and an activation."""
    generator = np.random.default_rng(0)
    codes = {"input": (0.05, -3), "output": (0.08, -128)}
    writer = IntegerWriter()
    source = writer.input(1, 3, 4)
    given = coded(writer, source, (1, 3, 4), "QUANTIZE", codes["input"])
    weights = writer.coded(writer.constant(generator.integers(-127, 128, (5, 4)), "int8"), 0.01, 0)
    bias = writer.coded(writer.constant(generator.integers(-900, 900, 5), "int32"), 0.0005, 0)
    options = {"kind": "FullyConnectedOptions", "keepNumDims": True, "fusedActivationFunction": 1}
    made = coded(
        writer, [given, weights, bias], (1, 3, 5), "FULLY_CONNECTED", codes["output"], **options,
        version=5,
    )  # fmt: skip
    answer = writer.operator("DEQUANTIZE", [made], (1, 3, 5), version=2)
    path = folder / "kept.tflite"
    path.write_bytes(writer.content(answer))
    return path


def coded(
    writer: IntegerWriter,
    inputs: Any,
    shape: tuple[int, ...],
    code: str,
    codes: Any,
    **options: Any,
) -> int:
    """An operator whose output has codes."""
    made = writer.operator(code, np.atleast_1d(inputs).tolist(), shape, **options)
    writer.graph.tensors[made].type = schema.TensorType.INT8
    return writer.coded(made, *codes)


@pytest.mark.parametrize("mode", ["pre-activation", "post-activation"])
@pytest.mark.parametrize("branches", ["all", "none"])
def test_a_product_that_keeps_its_axes_has_its_bias_behind(
    mode: str, branches: str, tmp_path: Path
) -> None:
    path = with_kept_axes(tmp_path)
    x = samples_of(path)
    made = packed_for_tflite(path, x, surrogates_at=mode, branches=branches)
    found, expected = answers(made.model, x), answers(path.read_bytes(), x)
    (layer,) = made.network.layers
    assert (layer.op, layer.bias.any()) == ("MatMul", False)
    main = made.plan.layers[layer.name].tap_tensors.main
    np.testing.assert_array_equal(found, next(iter(outputs(made.taps, x).values())))
    assert outputs(made.taps, x)[main].shape == (len(x), 3, 1, 5)
    assert expected.any()
    assert np.abs(found - expected).max() < 1.01 * 0.08  # one more rounding, of the kernel's codes

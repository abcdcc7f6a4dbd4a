"""ONNX models of many opsets give onnxruntime's answers for any batch size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from onnx.onnx_ml_pb2 import ModelProto, NodeProto

from calib.graph.executor import run
from calib.graph.linear import linear_layers
from calib.graph.model import Array
from tests.onnx_models import NEWEST, agrees, loaded, model_of, reference

RNG = np.random.default_rng


def weights_of(**shapes: tuple[int, ...]) -> dict[str, Array]:
    generator = RNG(3)
    return {k: generator.normal(size=s).astype(np.float32) for k, s in shapes.items()}


def normalised(prefix: str, channels: int) -> dict[str, Array]:
    generator = RNG(4)
    values = {part: generator.normal(size=channels).astype(np.float32) for part in ("s", "b", "m")}
    values["v"] = generator.uniform(0.5, 2, size=channels).astype(np.float32)
    return {f"{prefix}{part}": value for part, value in values.items()}


def reduced(op: str, inputs: list[str], output: str, axes: list[int], opset: int) -> NodeProto:
    """A reduction with its axes where this opset has them (an initializer `axes` since)."""
    since = {"ReduceMean": 18, "ReduceSum": 13}[op]
    if opset < since:
        return helper.make_node(op, inputs, [output], axes=axes, keepdims=0)
    return helper.make_node(op, [*inputs, "axes"], [output], keepdims=0)


def small_network(opset: int, batch: int | str) -> ModelProto:
    """conv + BN + relu, pooling, depthwise conv + clip, reduction, gemm, softmax."""
    make = helper.make_node
    nodes = [
        make(
            "Conv", ["x", "w1"], ["c1"], name="/conv1/Conv", auto_pad="SAME_UPPER", strides=[2, 2]
        ),
        make("BatchNormalization", ["c1", "ns", "nb", "nm", "nv"], ["n1"], epsilon=1e-3),
        make("Relu", ["n1"], ["r1"]),
        make("Dropout", ["r1"], ["d1"]),
        make("MaxPool", ["d1"], ["p1"], kernel_shape=[2, 2], strides=[1, 1], pads=[0, 0, 1, 1]),
        make("Conv", ["p1", "w2", "b2"], ["c2"], group=8, pads=[1, 1, 1, 1], dilations=[1, 1]),
        make("Mul", ["c2", "factor"], ["m2"]),
        make("Add", ["m2", "shift"], ["a2"]),
        make("Clip", ["a2", "low", "high"], ["r2"]),
        reduced("ReduceMean", ["r2"], "g", [2, 3], opset),
        make("Gemm", ["g", "w3", "b3"], ["f"], transB=1, alpha=0.5, beta=2.0),
        make("Softmax", ["f"], ["y"]),
    ]
    weights = weights_of(
        w1=(8, 3, 3, 3),
        w2=(8, 1, 3, 3),
        b2=(8,),
        w3=(4, 8),
        b3=(4,),
        factor=(8, 1, 1),
        shift=(1, 8, 1, 1),
    )
    limits = {"low": np.float32(0), "high": np.float32(6), "axes": np.array([2, 3], np.int64)}
    return model_of(nodes, [batch, 3, 9, 7], {**weights, **limits, **normalised("n", 8)}, opset)


@pytest.mark.parametrize("opset", [11, 13, 17, 21, NEWEST])
@pytest.mark.parametrize("batch", [1, "n"])
def test_a_small_network_of_every_age_agrees(tmp_path: Path, opset: int, batch: int | str) -> None:
    model = small_network(opset, batch)
    if opset == NEWEST:  # newer than onnxruntime knows; its operations are those of 21
        graph = loaded(model, tmp_path)
        x = RNG(1).normal(size=(5, 3, 9, 7)).astype(np.float32)
        expected = reference(small_network(21, batch), x)
        np.testing.assert_allclose(run(graph, x)[graph.output], expected, atol=1e-4)
    else:
        graph = agrees(model, tmp_path, RNG(1))
    assert [layer.name for layer in linear_layers(graph)] == ["conv1", "c2", "f"]
    assert "BatchNormalization" not in {node.op for node in graph.nodes}
    assert not {"Mul", "Add", "Dropout", "Identity"} & {node.op for node in graph.nodes}


def test_a_one_dimensional_convolution_agrees(tmp_path: Path) -> None:
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "w", "b"], ["c"], dilations=[2], pads=[3, 1], strides=[2]),
        make("LeakyRelu", ["c"], ["r"], alpha=0.2),
        make("AveragePool", ["r"], ["p"], kernel_shape=[3], ceil_mode=1, strides=[2]),
        make("Flatten", ["p"], ["f"]),
        make("MatMul", ["f", "w2"], ["m"]),
        make("Add", ["m", "b2"], ["y"]),
    ]
    weights = weights_of(w=(6, 4, 3), b=(6,), w2=(30, 5), b2=(5,))
    graph = agrees(model_of(nodes, ["n", 4, 20], weights, 17), tmp_path, RNG(2))
    assert [node.op for node in graph.nodes][-1] == "Gemm"


def attention(opset: int, batch: int | str) -> ModelProto:
    """One block of a transformer as PyTorch writes it: shapes are computed from the input's."""
    make = helper.make_node
    nodes = [
        make("LayerNormalization", ["x", "ls", "lb"], ["h"], axis=-1),
        make("Shape", ["h"], ["shape"]),
        make("Gather", ["shape", "zero"], ["n"], axis=0),
        make("Unsqueeze", ["n", "first"], ["n1"]),
        make("Concat", ["n1", "heads"], ["split"], axis=0),
        make("Concat", ["n1", "whole"], ["join"], axis=0),
    ]
    for name, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            make("MatMul", ["h", f"w{name}"], [f"{name}0"], name=f"/{name}/MatMul"),
            make("Add", [f"b{name}", f"{name}0"], [f"{name}1"]),
            make("Reshape", [f"{name}1", "split"], [f"{name}2"]),
            make("Transpose", [f"{name}2"], [f"{name}3"], perm=perm),
        ]
    nodes += [
        make("MatMul", ["q3", "k3"], ["s"]),
        make("Div", ["s", "root"], ["s1"]),
        make("Softmax", ["s1"], ["s2"], axis=-1),
        make("MatMul", ["s2", "v3"], ["o"]),
        make("Transpose", ["o"], ["o1"], perm=[0, 2, 1, 3]),
        make("Reshape", ["o1", "join"], ["o2"]),
        make("MatMul", ["o2", "wo"], ["o3"]),
        make("Add", ["x", "o3"], ["r"]),
        make("Gelu", ["r"], ["y"]),
    ]
    weights = weights_of(**{f"w{n}": (12, 12) for n in "qkvo"})
    weights = {name: value / 4 for name, value in weights.items()}
    weights |= weights_of(ls=(12,), lb=(12,))
    weights |= weights_of(**{f"b{n}": (12,) for n in "qkv"})
    weights["root"] = np.float32(2)
    lists = {"zero": 0, "first": [0], "heads": [5, 3, 4], "whole": [5, 12]}
    weights |= {name: np.array(value, np.int64) for name, value in lists.items()}
    return model_of(nodes, [batch, 5, 12], weights, opset, output_rank=3)


@pytest.mark.parametrize("batch", [1, "n"])
def test_attention_with_computed_shapes_agrees(tmp_path: Path, batch: int | str) -> None:
    graph = agrees(attention(20, batch), tmp_path, RNG(5))
    assert not {"Shape", "Gather", "Concat", "Unsqueeze"} & {node.op for node in graph.nodes}
    assert [layer.name for layer in linear_layers(graph)] == ["q", "k", "v", "o3"]


@pytest.mark.parametrize("target", [[1, 24], [-1, 24], [0, -1], [1, -1], [1, 2, 12], [1, 4, 3, 2]])
def test_a_reshape_that_pins_the_batch_is_freed(tmp_path: Path, target: list[int]) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "target"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["y"]),
    ]
    weights = {**weights_of(w=(24, 3)), "target": np.array(target, np.int64)}
    agrees(model_of(nodes, [1, 2, 3, 4], weights), tmp_path, RNG(6))


def test_heads_moved_into_the_batch_axis_are_freed(tmp_path: Path) -> None:
    make = helper.make_node
    nodes = [
        make("Transpose", ["x"], ["t"], perm=[1, 0, 2]),  # [5, n, 12]
        make("Reshape", ["t", "heads"], ["h"]),  # [5, n·3, 4]
        make("Transpose", ["h"], ["h1"], perm=[1, 0, 2]),
        make("Softmax", ["h1"], ["s"], axis=-1),
        make("Transpose", ["s"], ["s1"], perm=[1, 0, 2]),
        make("Reshape", ["s1", "whole"], ["o"]),
        make("Transpose", ["o"], ["y"], perm=[1, 0, 2]),
    ]
    lists = {"heads": [5, 3, 4], "whole": [5, 1, 12]}
    weights = {name: np.array(value, np.int64) for name, value in lists.items()}
    agrees(model_of(nodes, [1, 5, 12], weights, output_rank=3), tmp_path, RNG(7))


@pytest.mark.parametrize(("opset", "axis"), [(11, 1), (12, 2), (11, -1), (13, 1)])
def test_softmax_before_13_takes_all_axes_from_one_on(
    tmp_path: Path, opset: int, axis: int
) -> None:
    nodes = [helper.make_node("Softmax", ["x"], ["y"], axis=axis)]
    agrees(model_of(nodes, ["n", 3, 4], {}, opset, output_rank=3), tmp_path, RNG(8))


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_lists_that_became_inputs_are_read_in_both_forms(tmp_path: Path, opset: int) -> None:
    make = helper.make_node
    late = opset >= 13
    axes = {"keepdims": 1} if late else {"axes": [3], "keepdims": 1}
    nodes = [
        make("Unsqueeze", ["x", "three"], ["u"])
        if late
        else make("Unsqueeze", ["x"], ["u"], axes=[3]),
        make("ReduceSum", ["u", "three"] if late else ["u"], ["m"], **axes),
        make("Squeeze", ["m", "three"], ["s"]) if late else make("Squeeze", ["m"], ["s"], axes=[3]),
        make("Split", ["s", "parts"], ["a", "b"], axis=2)
        if late
        else make("Split", ["s"], ["a", "b"], axis=2, split=[2, 4]),
        make("Pad", ["a", "pads", "fill"], ["p"]),
        make("Concat", ["p", "b"], ["c"], axis=2),
        make("Slice", ["c", "start", "end", "axis"], ["y"]),
    ]
    lists = {
        "three": [3],
        "parts": [2, 4],
        "pads": [0, 0, 1, 0, 0, 0],
        "start": [1],
        "end": [99],
        "axis": [2],
    }
    weights: dict[str, Array] = {name: np.array(v, np.int64) for name, v in lists.items()}
    weights["fill"] = np.float32(0.5)
    agrees(model_of(nodes, ["n", 3, 6], weights, opset, output_rank=3), tmp_path, RNG(9))


def test_constants_are_computed_once(tmp_path: Path) -> None:
    make = helper.make_node
    two = helper.make_tensor("two", 1, [1], [2.0])
    nodes = [
        make("Constant", [], ["limit"], value_int=4),
        make("Constant", [], ["start"], value_int=0),
        make("Constant", [], ["step"], value_int=1),
        make("Range", ["start", "limit", "step"], ["range"]),
        make("Cast", ["range"], ["float"], to=1),
        make("ConstantOfShape", ["size"], ["twos"], value=two),
        make("Mul", ["float", "twos"], ["ramp"]),
        make("Add", ["x", "ramp"], ["y"]),
    ]
    weights = {"size": np.array([4], np.int64)}
    graph = agrees(model_of(nodes, ["n", 4], weights), tmp_path, RNG(10))
    assert [node.op for node in graph.nodes] == ["Add"]
    (ramp,) = graph.constants.values()
    assert ramp.tolist() == [0, 2, 4, 6]


def test_a_batch_size_computed_at_run_time_stays(tmp_path: Path) -> None:
    """A class token, as a vision transformer prepends to each sample."""
    make = helper.make_node
    nodes = [
        make("Shape", ["x"], ["shape"]),
        make("Slice", ["shape", "zero", "one"], ["n"]),
        make("Concat", ["n", "rest"], ["target"], axis=0),
        make("Expand", ["token", "target"], ["tokens"]),
        make("Concat", ["tokens", "x"], ["y"], axis=1),
    ]
    lists = {"zero": [0], "one": [1], "rest": [1, 3]}
    weights = {**weights_of(token=(1, 1, 3))}
    weights |= {name: np.array(v, np.int64) for name, v in lists.items()}
    agrees(model_of(nodes, ["n", 4, 3], weights, output_rank=3), tmp_path, RNG(11))


def test_a_batch_of_four_in_the_file_is_freed(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "target"], ["r"]),
        helper.make_node("Gemm", ["r", "w"], ["y"]),
    ]
    weights = {**weights_of(w=(6, 3)), "target": np.array([4, 6], np.int64)}
    model = model_of(nodes, [4, 2, 3], weights)
    graph = loaded(model, tmp_path)
    x = RNG(12).normal(size=(4, 2, 3)).astype(np.float32)
    np.testing.assert_allclose(run(graph, x)[graph.output], reference(model, x), atol=1e-5)
    assert run(graph, x[:1])[graph.output].shape == (1, 3)


def test_half_precision_weights_become_float(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["w"], ["w1"], to=1),
        helper.make_node("Gemm", ["x", "w1"], ["y"]),
    ]
    weights = {"w": RNG(13).normal(size=(4, 3)).astype(np.float16)}
    graph = agrees(model_of(nodes, ["n", 4], weights), tmp_path, RNG(14))
    assert {value.dtype for value in graph.constants.values()} == {np.dtype(np.float32)}


def test_weights_stored_as_integers_are_unpacked(tmp_path: Path) -> None:
    """Integers for storage alone are no quantised network; onnxruntime may make one of them."""
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", "scale"], ["w"], axis=1),
        helper.make_node("Gemm", ["x", "w"], ["y"]),
    ]
    codes = RNG(15).integers(-127, 128, size=(4, 3)).astype(np.int8)
    scale = np.array([0.5, 0.25, 0.125], np.float32)
    weights: dict[str, Array] = {"codes": codes, "scale": scale}
    graph = loaded(model_of(nodes, ["n", 4], weights), tmp_path)
    assert [node.op for node in graph.nodes] == ["Gemm"]
    np.testing.assert_array_equal(graph.constants["w"], codes * scale)


def test_local_functions_are_taken_apart(tmp_path: Path) -> None:
    body = [helper.make_node("Relu", ["a"], ["r"]), helper.make_node("Add", ["r", "a"], ["b"])]
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("own", "Bend", ["a"], ["b"], body, opsets)
    nodes = [
        helper.make_node("Bend", ["x"], ["h"], domain="own"),
        helper.make_node("Bend", ["h"], ["y"], domain="own"),
    ]
    model = model_of(nodes, ["n", 4])
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.functions.append(function)
    graph = agrees(model, tmp_path, RNG(17))
    assert [node.op for node in graph.nodes] == ["Relu", "Add", "Relu", "Add"]
    assert len({node.name for node in graph.nodes}) == 4

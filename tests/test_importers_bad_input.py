"""A bad model file gives one clear sentence, whatever is wrong with it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx.onnx_ml_pb2 import ModelProto, NodeProto

from calib.errors import CalibError, GraphError, UnsupportedError
from calib.graph.executor import run
from calib.graph.model import Graph, Node, Port
from calib.importers import load_model
from calib.importers.batch import free_batch
from tests.onnx_models import NEWEST, model_of, saved
from tests.tflite_models import Writer

make = helper.make_node
MATRIX = {"w": np.eye(4, dtype=np.float32)}


def sentence(path: Path, error: type[CalibError] = GraphError) -> str:
    """What loading says."""
    with pytest.raises(error) as caught:
        load_model(path)
    assert type(caught.value) is error
    return str(caught.value)


def onnx_sentence(folder: Path, model: ModelProto, error: type[CalibError]) -> str:
    return sentence(saved(model, folder), error)


def file_of(folder: Path, content: bytes) -> Path:
    path = folder / "model.bin"
    path.write_bytes(content)
    return path


def small() -> ModelProto:
    nodes = [
        make("Gemm", ["x", "w"], ["h"], name="first"),
        make("Relu", ["h"], ["r"]),
        make("Reshape", ["r", "shape"], ["s"]),
        make("Pad", ["s", "pads"], ["p"]),
        make("MaxPool", ["p"], ["m"], kernel_shape=[2], pads=[1, 0], strides=[2]),
        make("Flatten", ["m"], ["y"]),
    ]
    shapes = {"shape": np.array([1, 2, 2]), "pads": np.array([0, 0, 1, 0, 0, 1])}
    return model_of(nodes, [1, 4], {**MATRIX, **shapes})


def test_files_that_are_no_model(tmp_path: Path) -> None:
    assert "No such file" in sentence(tmp_path / "missing.onnx")
    assert "is no file" in sentence(tmp_path)
    assert "is empty" in sentence(file_of(tmp_path, b""))
    assert "neither an intact ONNX nor a TFLite" in sentence(
        file_of(tmp_path, b"\x89PNG\r\n\x1a\n")
    )
    assert "no intact TFLite" in sentence(file_of(tmp_path, b"\x1c\0\0\0TFL3"))


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([make("QuantizeLinear", ["x", "s"], ["y"], name="q")], "'q' is a QuantizeLinear"),
        ([make("DynamicQuantizeLinear", ["x"], ["a", "s", "z"]),
          make("DequantizeLinear", ["a", "s", "z"], ["y"])], "quantised already"),
        ([make("LRN", ["x"], ["y"], size=3, name="n")], "'n' is a LRN, which is not supported"),
        ([make("Fused", ["x"], ["y"], name="f", domain="own")], "custom operator own.Fused"),
        ([make("Dropout", ["x", "", "yes"], ["y"])], "training mode"),
        ([make("TopK", ["x", "k"], ["y", "i"])], "TopK"),
        ([make("NonZero", ["x"], ["y"])], "'y' is a NonZero"),
        ([make("Cast", ["x"], ["c"], to=7), make("Reshape", ["x", "c"], ["y"], name="r")],
         "'r' (Reshape): its shape depends on the samples"),
    ],
)  # fmt: skip
def test_unsupported_onnx_nodes_are_named(
    tmp_path: Path, nodes: list[NodeProto], said: str
) -> None:
    weights = {"s": np.float32(1), "yes": np.array(1, bool), "k": np.array([1])}
    model = model_of(nodes, ["n", 4], weights)
    model.opset_import.append(helper.make_opsetid("own", 1))
    assert said in onnx_sentence(tmp_path, model, UnsupportedError)


def test_outputs_that_an_operation_does_not_make_are_refused() -> None:
    graph = Graph("g", Port("x", (1, 4)), "y", (Node("r", "Relu", ("x",), ("y", "z")),), {})
    with pytest.raises(UnsupportedError, match=r"'r' \(Relu\): its output number 2"):
        free_batch(graph)


def test_what_is_supported_is_listed(tmp_path: Path) -> None:
    model = model_of([make("LRN", ["x"], ["y"], size=3)], ["n", 4])
    said = onnx_sentence(tmp_path, model, UnsupportedError)
    assert "supported are: " in said
    assert "Conv, " in said
    writer = Writer()
    content = writer.content(writer.operator("FLOOR", [writer.input(1, 4)], (1, 4)))
    said = sentence(file_of(tmp_path, content), UnsupportedError)
    assert "'t1' is a FLOOR" in said
    assert "CONV_2D" in said


def test_control_flow_is_refused(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("o", 1, None)
    branch = helper.make_graph([make("Relu", ["x"], ["o"])], "branch", [], [value])
    node = make("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)
    model = model_of([node], ["n", 4], {"yes": np.array(1, bool)})
    assert "control flow" in onnx_sentence(tmp_path, model, UnsupportedError)


def test_several_inputs_and_outputs_are_named(tmp_path: Path) -> None:
    model = model_of([make("Relu", ["x"], ["y"])], ["n", 4])
    model.graph.input.append(helper.make_tensor_value_info("mask", 1, ["n", 4]))
    assert "2 inputs (x, mask)" in onnx_sentence(tmp_path, model, UnsupportedError)
    model = model_of([make("Relu", ["x"], ["y"])], ["n", 4])
    model.graph.output.append(helper.make_tensor_value_info("x", 1, ["n", 4]))
    assert "2 outputs (y, x)" in onnx_sentence(tmp_path, model, UnsupportedError)
    writer = Writer()
    y = writer.operator("RELU", [writer.input(1, 4)], (1, 4))
    said = sentence(file_of(tmp_path, writer.content(y, 0)), UnsupportedError)
    assert "2 outputs (t1, t0)" in said


def test_inputs_that_are_not_float_or_not_fixed(tmp_path: Path) -> None:
    relu = [make("Relu", ["x"], ["y"])]
    said = onnx_sentence(tmp_path, model_of(relu, ["n", 4, "w"]), UnsupportedError)
    assert "[n, 4, w]" in said
    model = model_of([make("Cast", ["x"], ["y"], to=1)], ["n", 4])
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    assert "not of a float type" in onnx_sentence(tmp_path, model, UnsupportedError)
    writer = Writer()
    content = writer.content(writer.operator("RELU", [writer.input(1, 4)], (1, 4)))
    writer.graph.tensors[0].shapeSignature = [-1, -1]
    content = writer.content(1)
    assert "[-1, -1]" in sentence(file_of(tmp_path, content), UnsupportedError)


def test_subgraphs_and_custom_operators_of_tflite(tmp_path: Path) -> None:
    writer = Writer()
    y = writer.operator("CUSTOM", [writer.input(1, 4)], (1, 4))
    writer.model.operatorCodes[0].customCode = "Flex"
    said = sentence(file_of(tmp_path, writer.content(y)), UnsupportedError)
    assert "custom operator Flex" in said
    writer.model.subgraphs.append(writer.graph)
    assert "2 subgraphs" in sentence(file_of(tmp_path, writer.content(y)), UnsupportedError)


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    path = tmp_path / "external.onnx"
    big = {"w": np.ones((4, 400), np.float32)}
    model = model_of([make("Gemm", ["x", "w"], ["y"])], ["n", 4], big)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert load_model(path).constants["w"].shape == (4, 400)
    (tmp_path / "w.bin").unlink()
    assert "w.bin" in sentence(path)


def test_opsets_out_of_range(tmp_path: Path) -> None:
    model = model_of([make("Relu", ["x"], ["y"])], ["n", 4], opset=NEWEST + 1)
    assert f"opset {NEWEST + 1}" in onnx_sentence(tmp_path, model, UnsupportedError)
    old = model_of([make("Clip", ["x"], ["y"], min=0.0, max=1.0)], ["n", 4], opset=9)
    graph = load_model(saved(old, tmp_path))
    x = np.array([[-1, 0.5, 2, 1]], np.float32)
    assert run(graph, x)[graph.output].tolist() == [[0, 0.5, 1, 1]]


def test_samples_that_mix_in_a_batch_are_refused(tmp_path: Path) -> None:
    nodes = [make("ReduceMean", ["x"], ["m"], axes=[0]), make("Sub", ["x", "m"], ["y"])]
    said = onnx_sentence(tmp_path, model_of(nodes, ["n", 4]), GraphError)
    assert "do not stay apart" in said


@pytest.mark.parametrize("sizes", [[1 << 40], [-3, 2], [1 << 20, 1 << 20]])
def test_sizes_are_not_believed(tmp_path: Path, sizes: list[int]) -> None:
    nodes = [make("ConstantOfShape", ["shape"], ["c"]), make("Add", ["x", "c"], ["y"])]
    model = model_of(nodes, ["n", 4], {"shape": np.array(sizes, np.int64)})
    assert "elements" in onnx_sentence(tmp_path, model, GraphError)


def test_missing_packages_are_named(tmp_path: Path) -> None:
    """In a fresh interpreter in which neither format's package can be imported."""
    program = (
        "import sys; sys.modules['onnx'] = None; sys.modules['ai_edge_litert'] = None\n"
        "from calib.errors import GraphError\nfrom calib.importers import load_model\n"
        "try: load_model(sys.argv[1])\nexcept GraphError as error: print(error)"
    )
    root = Path(__file__).parent.parent
    for content in (b"\x1c\0\0\0TFL3____", small().SerializeToString()):
        path = str(file_of(tmp_path, content))
        command = [sys.executable, "-c", program, path]
        told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        assert "pip install 'npp-agent[host]'" in told.stdout


def attempt(content: bytes) -> None:
    """Load: a valid graph, or an error of ours; nothing else."""
    with TemporaryDirectory() as folder:
        path = file_of(Path(folder), content)
        try:
            graph = load_model(path)
        except CalibError as error:
            assert len(str(error)) > 20  # noqa: PT017 - both ways out are right
        else:
            assert graph.nodes


@pytest.fixture(scope="module")
def keyword_model(data_directory: Path) -> bytes:
    return (data_directory / "mlperf-tiny" / "kws_float.tflite").read_bytes()


@settings(max_examples=60)
@given(data=st.data())
def test_damaged_onnx_never_escapes(data: st.DataObject) -> None:
    attempt(damaged(data, small().SerializeToString()))


@settings(max_examples=30)
@given(data=st.data())
def test_damaged_tflite_never_escapes(data: st.DataObject, keyword_model: bytes) -> None:
    attempt(damaged(data, keyword_model))


def damaged(data: st.DataObject, content: bytes) -> bytes:
    """Cut somewhere, or with a few bits turned."""
    how: Callable[[], bytes] = data.draw(
        st.sampled_from([lambda: cut(data, content), lambda: flipped(data, content)])
    )
    return how()


def cut(data: st.DataObject, content: bytes) -> bytes:
    return content[: data.draw(st.integers(0, len(content) - 1))]


def flipped(data: st.DataObject, content: bytes) -> bytes:
    changed = bytearray(content)
    for bit in data.draw(st.lists(st.integers(0, len(content) * 8 - 1), min_size=1, max_size=4)):
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)

"""What no bundle is made of, and which onnxruntime runs none: each said in one sentence."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from agent.errors import RuntimeUnavailableError
from agent.inspection import inspection_document
from agent.runtimes.names import ONNXRUNTIME
from agent.runtimes.onnx_session import checked, imported
from agent.store.package import Package
from calib.errors import CalibError, GraphError
from calib.graph.model import Graph, Node, Port
from calib.graph.operations.geometry import LARGEST_PAD, window_of
from calib.graph.registry import operation_of
from calib.importers import load_model
from calib.importers.limits import LARGEST_BYTES
from tests.small_networks import classifier, packed


def refused(path: Path) -> str:
    with pytest.raises(CalibError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_over_two_gigabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    path.touch()
    os.truncate(path, LARGEST_BYTES + 1)  # takes no room on the disk
    said = refused(path)
    assert str(LARGEST_BYTES + 1) in said
    assert f"at most {LARGEST_BYTES}" in said


def test_weights_beside_the_model_count_too(tmp_path: Path) -> None:
    path = tmp_path / "external.onnx"
    weight = onnx.numpy_helper.from_array(np.ones((4, 400), np.float32), "w")
    node = onnx.helper.make_node("Gemm", ["x", "w"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, 1, ["n", None]) for name in ("x", "y")]
    ends[0] = onnx.helper.make_tensor_value_info("x", 1, ["n", 4])
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [weight])
    options = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    onnx.save(onnx.helper.make_model(graph), path, **options)
    os.truncate(tmp_path / "w.bin", LARGEST_BYTES + 1)
    said = refused(path)
    assert "w.bin" in said
    assert "pack a smaller one" in said


@pytest.mark.parametrize("operation", ["ConvTranspose", "LSTM"])
def test_linear_operations_that_cannot_be_corrected_are_named(operation: str) -> None:
    node = Node("upwards", operation, ("x", "w"), ("y",))
    with pytest.raises(CalibError, match=f"'upwards' is a {operation}, which is linear"):
        operation_of(node)


def test_a_product_of_two_activations_stays_as_it_is_and_is_named() -> None:
    generator = np.random.default_rng(0)
    constants = {"w": generator.standard_normal((4, 4)).astype(np.float32)}
    nodes = (
        Node("keys", "MatMul", ("x", "w"), ("k",)),
        Node("turned", "Transpose", ("k",), ("t",), {"perm": (0, 2, 1)}),
        Node("scores", "MatMul", ("x", "t"), ("y",)),
    )
    graph = Graph("attention", Port("x", (1, 3, 4)), "y", nodes, constants)
    document = inspection_document(Package(packed(graph, 24), "attention", ONNXRUNTIME))
    assert document["uncorrected"] == ["scores"]
    assert [layer["name"] for layer in document["layers"]] == ["keys"]


@pytest.mark.parametrize(
    ("scheme", "stored", "computed"),
    [("int8", 8, "int8"), ("int4", 4, "int8"), ("nf4", 4, "float32"), ("float", 16, None)],
)
def test_what_is_stored_and_what_is_computed_is_said(
    scheme: str, stored: int, computed: str | None
) -> None:
    network = packed(classifier(), 24, scheme=scheme)
    for runtime, wanted in ((ONNXRUNTIME, computed), ("cim", None)):
        layers = inspection_document(Package(network, "small", runtime))["layers"]
        assert {layer["bits_mean"] for layer in layers} == {stored}
        assert {layer["computed_as"] for layer in layers} == {wanted}


@pytest.mark.parametrize("version", ["1.16.3", "1.8.1", "0.5"])
def test_an_onnxruntime_that_is_too_old_is_named(version: str) -> None:
    with pytest.raises(RuntimeUnavailableError, match=rf"1\.17 or later, and {version}"):
        checked(SimpleNamespace(__version__=version))


@pytest.mark.parametrize("version", ["1.17.0", "1.32.0", "2.0.0rc1", "1.20.0+build"])
def test_a_newer_one_is_taken(version: str) -> None:
    package = SimpleNamespace(__version__=version)
    assert checked(package) is package
    assert checked(imported()) is imported()


def test_a_pad_that_fills_the_memory_is_refused() -> None:
    with pytest.raises(GraphError, match="each is at most"):
        window_of({"pads": (0, LARGEST_PAD + 1, 0, 0)}, (3, 3), (8, 8))
    assert window_of({"pads": (0, LARGEST_PAD, 0, 0)}, (3, 3), (8, 8)).pads[1] == LARGEST_PAD

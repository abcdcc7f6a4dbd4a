"""Graphs written as ONNX files: read back, and run by onnxruntime, they answer the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
import onnxruntime
import pytest

from calib.errors import GraphError
from calib.graph.executor import run
from calib.graph.model import Graph, Node
from calib.importers import load_model
from calib.importers.onnx_export import NEWEST_OPSET, OLDEST_OPSET, onnx_bytes, write_onnx
from calib.train.networks import Convolution, convolutional_network


def small() -> Graph:
    layers = (Convolution(4), Convolution(5, stride=2))
    return convolutional_network("small", (1, 6, 6), layers, 3, np.random.default_rng(0))


def check_same(graph: Graph, folder: Path, opset: int = 20) -> Graph:
    """What the graph answers, its file read back and onnxruntime answer too; returns the former."""
    path = folder / f"{graph.name}.onnx"
    write_onnx(graph, path, opset)
    x = np.random.default_rng(1).normal(size=(3, *graph.input.shape[1:])).astype(np.float32)
    wanted = run(graph, x)[graph.output]
    back = load_model(path)
    np.testing.assert_allclose(run(back, x)[back.output], wanted, atol=1e-6)
    session = onnxruntime.InferenceSession(path.read_bytes())
    np.testing.assert_allclose(session.run(None, {graph.input.name: x})[0], wanted, atol=1e-4)
    return back


def test_a_network_comes_back_as_it_was(tmp_path: Path) -> None:
    graph = small()
    back = check_same(graph, tmp_path)
    assert [node.op for node in back.nodes] == [node.op for node in graph.nodes]
    assert (back.name, back.input.shape) == ("small", (1, 1, 6, 6))


@pytest.mark.parametrize("opset", [OLDEST_OPSET, 21])
def test_other_opsets_say_the_same(opset: int, tmp_path: Path) -> None:
    check_same(small(), tmp_path, opset)


@pytest.mark.parametrize("opset", [OLDEST_OPSET - 1, NEWEST_OPSET + 1])
def test_an_opset_that_we_do_not_write_is_refused(opset: int) -> None:
    with pytest.raises(GraphError, match=f"not {opset}"):
        onnx_bytes(small(), opset)


def test_the_newest_opset_is_one_that_onnx_knows() -> None:
    assert onnx.defs.onnx_opset_version() >= NEWEST_OPSET


def test_the_same_graph_gives_the_same_bytes() -> None:
    assert onnx_bytes(small()) == onnx_bytes(small())


@pytest.mark.parametrize("opset", [OLDEST_OPSET, 20])
@pytest.mark.parametrize("name", ["ad", "kws", "resnet8", "vww"])
def test_a_real_model_survives_the_way_out_and_back(
    name: str, opset: int, data_directory: Path, tmp_path: Path
) -> None:
    model = data_directory / "mlperf-tiny" / f"{name}_float.tflite"
    check_same(load_model(model), tmp_path, opset)


def test_what_onnx_does_not_know_is_refused() -> None:
    graph = small()
    odd = replace(graph.nodes[1], attributes=MappingProxyType({"sharpness": 3}))
    with pytest.raises(GraphError, match="no valid ONNX model"):
        onnx_bytes(replace(graph, nodes=(graph.nodes[0], odd, *graph.nodes[2:])))


def test_nodes_that_leave_inputs_out_are_written_too(tmp_path: Path) -> None:
    graph = small()
    clip = Node("clip", "Clip", (graph.output, "", "most"), ("clipped",))
    constants = {**graph.constants, "most": np.float32(0.4)}
    nodes = (*graph.nodes, clip)
    check_same(replace(graph, nodes=nodes, constants=constants, output="clipped"), tmp_path)

"""Models written without `onnx` are models as `onnx` reads them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from agent.runtimes.onnx_bytes import OPSET, onnx_model
from calib.graph.executor import run
from calib.graph.model import Graph, Node, Port
from tests.small_networks import classifier, samples_for, signal_network

WHOLE = st.integers(-(2**63), 2**63 - 1)
ATTRIBUTES = st.one_of(
    WHOLE,
    st.floats(width=32, allow_nan=False),
    st.text(max_size=5),
    st.lists(WHOLE, min_size=1, max_size=4).map(tuple),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=4).map(tuple),
    st.lists(st.text(max_size=3), min_size=1, max_size=3).map(tuple),
)


def read(graph: Graph, outputs: list[str]) -> onnx.ModelProto:
    return onnx.load_model_from_string(onnx_model(graph, outputs))


@given(ATTRIBUTES)
def test_attributes_of_every_kind_are_read_as_they_were(value: object) -> None:
    node = Node("n", "Anything", ("x", ""), ("y",), {"value": value})  # type: ignore[dict-item]
    read_node = read(Graph("g", Port("x", (1, 2)), "y", (node,), {}), ["y"]).graph.node[0]
    found = helper.get_attribute_value(read_node.attribute[0])
    expected = [v.encode() if isinstance(v, str) else v for v in np.atleast_1d(value).tolist()]
    if isinstance(value, tuple):
        expected = [v.encode() if isinstance(v, str) else v for v in value]
        assert list(found) == expected
    else:
        assert found == (value.encode() if isinstance(value, str) else value)
    assert (list(read_node.input), list(read_node.output)) == (["x", ""], ["y"])
    assert (read_node.name, read_node.op_type) == ("n", "Anything")


WHOLE_TYPES = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "bool", *WHOLE_TYPES])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3, 4)])
def test_constants_of_every_type_are_read_as_they_were(kind: str, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(0, 100, shape).astype(kind)
    for order in (values, np.asfortranarray(values)):
        graph = Graph(
            "g", Port("x", (1,)), "y", (Node("n", "Add", ("x", "c"), ("y",)),), {"c": order}
        )
        (tensor,) = read(graph, ["y"]).graph.initializer
        found = numpy_helper.to_array(tensor)
        assert (tensor.name, found.dtype) == ("c", values.dtype)
        np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("graph", [classifier(), signal_network()])
def test_a_network_is_valid_and_runs_for_any_batch(graph: Graph) -> None:
    content = onnx_model(graph, [graph.output])
    model = onnx.load_model_from_string(content)
    assert model.opset_import[0].version == OPSET
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:] == list(
        graph.input.shape[1:]
    )
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    assert [node.op_type for node in inferred.graph.node] == [node.op for node in graph.nodes]
    session = onnxruntime.InferenceSession(content)
    for count in (1, 5):
        x = samples_for(graph, count)
        wanted = run(graph, x)[graph.output]
        np.testing.assert_allclose(session.run(None, {graph.input.name: x})[0], wanted, atol=1e-5)

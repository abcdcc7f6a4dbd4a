"""A graph as an ONNX file: the way back out of the importer.

Here and not elsewhere, because this folder alone knows ONNX's messages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from calib.errors import GraphError
from calib.graph.executor import run
from calib.graph.model import Graph, Node

NEWEST_OPSET = 25
"""The graph's operations have the semantics of the newest; runtimes may know older ones only."""

OLDEST_OPSET = 18
"""From here on no operation that the graph knows has changed what it means."""

_IR_VERSION = 10
"""Of ONNX 1.16 (2024), the first with all that is written here; newer ones shut out runtimes."""


def onnx_bytes(graph: Graph, opset: int = 20) -> bytes:
    """The graph as the bytes of an ONNX model with a free batch size.

    Args:
        graph: of float32.
        opset: the version of ONNX's operations that the file asks for.

    Raises:
        GraphError: ONNX does not accept the graph, or the opset is too old or unknown.
    """
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise GraphError(
            f"a graph is written for opsets {OLDEST_OPSET} to {NEWEST_OPSET}, not {opset}"
        )
    answer = run(graph, np.zeros(graph.input.shape, np.float32))[graph.output]
    body = helper.make_graph(
        [_node(node) for node in graph.nodes],
        graph.name,
        [_value(graph.input.name, graph.input.shape)],
        [_value(graph.output, answer.shape)],
        [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in graph.constants.items()],
    )
    model = helper.make_model(
        body,
        producer_name="npp-agent",
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=_IR_VERSION,
    )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        first = str(error).strip().splitlines()[0]
        raise GraphError(f"graph {graph.name!r} makes no valid ONNX model: {first}") from error
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def write_onnx(graph: Graph, path: Path, opset: int = 20) -> None:
    """Write the graph to a file; arguments and errors as for `onnx_bytes`."""
    path.write_bytes(onnx_bytes(graph, opset))


def _node(node: Node) -> onnx.NodeProto:
    attributes: dict[str, Any] = dict(node.attributes)
    return helper.make_node(node.op, node.inputs, node.outputs, name=node.name, **attributes)


def _value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape[1:]])

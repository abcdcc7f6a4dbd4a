"""Small ONNX models for tests, and what onnxruntime makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.onnx_ml_pb2 import ModelProto, NodeProto

from calib.graph.executor import run
from calib.graph.model import Array, Graph
from calib.importers import load_model

NEWEST = onnx.defs.onnx_opset_version()
Shape = Sequence[int | str | None]


def model_of(
    nodes: Sequence[NodeProto],
    shape: Shape,
    weights: Mapping[str, Array] | None = None,
    opset: int = 17,
    output_rank: int = 2,
) -> ModelProto:
    """A model with input `x` and output `y`."""
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None] * output_rank)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = min(onnx.IR_VERSION, 10)
    return model


def saved(model: ModelProto, folder: Path) -> Path:
    """The model in a file."""
    path = folder / "small.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def loaded(model: ModelProto, folder: Path) -> Graph:
    """The model as our graph, through a file."""
    return load_model(saved(model, folder))


def reference(model: ModelProto, x: Array) -> Array:
    """What onnxruntime answers, one sample at a time if the model fixes its batch to one."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    batch = session.get_inputs()[0].shape[0]
    parts = [x[i : i + 1] for i in range(len(x))] if batch == 1 else [x]
    return np.concatenate([session.run(None, {"x": part})[0] for part in parts])


def agrees(model: ModelProto, folder: Path, generator: np.random.Generator) -> Graph:
    """Check our answer against onnxruntime's for batches of 1 and 5; returns our graph."""
    graph = loaded(model, folder)
    for batch in (1, 5):
        x = generator.normal(size=(batch, *graph.input.shape[1:])).astype(np.float32)
        np.testing.assert_allclose(run(graph, x)[graph.output], reference(model, x), atol=1e-4)
    return graph

"""Small TFLite models for tests, written with the schema's object API, and LiteRT's answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from calib.graph.executor import run
from calib.graph.model import Array, Graph
from calib.importers import load_model

_TYPES = {"float32": 0, "float16": 1, "int32": 2, "int64": 4, "int8": 9}


class Writer:
    """Collects tensors and operators of one subgraph; the batch is one, as converters write it."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, shape: Sequence[int], value: Array | None = None, kind: str = "") -> int:
        """A tensor, constant where it has a value; returns its number."""
        tensor = schema.TensorT()
        tensor.name = f"t{len(self.graph.tensors)}"
        tensor.shape = list(shape)
        tensor.type = _TYPES[kind or ("float32" if value is None else value.dtype.name)]
        if value is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(value.tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def input(self, *shape: int) -> int:
        """The model's input."""
        self.graph.inputs.append(self.tensor(shape))
        return int(self.graph.inputs[-1])

    def constant(self, value: Any, dtype: str = "float32") -> int:
        """A constant tensor."""
        array = np.asarray(value, dtype)
        return self.tensor(array.shape, array)

    def operator(
        self, code: str, inputs: Sequence[int], *shapes: Sequence[int], **options: Any
    ) -> Any:
        """An operator with outputs of these shapes; returns their numbers (one: itself)."""
        operator = schema.OperatorT()
        entry = schema.OperatorCodeT()
        entry.builtinCode = getattr(schema.BuiltinOperator, code)
        entry.deprecatedBuiltinCode = min(entry.builtinCode, 127)
        entry.version = options.pop("version", 1)
        operator.opcodeIndex = len(self.model.operatorCodes)
        self.model.operatorCodes.append(entry)
        operator.inputs = list(inputs)
        operator.outputs = [self.tensor(shape) for shape in shapes]
        kind = options.pop("kind", "")
        if kind:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = getattr(schema, kind + "T")()
            for name, value in options.items():
                setattr(operator.builtinOptions, name, value)
        self.graph.operators.append(operator)
        return operator.outputs[0] if len(shapes) == 1 else operator.outputs

    def content(self, *outputs: int) -> bytes:
        """The file."""
        self.graph.outputs = list(outputs)
        return packed(self.model)


def packed(model: Any) -> bytes:
    """The file of a model in the schema's object API."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def reference(content: bytes, x: Array) -> Array:
    """What LiteRT answers, one sample at a time."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (entry,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    answers = []
    for sample in x:
        interpreter.set_tensor(entry["index"], sample[None])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(result["index"]).copy())
    return np.concatenate(answers)


def agrees(content: bytes, folder: Path, samples: Array) -> Graph:
    """Check our answer against LiteRT's for batches of 1 and of all samples; our graph."""
    path = folder / "small.tflite"
    path.write_bytes(content)
    graph = load_model(path)
    for x in (samples[:1], samples):
        expected = reference(content, x)
        np.testing.assert_allclose(run(graph, x)[graph.output], expected, rtol=1e-5, atol=1e-4)
    return graph

"""TFLite files as objects of the schema that can be put together anew, and back as bytes.

Beside `tflite_file`, which reads, the only file that knows the schema. Python's flatbuffers put
data where they fit, the schema wants them at multiples of 16 bytes (schema.fbs, Buffer), as
kernels for 32-bit processors need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from calib.graph.model import Array

ALIGNMENT_BYTES = 16
_VERSION = 3
_LAST_OLD_CODE = 127
"""Operators up to this number have it in the field that older readers know, too."""

_TYPES = {
    "float32": "FLOAT32", "float16": "FLOAT16", "int8": "INT8", "uint8": "UINT8",
    "int16": "INT16", "int32": "INT32", "int64": "INT64", "bool": "BOOL",
}  # fmt: skip


@dataclass(frozen=True)
class Affine:
    """Codes q of a tensor stand for (q − zero_point) · scale, along its axis or altogether."""

    scales: Array
    zero_point: int
    axis: int = 0


@dataclass(frozen=True)
class DataPlace:
    """Where a tensor's contents and its scales start in a file, in bytes; None: there are none."""

    data: int | None
    scales: int | None


class _AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]  # the package has no types
    """Puts arrays where kernels want them."""

    def CreateNumpyVector(self, x: Array) -> Any:  # noqa: N802  # the package's name
        """Write an array, aligned."""
        self.StartVector(x.itemsize, x.size, ALIGNMENT_BYTES)
        payload = x.astype(x.dtype.newbyteorder("<"), copy=False).tobytes()
        self.head -= len(payload)
        self.Bytes[self.head : self.head + len(payload)] = payload
        self.vectorNumElems = x.size
        return self.EndVector()


def made_with() -> str:
    """The package whose schema wrote the file, and its version."""
    return f"ai-edge-litert {metadata.version('ai-edge-litert')}"


def unpacked(content: bytes) -> Any:
    """A file that `read_tflite` took, as a ModelT."""
    return schema.ModelT.InitFromPackedBuf(content, 0)


def packed(model: Any) -> bytes:
    """The file of a ModelT."""
    builder = _AlignedBuilder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def empty_model() -> Any:
    """A ModelT of one graph without tensors; its first buffer is the empty one."""
    graph = schema.SubGraphT(tensors=[], inputs=[], outputs=[], operators=[])
    return schema.ModelT(
        version=_VERSION, operatorCodes=[], subgraphs=[graph], buffers=[schema.BufferT()]
    )


def add_tensor(  # noqa: PLR0913, PLR0917  # all that a tensor is
    model: Any,
    name: str,
    shape: Sequence[int],
    dtype: str,
    affine: Affine | None = None,
    value: Array | None = None,
) -> int:
    """Enter a tensor into a model's graph, constant where it has a value; returns its number."""
    tensor = schema.TensorT(
        shape=np.array(shape, np.int32),
        type=getattr(schema.TensorType, _TYPES[dtype]),
        name=name,
        hasRank=True,
    )
    if affine is not None:
        tensor.quantization = schema.QuantizationParametersT(
            scale=np.asarray(affine.scales, np.float32).reshape(-1),
            zeroPoint=np.full(np.size(affine.scales), affine.zero_point, np.int64),
            quantizedDimension=affine.axis,
        )
    if value is not None:
        data = np.ascontiguousarray(value, np.dtype(dtype).newbyteorder("<"))
        tensor.buffer = len(model.buffers)
        model.buffers.append(schema.BufferT(data=np.frombuffer(data.tobytes(), np.uint8)))
    model.subgraphs[0].tensors.append(tensor)
    return len(model.subgraphs[0].tensors) - 1


def operator_number(model: Any, code: str, version: int) -> int:
    """The number of an operator in a model's list of those it uses."""
    number = getattr(schema.BuiltinOperator, code)
    known = [(entry.builtinCode, entry.version) for entry in model.operatorCodes]
    if (number, version) not in known:
        entry = schema.OperatorCodeT(
            deprecatedBuiltinCode=min(number, _LAST_OLD_CODE), version=version, builtinCode=number
        )
        model.operatorCodes.append(entry)
        known.append((number, version))
    return known.index((number, version))


def version_of(model: Any, operator: Any) -> int:
    """Of an operator's form, as its file says."""
    return int(model.operatorCodes[operator.opcodeIndex].version)


def options_of(kind: str, **fields: Any) -> tuple[int, Any]:
    """The options of an operator, with the schema's names of the fields, and their kind."""
    options = getattr(schema, f"{kind}T")()
    for name, value in fields.items():
        if not hasattr(options, name):
            raise AttributeError(f"{kind} has no field {name}")
        setattr(options, name, value)
    return getattr(schema.BuiltinOptions, kind), options


def add_operator(
    model: Any,
    number: int,
    inputs: Sequence[int],
    outputs: Sequence[int],
    options: tuple[int, Any] = (0, None),
) -> Any:
    """Enter an operator behind the others; returns it."""
    kind, value = options
    operator = schema.OperatorT(
        opcodeIndex=number,
        inputs=np.array(inputs, np.int32),
        outputs=np.array(outputs, np.int32),
        builtinOptionsType=kind,
        builtinOptions=value,
    )
    model.subgraphs[0].operators.append(operator)
    return operator


def data_places(content: bytes) -> list[DataPlace]:
    """Where each tensor of a file has its contents and its scales."""
    start = np.frombuffer(content, np.uint8).ctypes.data
    table = schema.Model.GetRootAs(content, 0)
    graph = table.Subgraphs(0)
    places = []
    for tensor in (graph.Tensors(i) for i in range(graph.TensorsLength())):
        buffer, codes = table.Buffers(tensor.Buffer()), tensor.Quantization()
        has_scales = codes is not None and codes.ScaleLength()
        places.append(
            DataPlace(
                data=buffer.DataAsNumpy().ctypes.data - start if buffer.DataLength() else None,
                scales=codes.ScaleAsNumpy().ctypes.data - start if has_scales else None,
            )
        )
    return places

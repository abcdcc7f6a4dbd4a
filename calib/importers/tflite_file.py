"""Reads a TFLite file into plain values; the only file that knows flatbuffers.

The schema's classes read fields straight from the bytes and trust every offset and length, so a
damaged file makes them raise whatever Python raises for bad indices. All of that is translated
here, and no length is believed before it is compared with the size of the file.

Format: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from calib.errors import GraphError, UnsupportedError
from calib.graph.model import Array
from calib.importers.tflite_options import OPTIONS

IDENTIFIER = b"TFL3"

_DTYPES = {
    "FLOAT32": np.float32,
    "FLOAT16": np.float16,
    "FLOAT64": np.float64,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}
_DAMAGE = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What reading at a wrong offset raises, besides `struct.error`."""


@dataclass(frozen=True)
class Quantization:
    """Integers q stand for (q − zero_point) · scale, along one axis or for the whole tensor."""

    scale: Array
    zero_point: Array
    axis: int


@dataclass(frozen=True)
class Tensor:
    """A tensor of the file; `value` is set where the file holds its contents."""

    name: str
    type: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    """As the shape, with −1 where a size is not fixed."""

    value: Array | None
    quantization: Quantization | None


@dataclass(frozen=True)
class Operator:
    """One operation; inputs and outputs are tensor numbers, −1 for one left out."""

    code: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """The one subgraph of a file."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_tflite(content: bytes, source: str) -> Model:
    """Read the content of a TFLite file.

    Args:
        content: the whole file.
        source: its name, for messages.

    Raises:
        GraphError: damaged.
        UnsupportedError: several subgraphs, an unknown operator or type.
    """
    with _translated(source):
        return _model(schema.Model.GetRootAs(content, 0), content)


@contextmanager
def _translated(source: str) -> Iterator[None]:
    try:
        yield
    except (struct.error, *_DAMAGE) as error:
        raise GraphError(
            f"{source} is no intact TFLite file: it was cut or damaged; export or copy it again"
        ) from error


def _model(table: Any, content: bytes) -> Model:
    if table.SubgraphsLength() != 1:
        raise UnsupportedError(
            f"the model has {table.SubgraphsLength()} subgraphs; a network here is one, without "
            "control flow: export one signature alone"
        )
    graph = table.Subgraphs(0)
    codes = _items(table.OperatorCodes, table.OperatorCodesLength(), len(content))
    tensors = _items(graph.Tensors, graph.TensorsLength(), len(content))
    operators = _items(graph.Operators, graph.OperatorsLength(), len(content))
    if not operators:
        raise GraphError("the model has no operators; it was cut: export it again")
    return Model(
        tensors=tuple(_tensor(table, t, content) for t in tensors),
        operators=tuple(_operator(o, codes, len(tensors)) for o in operators),
        inputs=_indices(graph.InputsAsNumpy(), len(tensors)),
        outputs=_indices(graph.OutputsAsNumpy(), len(tensors)),
    )


def _items(item: Callable[[int], Any], length: int, limit_bytes: int) -> list[Any]:
    """The tables of a vector; each takes 4 bytes of the file at least."""
    if length * 4 > limit_bytes:
        raise ValueError(length)
    return [item(i) for i in range(length)]


def _indices(vector: Any, count: int) -> tuple[int, ...]:
    indices = tuple(int(i) for i in np.atleast_1d(vector)) if not isinstance(vector, int) else ()
    if any(not -1 <= i < count for i in indices):
        raise IndexError(indices)
    return indices


def _enum_name(enum: Any, value: int) -> str:
    names = (name for name, v in vars(enum).items() if v == value and name.isupper())
    return next(names, f"number {value}")


def _tensor(model: Any, table: Any, content: bytes) -> Tensor:
    shape = _shape(table.ShapeAsNumpy())
    signature = _shape(table.ShapeSignatureAsNumpy())
    name = (table.Name() or b"").decode("utf-8", "replace")
    if table.Sparsity() is not None:
        raise UnsupportedError(f"tensor {name!r} is stored sparsely; export the model dense")
    kind = _enum_name(schema.TensorType, table.Type())
    return Tensor(
        name=name,
        type=kind,
        shape=shape,
        signature=signature if len(signature) == len(shape) else shape,
        value=_value(model, table.Buffer(), kind, shape, content),
        quantization=_quantization(table.Quantization()),
    )


def _shape(vector: Any) -> tuple[int, ...]:
    return () if isinstance(vector, int) else tuple(int(v) for v in vector)


def _value(
    model: Any, number: int, kind: str, shape: tuple[int, ...], content: bytes
) -> Array | None:
    if not 0 <= number < model.BuffersLength():
        raise IndexError(number)
    buffer = model.Buffers(number)
    data = buffer.DataAsNumpy() if buffer.DataLength() else None
    if buffer.Offset() > 1:  # files over 2 GB keep their data after the flatbuffer
        data = np.frombuffer(content, np.uint8, buffer.Size(), buffer.Offset())
    if data is None or kind not in _DTYPES:
        return None
    dtype = np.dtype(_DTYPES[kind])
    if data.size != math.prod(shape) * dtype.itemsize or min(shape, default=1) < 0:
        raise ValueError(shape)
    return np.frombuffer(data.tobytes(), dtype.newbyteorder("<")).astype(dtype).reshape(shape)


def _quantization(table: Any) -> Quantization | None:
    if table is None or not table.ScaleLength():
        return None
    scale = np.array(table.ScaleAsNumpy(), np.float32)
    zero = np.array(table.ZeroPointAsNumpy() if table.ZeroPointLength() else [0], np.int64)
    return Quantization(scale, zero, int(table.QuantizedDimension()))


def _operator(table: Any, codes: list[Any], tensors: int) -> Operator:
    if not 0 <= table.OpcodeIndex() < len(codes):
        raise IndexError(table.OpcodeIndex())
    entry = codes[table.OpcodeIndex()]
    # Codes above 127 have their own field; older files have the old field alone (schema.fbs).
    code = _enum_name(
        schema.BuiltinOperator, max(entry.BuiltinCode(), entry.DeprecatedBuiltinCode())
    )
    if code == "CUSTOM":
        code = "custom operator " + (entry.CustomCode() or b"").decode("utf-8", "replace")
    return Operator(
        code=code,
        inputs=_indices(table.InputsAsNumpy(), tensors),
        outputs=_indices(table.OutputsAsNumpy(), tensors),
        options=_options(table, code),
    )


def _options(operator: Any, code: str) -> dict[str, Any]:
    kind, fields = OPTIONS.get(code, ("", ()))
    if not kind:
        return {}
    union = operator.BuiltinOptions()
    if union is None:
        return dict.fromkeys(map(_snake, fields), 0)
    if operator.BuiltinOptionsType() != getattr(schema.BuiltinOptions, kind):
        raise ValueError(kind)
    table = getattr(schema, kind)()
    table.Init(union.Bytes, union.Pos)
    return {_snake(field): getattr(table, field)() for field in fields}


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()

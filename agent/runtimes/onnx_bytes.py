"""A graph as the bytes of an ONNX model, written by hand.

The board has no `onnx`, and needs none: a model is a few nested messages of protobuf, of which
these are the fields (onnx.proto, IR version 9). So a runtime's graph is made on the board, from the
codes that the bundle holds anyway and the factors of the moment.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from calib.graph.model import Array, Attribute, Graph, Node

OPSET = 20
IR_VERSION = 9
"""Of ONNX 1.15 (2023); onnxruntime reads it from 1.17 on."""

_TYPES = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7,
    "bool": 9, "float16": 10, "float64": 11, "uint32": 12, "uint64": 13,
}  # fmt: skip
"""TensorProto.DataType"""


def onnx_model(graph: Graph, outputs: Sequence[str]) -> bytes:
    """The bytes of an ONNX model of the graph, with a free batch size.

    Args:
        graph: of operations with ONNX's names and semantics, quantised ones too; its input is
            float32.
        outputs: names of the tensors that the model gives, in order; of any type, which the reader
            works out.
    """
    body = b"".join(
        [
            *(_message(1, _node(node)) for node in graph.nodes),
            _text(2, graph.name),
            *(_message(5, _tensor(name, value)) for name, value in graph.constants.items()),
            _message(11, _input(graph.input.name, graph.input.shape)),
            *(_message(12, _text(1, name)) for name in outputs),
        ]
    )
    operations = _text(1, "") + _number(2, OPSET)
    return b"".join(
        [
            _number(1, IR_VERSION),
            _text(2, "npp-agent"),
            _message(7, body),
            _message(8, operations),
        ]
    )


def _varint(value: int) -> bytes:
    value &= 2**64 - 1  # negative numbers are written as two's complement
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())


_ATTRIBUTES: Mapping[type, tuple[int, int, int, int, Callable[[int, Any], bytes]]] = {
    float: (1, 6, 2, 7, _float),
    int: (2, 7, 3, 8, _number),
    str: (3, 8, 4, 9, _text),
}
"""AttributeProto: types and fields of one and of several values, and how they are written."""


def _node(node: Node) -> bytes:
    parts = [_text(1, name) for name in node.inputs]
    parts += [_text(2, name) for name in node.outputs]
    parts += [_text(3, node.name), _text(4, node.op)]
    parts += [_message(5, _attribute(name, value)) for name, value in node.attributes.items()]
    return b"".join(parts)


def _attribute(name: str, value: Attribute) -> bytes:
    values: tuple[Any, ...] = value if isinstance(value, tuple) else (value,)
    known = (kind for kind in (str, float) if any(isinstance(part, kind) for part in values))
    of = next(known, int)
    one, several, field, fields, write = _ATTRIBUTES[of]
    listed = isinstance(value, tuple)
    written = [write(fields if listed else field, part) for part in values]
    return b"".join([_text(1, name), *written, _number(20, several if listed else one)])


def _tensor(name: str, value: Array) -> bytes:
    plain = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
    return b"".join(
        [
            *(_number(1, size) for size in value.shape),
            _number(2, _TYPES[value.dtype.name]),
            _text(8, name),
            _message(9, plain.tobytes()),
        ]
    )


def _input(name: str, shape: tuple[int, ...]) -> bytes:
    """A float32 tensor whose first axis is free."""
    axes = [_text(2, "n"), *(_number(1, size) for size in shape[1:])]
    kind = _number(1, _TYPES["float32"]) + _message(2, b"".join(_message(1, a) for a in axes))
    return _text(1, name) + _message(2, _message(1, kind))

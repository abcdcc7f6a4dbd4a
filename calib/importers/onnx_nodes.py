"""ONNX's messages as plain values: tensors as arrays, attributes as numbers, words and tuples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from onnx import AttributeProto, TensorProto, numpy_helper

from calib.errors import GraphError, UnsupportedError
from calib.graph.model import Array, Attribute
from calib.importers.limits import check_elements

if TYPE_CHECKING:
    from onnx import NodeProto

_WIDENED = {TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
"""Float types that become float32, the one type the network computes in."""

_PLAIN = {
    TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT8, TensorProto.INT16, TensorProto.INT32,
    TensorProto.INT64, TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32,
    TensorProto.UINT64, TensorProto.INT4, TensorProto.UINT4,
}  # fmt: skip


def array_of(tensor: TensorProto) -> Array:
    """A tensor's contents; every float type becomes float32.

    Raises:
        GraphError: the contents do not fill the shape.
        UnsupportedError: a type that no network here holds.
    """
    check_elements(tensor.dims, f"tensor {tensor.name!r}")
    if tensor.data_type not in _PLAIN | _WIDENED:
        known = TensorProto.DataType.values()
        kind = TensorProto.DataType.Name(tensor.data_type) if tensor.data_type in known else "?"
        raise UnsupportedError(f"tensor {tensor.name!r} has type {kind}, which is not supported")
    try:
        array: Array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, RuntimeError) as error:
        raise GraphError(
            f"the contents of tensor {tensor.name!r} do not fill its shape {list(tensor.dims)}; "
            "the model is damaged: export or copy it again"
        ) from error
    wide = tensor.data_type in _WIDENED
    with np.errstate(over="ignore", under="ignore"):
        return np.array(array, np.float32) if wide else np.array(array)


def float_type(data_type: int) -> int:
    """The type that a Cast or an input of this type has here."""
    return int(TensorProto.FLOAT) if data_type in _WIDENED else data_type


def attributes_of(node: NodeProto) -> dict[str, Attribute]:
    """A node's attributes other than tensors.

    Raises:
        UnsupportedError: a subgraph, or another kind that no operation here takes.
    """
    return dict(_attributes(node))


def _attributes(node: NodeProto) -> Iterator[tuple[str, Attribute]]:
    label = repr(node.name or next(iter(node.output), ""))
    for attribute in node.attribute:
        kind = attribute.type
        if kind == AttributeProto.INT:
            yield attribute.name, int(attribute.i)
        elif kind == AttributeProto.FLOAT:
            yield attribute.name, float(attribute.f)
        elif kind == AttributeProto.STRING:
            yield attribute.name, attribute.s.decode("utf-8", "replace")
        elif kind == AttributeProto.INTS:
            yield attribute.name, tuple(int(v) for v in attribute.ints)
        elif kind == AttributeProto.FLOATS:
            yield attribute.name, tuple(float(v) for v in attribute.floats)
        elif kind in {AttributeProto.GRAPH, AttributeProto.GRAPHS}:
            raise UnsupportedError(
                f"node {label} is a {node.op_type} with a subgraph; control flow is not supported: "
                "export the model without branches and loops"
            )
        elif kind != AttributeProto.TENSOR:
            raise UnsupportedError(
                f"node {label} ({node.op_type}): attribute {attribute.name!r} of its kind is not "
                "supported"
            )


def tensor_attribute(node: NodeProto, name: str) -> Array | None:
    """An attribute that is a tensor; None where there is none of that name."""
    found = (a.t for a in node.attribute if a.name == name and a.type == AttributeProto.TENSOR)
    tensor = next(found, None)
    return None if tensor is None else array_of(tensor)


def constant_of(node: NodeProto) -> Array:
    """The value of a Constant node, in whichever of its forms.

    Raises:
        UnsupportedError: it is sparse or a word.
    """
    tensor = tensor_attribute(node, "value")
    if tensor is not None:
        return tensor
    attributes = {a.name: a for a in node.attribute}
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64)):
        if name in attributes:
            return np.array(attributes_of(node)[name], dtype)
        if name + "s" in attributes:
            return np.array(attributes_of(node)[name + "s"], dtype)
    raise UnsupportedError(
        f"node {node.name or next(iter(node.output), '')!r} (Constant) holds no dense numbers"
    )

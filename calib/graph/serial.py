"""A graph as a document for JSON and its constants as arrays, and back, with NumPy alone.

The document comes from a file that may be damaged, so every type is checked before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from calib.errors import GraphError
from calib.graph.model import Array, Attribute, Graph, Node, Port
from calib.graph.registry import operation_of

VERSION = 1
_NODE_KEYS = {"name", "op", "inputs", "outputs", "attributes"}
_KEYS = {"version", "name", "input", "output", "nodes", "constants"}


def to_document(graph: Graph) -> tuple[dict[str, Any], dict[str, Array]]:
    """The graph as a document of JSON's types, and its constants by name.

    Raises:
        GraphError: an attribute is no finite number, which JSON cannot hold.
    """
    document = {
        "version": VERSION,
        "name": graph.name,
        "input": {"name": graph.input.name, "shape": list(graph.input.shape)},
        "output": graph.output,
        "nodes": [_node_document(node) for node in graph.nodes],
        "constants": {name: list(value.shape) for name, value in graph.constants.items()},
    }
    return document, dict(graph.constants)


def _node_document(node: Node) -> dict[str, Any]:
    attributes = {}
    for key, value in node.attributes.items():
        parts = value if isinstance(value, tuple) else (value,)
        if any(isinstance(part, float) and not math.isfinite(part) for part in parts):
            raise GraphError(
                f"node {node.name!r} ({node.op}): attribute {key!r} is {value}, and only finite "
                "numbers can be stored"
            )
        plain = [_plain(part) for part in parts]
        attributes[key] = plain if isinstance(value, tuple) else plain[0]
    return {
        "name": node.name,
        "op": node.op,
        "inputs": list(node.inputs),
        "outputs": list(node.outputs),
        "attributes": attributes,
    }


def _plain(value: float | str) -> float | str:
    """A number without NumPy's type."""
    return value.item() if isinstance(value, np.generic) else value


def from_document(document: object, arrays: Mapping[str, Array]) -> Graph:
    """The graph that `to_document` made a document of.

    Args:
        document: what JSON gave.
        arrays: the constants by name; others than the document's are not looked at.

    Raises:
        GraphError: the document or an array is not what it should be.
        UnsupportedError: an operation that this version does not know.
    """
    entries = _mapping(document, "the graph", _KEYS)
    if entries["version"] != VERSION or isinstance(entries["version"], bool):
        raise GraphError(
            f"the graph has format version {entries['version']!r}, and this program reads "
            f"{VERSION}: pack the model again with this version"
        )
    port = _mapping(entries["input"], "the graph's input", {"name", "shape"})
    shape = _sizes(port["shape"], "the graph's input")
    if not shape or shape[0] != 1:
        raise GraphError(f"the graph's input has shape {list(shape)}, which must begin with 1")
    nodes = tuple(_node(entry, i) for i, entry in enumerate(_list(entries["nodes"], "nodes")))
    shapes = entries["constants"]
    if not isinstance(shapes, dict):
        raise _damaged("the graph's list of constants", shapes)
    return Graph(
        name=_text(entries["name"], "the graph's name"),
        input=Port(_text(port["name"], "the input's name"), shape),
        output=_text(entries["output"], "the graph's output"),
        nodes=nodes,
        constants={_text(n, "a constant's name"): _constant(n, shapes[n], arrays) for n in shapes},
    )


def _node(entry: object, position: int) -> Node:
    where = f"node number {position}"
    keys = _mapping(entry, where, _NODE_KEYS)
    attributes = keys["attributes"]
    if not isinstance(attributes, dict):
        raise _damaged(f"the attributes of {where}", attributes)
    node = Node(
        name=_text(keys["name"], f"the name of {where}"),
        op=_text(keys["op"], f"the operation of {where}"),
        inputs=tuple(_text(v, f"an input of {where}") for v in _list(keys["inputs"], where)),
        outputs=tuple(_text(v, f"an output of {where}") for v in _list(keys["outputs"], where)),
        attributes=MappingProxyType(
            {
                _text(key, f"an attribute of {where}"): _attribute(value, f"{key!r} of {where}")
                for key, value in attributes.items()
            }
        ),
    )
    operation_of(node)
    return node


def _attribute(value: object, where: str) -> Attribute:
    """One number or word, or a list of one kind of them."""
    for kind in (int, float, str):
        if type(value) is kind and _is_finite(value):
            return value
        if isinstance(value, list) and all(type(v) is kind and _is_finite(v) for v in value):
            return tuple(value)
    raise _damaged(f"attribute {where}", value)


def _is_finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _constant(name: str, shape: object, arrays: Mapping[str, Array]) -> Array:
    if name not in arrays:
        raise GraphError(f"constant {name!r} is missing; the file is damaged: pack the model again")
    array = arrays[name]
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise _damaged(f"constant {name!r}", type(array))
    if array.shape != _sizes(shape, f"constant {name!r}"):
        raise GraphError(
            f"constant {name!r} has shape {list(array.shape)}, and the graph says {shape}; the "
            "file is damaged: pack the model again"
        )
    return array


def _damaged(what: str, found: object) -> GraphError:
    shown = repr(found)
    return GraphError(f"{what} is not as it should be: {shown[:80]}; pack the model again")


def _mapping(value: object, what: str, keys: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != keys:
        raise _damaged(what, value)
    return value


def _list(value: object, what: str) -> list[object]:
    if not isinstance(value, list):
        raise _damaged(f"a list of {what}", value)
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise _damaged(what, value)
    return value


def _sizes(value: object, what: str) -> tuple[int, ...]:
    sizes = _list(value, f"sizes of {what}")
    if any(type(size) is not int or size < 0 for size in sizes):
        raise _damaged(f"the shape of {what}", value)
    return tuple(size for size in sizes if isinstance(size, int))

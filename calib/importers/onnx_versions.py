"""Brings a node of opset 11 or newer to the newest semantics of its operation.

What changed is in the operators' change log,
https://github.com/onnx/onnx/blob/main/docs/Changelog.md: mostly attributes that became inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from calib.errors import UnsupportedError
from calib.graph.model import Array, Attribute, Node
from calib.importers.onnx_nodes import float_type

Enter = Callable[[str, Array], str]
"""Enters a constant under a name like the one given; returns its name."""

_AXES_INPUT_SINCE = {
    "ReduceL1": 18,
    "ReduceL2": 18,
    "ReduceLogSum": 18,
    "ReduceLogSumExp": 18,
    "ReduceMax": 18,
    "ReduceMean": 18,
    "ReduceMin": 18,
    "ReduceProd": 18,
    "ReduceSum": 13,
    "ReduceSumSquare": 18,
    "Squeeze": 13,
    "Unsqueeze": 13,
}


def newest(node: Node, opset: int, enter: Enter, constants: dict[str, Array]) -> tuple[Node, ...]:
    """The nodes of the newest opset that do what this one does.

    Args:
        node: with the semantics of `opset`.
        opset: of the model.
        enter: enters a constant.
        constants: the constants known so far.

    Raises:
        UnsupportedError: a form that makes sense in training only.
    """
    if opset < _AXES_INPUT_SINCE.get(node.op, 0):
        return (_as_input(node, "axes", enter),)
    if node.op == "Split":
        return (_split(node, enter),)
    if node.op in {"Softmax", "LogSoftmax"} and opset < 13:
        return _flattened(node)
    if node.op == "Dropout":
        return (_dropout(node, constants),)
    if node.op == "Cast":
        kind = float_type(int(node.attributes.get("to", 0)))  # type: ignore[arg-type]  # ONNX: an int
        return (_with(node, to=kind),)
    return (node,)


def _with(node: Node, **changed: Attribute) -> Node:
    return replace(node, attributes=MappingProxyType({**node.attributes, **changed}))


def _without(node: Node, *names: str) -> Node:
    kept = {key: value for key, value in node.attributes.items() if key not in names}
    return replace(node, attributes=MappingProxyType(kept))


def _as_input(node: Node, attribute: str, enter: Enter) -> Node:
    """A list attribute moved to the second input; where it is left out, so is the input."""
    values = node.attributes.get(attribute)
    if not isinstance(values, tuple):
        return node
    name = enter(f"{node.name}/{attribute}", np.array(values, np.int64))
    return replace(_without(node, attribute), inputs=(node.inputs[0], name))


def _split(node: Node, enter: Enter) -> Node:
    """Sizes as an input since 13; the number of parts named since 18."""
    if "split" in node.attributes:
        return _as_input(node, "split", enter)
    if len(node.inputs) < 2 or not node.inputs[1]:
        return _with(node, num_outputs=len(node.outputs))
    return node


def _flattened(node: Node) -> tuple[Node, ...]:
    """Before 13 a softmax took all axes from `axis` on (by default from 1) as one."""
    axis = node.attributes.get("axis", 1)
    source, result = node.inputs[0], node.outputs[0]
    rows, made, shape = (f"{node.name}/{part}" for part in ("rows", "softmax", "shape"))
    nothing: MappingProxyType[str, Attribute] = MappingProxyType({})
    return (
        Node(rows, "Flatten", (source,), (rows,), MappingProxyType({"axis": axis})),
        replace(_with(node, axis=-1), inputs=(rows,), outputs=(made,)),
        Node(shape, "Shape", (source,), (shape,), nothing),
        Node(f"{node.name}/reshape", "Reshape", (made, shape), (result,), nothing),
    )


def _dropout(node: Node, constants: dict[str, Array]) -> Node:
    """Outside training a Dropout hands on its input."""
    training = constants.get(node.inputs[2]) if len(node.inputs) > 2 else None
    if training is not None and training.any():
        raise UnsupportedError(
            f"node {node.name!r} (Dropout) is in training mode; export the model for inference"
        )
    return Node(node.name, "Identity", node.inputs[:1], node.outputs[:1])

"""A float ONNX model as a graph."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np
from onnx import GraphProto, NodeProto, defs, helper
from onnx.reference import ReferenceEvaluator

from calib.errors import GraphError, UnsupportedError
from calib.graph.model import Array, Graph, Node, Port
from calib.graph.registry import operations
from calib.importers.batch import free_batch, run_operation
from calib.importers.limits import check_elements
from calib.importers.names import module_layer, unique
from calib.importers.onnx_file import read_onnx
from calib.importers.onnx_nodes import (
    array_of,
    attributes_of,
    constant_of,
    float_type,
    tensor_attribute,
)
from calib.importers.onnx_versions import newest


def read_graph(content: bytes, path: Path) -> Graph:
    """The graph of an ONNX file, for any batch size.

    Raises:
        GraphError: the file is damaged or contradicts itself.
        UnsupportedError: a quantised model, or something in it that is not implemented.
    """
    model, opset = read_onnx(content, path)
    assembly = _Assembly(model.graph, opset)
    for node in model.graph.node:
        assembly.add(node)
    graph = Graph(
        name=path.stem,
        input=_port(model.graph),
        output=_output(model.graph),
        nodes=tuple(assembly.nodes),
        constants=assembly.constants,
    )
    return free_batch(graph, evaluate)


def _port(graph: GraphProto) -> Port:
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [entry for entry in graph.input if entry.name not in stored]
    if len(inputs) != 1:
        raise _not_one("inputs", [entry.name for entry in inputs])
    kind = inputs[0].type.tensor_type
    sizes = [d.dim_value or d.dim_param or "?" for d in kind.shape.dim]
    if float_type(kind.elem_type) != 1:
        raise UnsupportedError(
            f"the model's input {inputs[0].name!r} is not of a float type; only float is supported"
        )
    if not sizes or not all(isinstance(size, int) for size in sizes[1:]):
        raise UnsupportedError(
            f"the model's input {inputs[0].name!r} has shape [{', '.join(map(str, sizes))}]; all "
            "sizes but the first, the batch, must be fixed: export the model with a fixed input "
            "shape"
        )
    shape = tuple(size if isinstance(size, int) else 1 for size in sizes)
    check_elements(shape, f"the model's input {inputs[0].name!r}")
    return Port(inputs[0].name, shape)


def _output(graph: GraphProto) -> str:
    if len(graph.output) != 1:
        raise _not_one("outputs", [entry.name for entry in graph.output])
    return str(graph.output[0].name)


def _not_one(what: str, names: list[str]) -> UnsupportedError:
    return UnsupportedError(
        f"the model has {len(names)} {what} ({', '.join(names)}); a network here has one input and "
        "one output: cut it, for example with onnx.utils.extract_model"
    )


class _Assembly:
    """Nodes and constants of one model while it is read."""

    def __init__(self, graph: GraphProto, opset: int) -> None:
        self._opset = opset
        self._tensors = {name for node in graph.node for name in (*node.input, *node.output)}
        self._used = {name for node in graph.node for name in node.input}
        self._used.update(entry.name for entry in graph.output)
        self._names: set[str] = set()
        self.constants = {t.name: array_of(t) for t in graph.initializer}
        self.nodes: list[Node] = []

    def add(self, proto: NodeProto) -> None:
        """Enter a node, in the newest form of its operation."""
        if proto.op_type == "Constant":
            self.constants[proto.output[0]] = constant_of(proto)
            return
        node = self._node(proto)
        if node.op == "ConstantOfShape":
            node = self._filled(proto, node)
        self.nodes += newest(node, self._opset, self._enter, self.constants)

    def _node(self, proto: NodeProto) -> Node:
        """As it stands, without the outputs that nothing reads."""
        name = self._unique(proto)
        outputs = [output if output in self._used else "" for output in proto.output]
        while outputs and not outputs[-1]:
            outputs.pop()
        attributes = MappingProxyType(attributes_of(proto))
        return Node(name, proto.op_type, tuple(proto.input), tuple(outputs), attributes)

    def _unique(self, proto: NodeProto) -> str:
        label = module_layer(proto.name or next(iter(proto.output), ""), proto.op_type)
        name = unique(label, self._names)
        self._names.add(name)
        return name

    def _enter(self, name: str, value: Array) -> str:
        name = unique(name, self._tensors | set(self.constants))
        self.constants[name] = value
        return name

    def _filled(self, proto: NodeProto, node: Node) -> Node:
        """A tensor of one value is that value, expanded."""
        value = tensor_attribute(proto, "value")
        fill = np.zeros((), np.float32) if value is None else value.reshape(())
        name = self._enter(f"{node.name}/value", fill)
        return Node(node.name, "Expand", (name, *node.inputs), node.outputs)


def evaluate(node: Node, inputs: list[Array | None]) -> tuple[Array, ...]:
    """Run a node with constant inputs, by onnx's reference where the executor has no operation."""
    if node.op in operations():
        return run_operation(node, inputs)
    attributes: dict[str, Any] = dict(node.attributes)
    proto = helper.make_node(node.op, node.inputs, node.outputs, **attributes)
    opset = helper.make_opsetid("", defs.onnx_opset_version())
    feeds = {n: x for n, x in zip(node.inputs, inputs, strict=True) if n and x is not None}
    try:
        values = [helper.make_tensor_value_info(n, 0, None) for n in feeds]
        results = [helper.make_tensor_value_info(n, 0, None) for n in node.outputs if n]
        graph = helper.make_graph([proto], "constant", values, results)
        model = helper.make_model(graph, opset_imports=[opset])
        found = ReferenceEvaluator(model).run(None, feeds)
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        raise GraphError(f"constants cannot be computed: {error}") from error
    return cast("tuple[Array, ...]", tuple(found))

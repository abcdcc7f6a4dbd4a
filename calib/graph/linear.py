"""The linear layers of a graph: what a main path and a surrogate replace.

A linear layer is a Conv, or a Gemm or MatMul with a constant: the same product of *rows* with a
weight matrix at every *position* of its output. All layers are brought to one form,

    y[sample, position] = rows[sample, position] @ weight + bias,

one matrix for each group; a depthwise convolution has as many groups as channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from calib.errors import GraphError
from calib.graph.executor import run
from calib.graph.model import Array, Graph, Node
from calib.graph.operations.access import integer, number
from calib.graph.operations.geometry import window_of
from calib.graph.window import Window, windows

_LINEAR = frozenset({"Conv", "Gemm", "MatMul"})


@dataclass(frozen=True)
class LinearLayer:
    """One linear layer: its place in the graph, its float weights and its geometry."""

    name: str
    op: str
    input: str
    output: str
    weight: Array
    """[groups, d, outputs/groups]; d runs over kernel taps, then channels."""

    bias: Array
    """[outputs]"""

    window: Window | None
    """The convolution's geometry; None for matrix products."""

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    """Shapes of one sample, without the batch axis."""

    @property
    def groups(self) -> int:
        """How many independent products stand side by side."""
        return int(self.weight.shape[0])

    @property
    def inputs(self) -> int:
        """Length d of one row."""
        return int(self.weight.shape[1])

    @property
    def outputs(self) -> int:
        """Number of output channels, over all groups."""
        return int(self.weight.shape[0] * self.weight.shape[2])

    @property
    def positions(self) -> int:
        """Positions of one sample's output."""
        return math.prod(self.output_shape) // self.outputs

    @property
    def multiply_accumulates(self) -> int:
        """Of one sample."""
        return self.positions * int(self.weight.size)

    def rows(self, x: Array, fill: float = 0) -> Array:
        """Every row of samples x: [n, positions, groups, d]; padding reads `fill`."""
        if self.window is None:
            return x.reshape(-1, self.positions, 1, self.inputs)
        columns = np.moveaxis(windows(x, self.window, fill), 1, -1)
        return self._grouped(columns, len(x), self.positions)

    def rows_at(self, x: Array, positions: Array) -> Array:
        """The rows at positions [n, p] of each sample: [n, p, groups, d]."""
        sample = np.arange(len(x))[:, None]
        if self.window is None:
            return self.rows(x)[sample, positions]
        columns = np.moveaxis(windows(x, self.window), 1, -1)
        spatial = columns.shape[1 : 1 + self.window.axes]
        picked = columns[(sample, *np.unravel_index(positions, spatial))]
        return self._grouped(picked, len(x), positions.shape[1])

    def _grouped(self, columns: Array, n: int, positions: int) -> Array:
        per_group = (n, positions, -1, self.groups, columns.shape[-1] // self.groups)
        split = columns.reshape(per_group).swapaxes(2, 3)
        return split.reshape(n, positions, self.groups, self.inputs)

    def tensor(self, rows: Array) -> Array:
        """Output rows [n, positions, outputs] as the graph's tensor [n, *output_shape]."""
        if self.window is None:
            return rows.reshape(-1, *self.output_shape)
        spatial = self.output_shape[1:]
        return np.moveaxis(rows.reshape(-1, *spatial, self.outputs), -1, 1)

    def output_rows(self, y: Array) -> Array:
        """The inverse of `tensor`: [n, positions, outputs]."""
        if self.window is not None:
            y = np.moveaxis(y, 1, -1)
        return y.reshape(-1, self.positions, self.outputs)

    def output_at(self, y: Array, positions: Array) -> Array:
        """Output rows at positions [n, p] of each sample: [n, p, outputs]."""
        return self.output_rows(y)[np.arange(len(positions))[:, None], positions]


def multiply(rows: Array, weight: Array) -> Array:
    """Rows [..., groups, d] times weight [groups, d, m]: [..., groups·m]."""
    lead = rows.shape[:-2]
    if weight.shape[0] == 1:
        product: Array = rows.reshape(-1, rows.shape[-1]) @ weight[0]
        return product.reshape(*lead, weight.shape[2])
    flat = rows.reshape(-1, *rows.shape[-2:]).swapaxes(0, 1)
    products: Array = np.matmul(flat, weight)
    return products.swapaxes(0, 1).reshape(*lead, weight.shape[0] * weight.shape[2])


def shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor for a batch of one."""
    with np.errstate(all="ignore"):
        values = run(graph, np.zeros(graph.input.shape, np.float32), keep=None)
    return {name: value.shape for name, value in values.items()}


def linear_layers(graph: Graph) -> tuple[LinearLayer, ...]:
    """The graph's linear layers, in order of execution."""
    known = shapes(graph)
    found = (_layer_of(graph, node, known) for node in graph.nodes)
    return tuple(layer for layer in found if layer is not None)


def uncorrected(graph: Graph) -> tuple[str, ...]:
    """Nodes that are as linear as a layer, and have no surrogate: products of computed tensors."""
    known = {layer.name for layer in linear_layers(graph)}
    return tuple(n.name for n in graph.nodes if n.op in _LINEAR and n.name not in known)


def _layer_of(graph: Graph, node: Node, known: dict[str, tuple[int, ...]]) -> LinearLayer | None:
    if node.op not in _LINEAR or node.inputs[0] in graph.constants:
        return None
    constants = [graph.constants.get(name) if name else None for name in node.inputs[1:]]
    if constants[0] is None or (len(constants) > 1 and node.inputs[2] and constants[1] is None):
        return None
    if node.op == "Conv":
        weight = _conv_weight(node, constants[0])
        spatial = known[node.inputs[0]][2:]
        window: Window | None = conv_window(node, constants[0], spatial)
    else:
        matrix, window = _matrix_weight(node, constants[0]), None
        if matrix is None:
            return None
        weight = matrix
    outputs = weight.shape[0] * weight.shape[2]
    return LinearLayer(
        name=node.name,
        op=node.op,
        input=node.inputs[0],
        output=node.outputs[0],
        weight=weight,
        bias=_bias(node, constants[1] if len(constants) > 1 else None, outputs, weight.dtype),
        window=window,
        input_shape=known[node.inputs[0]][1:],
        output_shape=known[node.outputs[0]][1:],
    )


def conv_window(node: Node, weight: Array, spatial: tuple[int, ...]) -> Window:
    """The window of a Conv node on an input of spatial size `spatial`."""
    return window_of(node.attributes, tuple(weight.shape[2:]), spatial)


def _conv_weight(node: Node, weight: Array) -> Array:
    groups = integer(node.attributes, "group", 1)
    split = weight.reshape(groups, -1, *weight.shape[1:])
    taps_first = np.moveaxis(np.moveaxis(split, 1, -1), 1, -2)
    return np.ascontiguousarray(taps_first.reshape(groups, -1, split.shape[1]))


def _matrix_weight(node: Node, weight: Array) -> Array | None:
    if node.op == "MatMul":
        return np.ascontiguousarray(weight[None]) if weight.ndim == 2 else None
    if integer(node.attributes, "transA", 0):
        return None
    matrix = weight.T if integer(node.attributes, "transB", 0) else weight
    return np.ascontiguousarray(matrix[None] * number(node.attributes, "alpha", 1.0))


def weight_of(node: Node, constant: Array) -> Array:
    """A linear layer's constant, or a gradient of that shape, as [groups, d, m].

    Raises:
        GraphError: the node's constant is no matrix.
    """
    weight = _conv_weight(node, constant) if node.op == "Conv" else _matrix_weight(node, constant)
    if weight is None:
        raise GraphError(f"node {node.name!r} has no weight of two axes: it is no linear layer")
    return weight


def _bias(node: Node, bias: Array | None, outputs: int, dtype: np.dtype[Any]) -> Array:
    if bias is None:
        return np.zeros(outputs, dtype)
    scaled: Array = bias.reshape(-1) * number(node.attributes, "beta", 1.0)
    return np.broadcast_to(scaled, (outputs,))

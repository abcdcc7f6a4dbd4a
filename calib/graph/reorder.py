"""Putting a layer's input channels into another order, by moving what makes them.

Where a layer's input comes from one other layer, through operations that treat every channel alike,
and nothing else reads it on the way, the outputs of the layer before and the inputs of this one can
both be permuted: the network computes the same, and no channel is moved when it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calib.graph.linear import LinearLayer
from calib.graph.model import Array, Graph, Node
from calib.graph.operations.access import integer

Order = NDArray[np.intp]
_ALIKE = frozenset(
    {
        "AveragePool", "Clip", "Elu", "Erf", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid",
        "HardSwish", "Identity", "LeakyRelu", "MaxPool", "Relu", "Sigmoid", "Softplus", "Tanh",
    }
)  # fmt: skip
"""Operations that do the same to every channel and mix none."""


@dataclass(frozen=True)
class Reordered:
    """A network that computes the same, and whose channels stand otherwise."""

    graph: Graph
    folded: frozenset[str]
    """The layers whose inputs now come in the order asked for."""


def reordered(
    graph: Graph, layers: Mapping[str, LinearLayer], orders: Mapping[str, Order]
) -> Reordered:
    """Bring layers' input channels into an order wherever that costs nothing.

    Args:
        graph: the network.
        layers: its linear layers, by name.
        orders: by layer, which channel shall come first, second, ...
    """
    work = _Work(graph, layers, dict(graph.constants))
    folded = {
        name
        for name, order in orders.items()
        if np.array_equal(order, np.arange(len(order))) or work.fold(layers[name], order)
    }
    constants = {name: work.constants[name] for name in graph.constants}
    return Reordered(
        Graph(graph.name, graph.input, graph.output, graph.nodes, constants), frozenset(folded)
    )


@dataclass
class _Work:
    graph: Graph
    layers: Mapping[str, LinearLayer]
    constants: dict[str, Array]
    _nodes: dict[str, Node] = field(init=False)

    def __post_init__(self) -> None:
        self._nodes = {node.name: node for node in self.graph.nodes}
        self._producers = self.graph.producers
        self._readers = self.graph.consumers

    def fold(self, layer: LinearLayer, order: Order) -> bool:
        """Permute a layer's inputs and what makes them, or leave everything as it is."""
        node = self._nodes[layer.name]
        if layer.groups > 1 or not self._owns(node):
            return False
        path = self._path(layer.input, len(order))
        if path is None:
            return False
        for before in path:
            self._permute(before.inputs[1], order, axis=self._output_axis(before))
            if len(before.inputs) > 2 and before.inputs[2]:
                self._permute(before.inputs[2], order, axis=-1)
        self._permute(node.inputs[1], order, axis=1 - self._output_axis(node))
        return True

    def _path(self, tensor: str, channels: int) -> list[Node] | None:
        """The layers whose outputs are to be permuted, back to the one that makes them."""
        found: list[Node] = []
        while True:
            node = self._producers.get(tensor)
            if node is None or tensor == self.graph.output or len(self._readers[tensor]) != 1:
                return None
            layer = self.layers.get(node.name)
            if layer is None:
                if not self._treats_alike(node):
                    return None
            elif not self._owns(node) or layer.outputs != channels:
                return None
            else:
                found.append(node)
                if layer.groups == 1:
                    return found
                if layer.groups != channels or layer.inputs != int(
                    np.prod(layer.window.kernel if layer.window else ())
                ):
                    return None
            tensor = node.inputs[0]

    def _treats_alike(self, node: Node) -> bool:
        if node.op == "Flatten":
            made = self._producers.get(node.inputs[0])
            return made is not None and made.op in {"GlobalAveragePool", "GlobalMaxPool"}
        scalars = (self.constants.get(name) for name in node.inputs[1:] if name)
        return node.op in _ALIKE and all(one is not None and one.size == 1 for one in scalars)

    def _owns(self, node: Node) -> bool:
        """Whether a layer's constants are its own, with one offset for each output or none."""
        layer = self.layers[node.name]
        for place, name in enumerate(node.inputs[1:]):
            if name and len(self._readers.get(name, ())) != 1:
                return False
            if place and name and self.constants[name].shape[-1:] != (layer.outputs,):
                return False
        return True

    def _output_axis(self, node: Node) -> int:
        """Of a layer's weight."""
        outputs_first = node.op == "Conv" or integer(node.attributes, "transB", 0)
        return 0 if outputs_first else 1

    def _permute(self, name: str, order: Order, axis: int) -> None:
        moved = np.take(self.constants[name], order, axis=axis)
        self.constants[name] = np.ascontiguousarray(moved)

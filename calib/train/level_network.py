"""The network that levels are trained in: weights as variables, and nodes before each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calib.adam import Weights
from calib.decision import decision_graph
from calib.graph.linear import LinearLayer, linear_layers, weight_of
from calib.graph.model import Array, Graph, Node
from calib.losses import Loss
from calib.packed import weight_tensor, with_weights

Float32 = NDArray[np.float32]
NOISY_SHARE = 0.3
"""Of all epochs, those with noise; the others round."""


@dataclass(frozen=True)
class Lesson:
    """What is learned, and how long."""

    samples: Float32
    loss: Loss
    """Of the answers, by the samples' numbers."""

    training: int
    """So many samples train; those after them judge."""

    epochs: int
    seed: int = 0

    @property
    def noisy_epochs(self) -> int:
        """Epochs in which bits are learned."""
        return round(NOISY_SHARE * self.epochs)


@dataclass(frozen=True)
class LevelNetwork:
    """The network up to its logits; each linear layer's input passes nodes of its own."""

    graph: Graph
    layers: tuple[LinearLayer, ...]
    units: Mapping[str, float]
    """By layer: variables are weights in these."""

    @classmethod
    def of(cls, graph: Graph, operations: Sequence[str]) -> LevelNetwork:
        """Put nodes, each with a constant that changes nothing, before each linear layer."""
        cut = decision_graph(graph)
        layers = linear_layers(cut)
        cut = with_weights(cut, layers, {layer.name: layer.weight for layer in layers})
        names = {layer.name for layer in layers}
        nodes: list[Node] = []
        constants = dict(cut.constants)
        idle = {"Add": 0.0, "Max": -np.inf, "Min": np.inf}
        for node in cut.nodes:
            last = node.inputs[0]
            for op in operations if node.name in names else ():
                name = entry_name(node.name, op)
                constants[f"{name}/constant"] = np.array([idle[op]], np.float32)
                nodes.append(Node(name, op, (last, f"{name}/constant"), (name,)))
                last = name
            nodes.append(replace(node, inputs=(last, *node.inputs[1:])))
        units = {one.name: float(np.sqrt(np.mean(one.weight**2))) or 1.0 for one in layers}
        return cls(replace(cut, nodes=tuple(nodes), constants=constants), layers, units)

    def variables(self) -> dict[str, Array]:
        """The layers' weights as they are now."""
        return {la.name: la.weight / np.float32(self.units[la.name]) for la in self.layers}

    def weights(self, variables: Weights) -> dict[str, Float32]:
        """By layer, [groups, d, m]."""
        units = self.units.items()
        return {name: variables[name].astype(np.float32) * np.float32(u) for name, u in units}

    def constants(self, weights: Mapping[str, Float32]) -> dict[str, Array]:
        """The graph's constants for weights."""
        found: dict[str, Array] = {}
        nodes = {node.name: node for node in self.graph.nodes}
        for layer in self.layers:
            node = nodes[layer.name]
            shape = self.graph.constants[node.inputs[1]].shape
            tensor = weight_tensor(layer, shape, weights[layer.name], node.attributes)
            found[node.inputs[1]] = tensor
        return found

    def slopes(self, gradients: Weights) -> dict[str, Array]:
        """Gradients of the graph's constants as those of weights [groups, d, m]."""
        nodes = {node.name: node for node in self.graph.nodes}
        return {
            layer.name: weight_of(nodes[layer.name], gradients[nodes[layer.name].inputs[1]])
            for layer in self.layers
        }

    def in_units(self, slopes: Weights) -> dict[str, Array]:
        """Gradients of weights as those of variables."""
        return {name: slopes[name] * np.float32(unit) for name, unit in self.units.items()}


def entry_name(layer: str, op: str) -> str:
    """A node before a linear layer."""
    return f"{layer}@{op.lower()}"


def by_channel(layer: LinearLayer, values: Float32) -> Float32:
    """Values [groups, channels] in a shape that fits the layer's input tensor."""
    trailing = layer.window.axes if layer.window is not None else 0
    return values.reshape(-1, *(1,) * trailing)

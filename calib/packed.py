"""A network made ready for a board: codes, ranges, metric and references, as a bundle holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calib.decision import Decision, decision_graph
from calib.graph.linear import LinearLayer, linear_layers
from calib.graph.model import Array, Graph
from calib.references import References
from calib.schemes.activations import ActivationCode
from calib.schemes.weights import QuantisedWeights, scheme_named

Float16 = NDArray[np.float16]


@dataclass(frozen=True)
class RangeChoice:
    """How activation ranges were found: output error of the quantised network by method."""

    method: str
    output_errors: Mapping[str, float]


@dataclass(frozen=True)
class PackedNetwork:
    """What `pack` makes and the board loads."""

    graph: Graph
    """The network with the weights that the main path's codes stand for."""

    layers: tuple[LinearLayer, ...]
    """The linear layers of `graph`, in order."""

    scheme: str
    activation_bits: int
    rank: int
    factor_bits: int
    weights: Mapping[str, QuantisedWeights]
    activations: Mapping[str, ActivationCode]
    ranges: RangeChoice
    decision: Decision
    metrics: Mapping[str, Float16]
    """By layer, [m, k]: columns whose outer product is the layer's output metric."""

    references: References
    references_as: str
    positions_per_sample: int
    float_weights: Mapping[str, Float16] | None
    """The float network's weights [groups, d, m], where the bundle keeps them."""

    @property
    def decision_graph(self) -> Graph:
        """The main path's network up to its logits."""
        return decision_graph(self.graph)

    @property
    def float_graph(self) -> Graph | None:
        """The float network, where the bundle keeps its weights."""
        if self.float_weights is None:
            return None
        weights = {name: kept.astype(np.float32) for name, kept in self.float_weights.items()}
        return with_weights(self.graph, self.layers, weights)


def with_weights(
    graph: Graph, layers: Sequence[LinearLayer], weights: Mapping[str, NDArray[np.float32]]
) -> Graph:
    """The graph with other weights [groups, d, m] in its linear layers.

    A constant that two layers share gets a copy for the second, under a name of its own.
    """
    constants: dict[str, Array] = dict(graph.constants)
    nodes = {node.name: node for node in graph.nodes}
    taken: set[str] = set()
    for layer in layers:
        node = nodes[layer.name]
        old = graph.constants[node.inputs[1]]
        name = node.inputs[1] if node.inputs[1] not in taken else f"{node.inputs[1]}@{node.name}"
        taken.add(name)
        constants[name] = weight_tensor(layer, old.shape, weights[layer.name], node.attributes)
        inputs = (node.inputs[0], name, *node.inputs[2:])
        nodes[layer.name] = replace(node, inputs=inputs)
    return replace(graph, constants=constants, nodes=tuple(nodes[n.name] for n in graph.nodes))


def weight_tensor(
    layer: LinearLayer,
    shape: tuple[int, ...],
    weight: NDArray[np.float32],
    attributes: Mapping[str, object],
) -> NDArray[np.float32]:
    """A layer's weight [groups, d, m] in the form that its node reads."""
    if layer.window is None:
        matrix = weight[0] / np.float32(attributes.get("alpha", 1.0))  # type: ignore[arg-type]  # a float
        return np.ascontiguousarray(matrix.T if attributes.get("transB", 0) else matrix)
    groups, _, per_group = weight.shape
    taps = weight.reshape(groups, *layer.window.kernel, shape[1], per_group)
    outputs_first = np.moveaxis(np.moveaxis(taps, -1, 1), -1, 2)
    return np.ascontiguousarray(outputs_first.reshape(shape))


def quantised(
    graph: Graph, layers: Sequence[LinearLayer], scheme: str
) -> tuple[Graph, tuple[LinearLayer, ...], dict[str, QuantisedWeights]]:
    """Quantise a float network's linear layers.

    Returns:
        The network with the weights that the codes stand for, its layers, and the codes.

    Raises:
        CalibError: there is no such scheme.
    """
    quantise = scheme_named(scheme).quantise
    codes = {layer.name: quantise(layer.weight) for layer in layers}
    nominal = with_weights(graph, layers, {name: code.values() for name, code in codes.items()})
    return nominal, linear_layers(nominal), codes

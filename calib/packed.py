"""A network made ready for a board, as a bundle holds it: codes, ranges, metric, references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from calib.budget import Budget
from calib.clipping import Limits
from calib.decision import Decision, decision_graph
from calib.errors import CalibError
from calib.graph.linear import LinearLayer, linear_layers
from calib.graph.model import Array, Graph
from calib.references import References
from calib.schemes.activations import ActivationCode
from calib.schemes.mixed import MixedLayer
from calib.schemes.weights import QuantisedWeights, scheme_named

Float16 = NDArray[np.float16]
FLOAT_WEIGHTS_NEEDED = frozenset({"recomputed", "moments"})
"""References that the board computes with the float network's weights."""


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
    factor_bits: tuple[int, ...]
    weights: Mapping[str, QuantisedWeights]
    """None while they are float, and none where layers have levels."""

    activations: Mapping[str, ActivationCode]
    """Where layers have levels, the range of their inputs and no more."""

    ranges: RangeChoice
    decision: Decision
    metrics: Mapping[str, Float16]
    """By layer, [m, k]: columns whose outer product is the layer's output metric."""

    references: References
    references_as: str
    positions_per_sample: int
    seed: int
    float_weights: Mapping[str, Float16] | None
    """The float network's weights [groups, d, m], where the bundle keeps them."""

    budget_bytes: int | None = None
    """What all factors may take as they are stored; None: what `rank` stands for."""

    budget_mac_share: float | None = None
    """The surrogates' multiply-accumulates, at most, as a share of the network's."""

    budget_slowdown: float | None = None
    """The time of a sample with branches, at most, in times of that without any."""
    mixed: Mapping[str, MixedLayer] = field(default_factory=dict)
    """By layer, where its input channels have levels: codes of weights and activations."""

    def input_limits(self, name: str) -> Limits:
        """What a layer's main path sees of its inputs; beyond that they are clipped."""
        coded = self.mixed.get(name) or self.activations[name]
        return coded.limits

    @property
    def has_samples(self) -> bool:
        """Whether there are samples to run through the network, or moments of single layers."""
        return self.references_as != "moments"

    @property
    def budget(self) -> Budget:
        """What factors may cost, unless a calibration is told otherwise."""
        rank = self.rank if self.budget_bytes is None else None
        return Budget(rank, self.budget_bytes, self.budget_mac_share, self.budget_slowdown)

    @property
    def decision_graph(self) -> Graph:
        """The main path's network up to its logits."""
        return decision_graph(self.graph)

    @property
    def float_graph(self) -> Graph | None:
        """The float network, where the bundle keeps its weights."""
        if self.float_weights is None:
            return None
        return with_weights(self.graph, self.layers, as_float32(self.float_weights))


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
    return outputs_first.reshape(shape)  # with one group a view: large weights are there once


def as_float32(halved: Mapping[str, Float16]) -> dict[str, NDArray[np.float32]]:
    """Weights kept in half precision, ready to compute with."""
    return {name: half.astype(np.float32) for name, half in halved.items()}


def requantised(network: PackedNetwork, scheme: str) -> PackedNetwork:
    """The network with its float weights quantised; for `pack`, and for the board at installation.

    Raises:
        CalibError: there is no such scheme, or the network has no float weights any more.
    """
    if network.float_weights is None:
        raise CalibError(
            f"the bundle holds {network.scheme} weights only, so it cannot be made {scheme} here; "
            "pack it with --scheme float"
        )
    quantise = scheme_named(scheme).quantise
    codes = {name: quantise(weight) for name, weight in as_float32(network.float_weights).items()}
    return with_codes(network, scheme, codes)


def with_codes(
    network: PackedNetwork, scheme: str, codes: Mapping[str, QuantisedWeights]
) -> PackedNetwork:
    """The network with these codes for its weights; float ones stay if references need them."""
    nominal = {name: code.values() for name, code in codes.items()}
    return replace(_standing_for(network, nominal), scheme=scheme, weights=codes)


def with_levels(
    network: PackedNetwork, scheme: str, mixed: Mapping[str, MixedLayer]
) -> PackedNetwork:
    """The network, float so far, with the codes of its layers."""
    nominal = {name: layer.values() for name, layer in mixed.items()}
    return replace(_standing_for(network, nominal), scheme=scheme, mixed=mixed)


def _standing_for(
    network: PackedNetwork, nominal: Mapping[str, NDArray[np.float32]]
) -> PackedNetwork:
    """The network with the weights that codes stand for; float ones only if still needed."""
    graph = with_weights(network.graph, network.layers, nominal)
    keep_float = network.references_as in FLOAT_WEIGHTS_NEEDED
    return replace(
        network,
        graph=graph,
        layers=linear_layers(decision_graph(graph)),
        float_weights=network.float_weights if keep_float else None,
    )

"""The scheme `channelwise`: from a float network to layers whose input channels have levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from calib.decision import Decision, decision_graph
from calib.graph.linear import LinearLayer, linear_layers
from calib.graph.model import Graph
from calib.graph.reorder import reordered
from calib.level_costs import channels_of, level_costs, sampled_rows, taps_of
from calib.output_metric import metric_columns
from calib.packed import with_weights
from calib.schemes.channelwise import quantise_layer
from calib.schemes.level_choice import Choice, choose_levels
from calib.schemes.mixed import MixedLayer, checked_levels

Float32 = NDArray[np.float32]
Places = Mapping[str, NDArray[np.intp]]
"""By layer, [channels]: each channel's place among the levels."""

LEVELS = (2, 4, 8)
BITS_MEAN = 4.0
METRIC_SAMPLES = 24
"""That say what the answer is sensitive to, while levels are chosen."""


@dataclass(frozen=True)
class Levelled:
    """A float network whose channels have levels, in an order that suits them."""

    graph: Graph
    """The network, computing the same as before; most layers' inputs now come level by level."""

    bits: Mapping[str, NDArray[np.intp]]
    """By layer, [channels of a group]."""


def levelled(  # noqa: PLR0913, PLR0917  # network, samples, what decides, budget, chance
    graph: Graph,
    samples: Float32,
    decision: Decision,
    levels: Sequence[int],
    bits_mean: float,
    generator: np.random.Generator,
) -> Levelled:
    """Give each input channel of each linear layer a level, within a budget of mean bits.

    Args:
        graph: the float network.
        samples: [n, ...], what it is usually given.
        decision: how its answers are judged.
        levels: at most three numbers of bits.
        bits_mean: of all weights of linear layers, at most.
        generator: draws the positions that are looked at.

    Raises:
        CalibError: the levels, or a budget that they cannot meet.
    """
    ascending = checked_levels(levels)
    cut = decision_graph(graph)
    layers = linear_layers(cut)
    rows = sampled_rows(cut, layers, samples, generator)
    metrics = metric_columns(cut, layers, samples[:METRIC_SAMPLES], decision, generator)
    losses = [level_costs(one, rows[one.name], metrics[one.name], ascending) for one in layers]
    weights = np.concatenate([_weights_by_channel(layer) for layer in layers])
    taken = choose_levels(Choice(weights, np.concatenate(losses)), ascending, bits_mean)
    ends = np.cumsum([channels_of(layer) for layer in layers])
    places = dict(zip([one.name for one in layers], np.split(taken, ends[:-1]), strict=True))
    return in_order(graph, layers, {n: np.asarray(ascending)[at] for n, at in places.items()})


class Learner(Protocol):
    """Training on a workstation: which channels need bits, and weights that suit their codes."""

    def levels(
        self, graph: Graph, bits: Places, levels: Sequence[int], bits_mean: float
    ) -> tuple[Mapping[str, Float32], Mapping[str, NDArray[np.intp]]]:
        """From a float network and bits of its channels to weights [groups, d, m], and bits."""
        ...

    def tuned(self, graph: Graph, mixed: Mapping[str, MixedLayer]) -> Mapping[str, MixedLayer]:
        """Codes of weights that were trained to be rounded."""
        ...


@dataclass(frozen=True)
class Learnt:
    """A network before and after training, its channels in the same order."""

    untrained: Levelled
    trained: Graph


def learnt(
    found: Levelled, levels: Sequence[int], bits_mean: float, learner: Learner | None
) -> Learnt:
    """Levels as training finds them; without a learner, those that are there."""
    if learner is None:
        return Learnt(found, found.graph)
    layers = linear_layers(decision_graph(found.graph))
    own = with_weights(found.graph, layers, {layer.name: layer.weight for layer in layers})
    weights, bits = learner.levels(own, found.bits, checked_levels(levels), bits_mean)
    trained = with_weights(own, layers, weights)
    return Learnt(in_order(own, layers, bits), in_order(trained, layers, bits).graph)


def _weights_by_channel(layer: LinearLayer) -> NDArray[np.int64]:
    channels = channels_of(layer)
    return np.full(channels, layer.weight.size // channels, np.int64)


def in_order(
    graph: Graph, layers: Sequence[LinearLayer], bits: Mapping[str, NDArray[np.intp]]
) -> Levelled:
    """Bring channels of one level together where the layer before can do so for nothing."""
    orders = {name: np.argsort(each, kind="stable") for name, each in bits.items()}
    moved = reordered(graph, {layer.name: layer for layer in layers}, orders)
    sorted_bits = {
        name: each[orders[name]] if name in moved.folded else each for name, each in bits.items()
    }
    return Levelled(moved.graph, sorted_bits)


def quantised_layers(
    graph: Graph,
    bits: Mapping[str, NDArray[np.intp]],
    samples: Float32,
    generator: np.random.Generator,
) -> dict[str, MixedLayer]:
    """The codes of every layer of a float network, fitted to what layers are usually given.

    Args:
        graph: up to its logits.
        bits: by layer, of each input channel of a group.
        samples: [n, ...]
        generator: draws the positions that are looked at.
    """
    layers = linear_layers(graph)
    rows = sampled_rows(graph, layers, samples, generator)
    return {
        layer.name: quantise_layer(layer.weight, rows[layer.name], bits[layer.name], taps_of(layer))
        for layer in layers
    }

"""Which layers get a branch, and of which rank: the graph of a file is fixed at pack time.

What a branch costs is mostly there at any rank: values are taken out of their codes and put back,
and a float kernel makes so many of A's outputs at once whether there are as many or not. So it is
the layers that are chosen. The worth of a branch is what the quantised layer does wrong, weighed by
how much that moves the network's answer; the best worth for its cost goes first. Weights of 4 bits,
which lie in bytes, take their branches in themselves, at no cost: `auto` gives them none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from agent.errors import InputError
from agent.workstation.target import ALL, AUTO, NONE
from calib.costs import budgeted_ranks
from calib.decision import decision_graph
from calib.folded_weights import has_room
from calib.graph.executor import run
from calib.graph.linear import LinearLayer
from calib.graph.model import Graph
from calib.packed import PackedNetwork
from calib.ranges import nominal_products
from calib.references import BLOCK_SAMPLES

RANK_STEP = 8
"""Ranks are multiples of this where a layer is large enough: what a float kernel makes at once, on
a processor with NEON; twice as many on one with AVX-512."""

SAMPLES = 16
"""That worth is judged by."""

ALLOWED_SHARE = 0.4
"""Of the time that the plain network takes, that `auto` spends on branches."""

OPERATION_COST, ELEMENT_COST, BRANCH_COST = 1.6, 8.0, 40_000.0
PLAIN_ELEMENT_COST = 6.0
TILE = 16
"""In multiply-accumulates of int8: of a multiply-accumulate of float32, of an element that changes
between codes and float32, of a branch at all, and of an element that a plain layer reads or makes.
A's outputs count in tiles. By branches of ResNet-8 and the keyword network on one core with
AVX-512, in ai-edge-litert 2.3: within a third, mostly; of other processors they are a guess."""


def branch_ranks(
    branches: str, graph: Graph, network: PackedNetwork, samples: NDArray[np.float32]
) -> dict[str, int]:
    """By layer: the rank that its branch has room for; 0: it has none.

    Args:
        branches: `all`, `none`, `auto`, or names of layers with commas between.
        graph: the float network.
        network: the same, packed.
        samples: [n, ...], at least one.

    Raises:
        InputError: a name that no layer has, or a layer that cannot have a branch.
    """
    ranks = {layer.name: capacity(layer, network) for layer in network.layers}
    possible = [layer for layer in network.layers if ranks[layer.name]]
    if branches == AUTO:
        asked = [layer for layer in possible if not has_room(network.weights[layer.name])]
        worth = branch_worth(graph, network, asked, samples[:SAMPLES])
        chosen = _best(network, ranks, worth)
    elif branches in {ALL, NONE}:
        chosen = {layer.name for layer in possible if branches == ALL}
    else:
        chosen = _named(branches, ranks)
    return {name: rank if name in chosen else 0 for name, rank in ranks.items()}


def capacity(layer: LinearLayer, network: PackedNetwork) -> int:
    """The rank that the budget buys for a layer, rounded up; 0 for a layer with groups."""
    rank = budgeted_ranks(network)[layer.name]
    return min(math.ceil(rank / RANK_STEP) * RANK_STEP, layer.inputs, layer.outputs)


def _named(branches: str, ranks: Mapping[str, int]) -> set[str]:
    names = [name.strip() for name in branches.split(",") if name.strip()]
    strange = [name for name in names if name not in ranks]
    if strange or not names:
        raise InputError(
            f"--branches {branches}: there is no layer {', '.join(strange) or 'named'}; say "
            f"{ALL}, {NONE}, {AUTO}, or some of {', '.join(ranks)}"
        )
    without = [name for name in names if not ranks[name]]
    if without:
        raise InputError(
            f"--branches: layer {without[0]} cannot have a branch, because it has groups or the "
            "budget leaves it none; its gain and offset need no branch: leave it out"
        )
    return set(names)


def branch_worth(
    graph: Graph,
    network: PackedNetwork,
    layers: list[LinearLayer],
    samples: NDArray[np.float32],
) -> dict[str, float]:
    """By layer: the mean over samples of what its own errors do, as the layer's metric weighs them.

    Args:
        graph: the float network.
        network: the same, packed.
        layers: those that are asked for.
        samples: [n, ...]
    """
    products = nominal_products(network.layers, network.activations)
    keep = [tensor for layer in layers for tensor in (layer.input, layer.output)]
    worth = {layer.name: 0.0 for layer in layers}
    for start in range(0, len(samples), BLOCK_SAMPLES):
        some = samples[start : start + BLOCK_SAMPLES]
        values = run(decision_graph(graph), some, keep=keep)
        for layer in layers:
            wrong = products[layer.name](values[layer.input]) - values[layer.output]
            metric = network.metrics[layer.name].astype(np.float32)
            weighed = layer.output_rows(wrong) @ metric
            worth[layer.name] += float(np.square(weighed, dtype=np.float64).sum()) / len(samples)
    return worth


def branch_cost(layer: LinearLayer, rank: int) -> float:
    """In multiply-accumulates of int8, of one sample."""
    tiled = math.ceil(rank / TILE) * TILE
    operations = layer.positions * (tiled * layer.inputs + rank * layer.outputs)
    elements = math.prod(layer.input_shape) + 2 * math.prod(layer.output_shape)
    return OPERATION_COST * operations + ELEMENT_COST * elements + BRANCH_COST


def plain_cost(layers: Sequence[LinearLayer]) -> float:
    """Of the network without branches, in the same unit."""
    elements = sum(math.prod(one.input_shape) + math.prod(one.output_shape) for one in layers)
    operations = sum(layer.multiply_accumulates for layer in layers)
    return operations + PLAIN_ELEMENT_COST * elements


def _best(network: PackedNetwork, ranks: Mapping[str, int], worth: Mapping[str, float]) -> set[str]:
    """Layers whose branches fit into the allowed time, the best worth for its cost first."""
    cost = {
        layer.name: branch_cost(layer, ranks[layer.name])
        for layer in network.layers
        if worth.get(layer.name)
    }
    left = ALLOWED_SHARE * plain_cost(network.layers)
    chosen: set[str] = set()
    for name in sorted(cost, key=lambda name: worth[name] / cost[name], reverse=True):
        if cost[name] <= left or not chosen:
            chosen.add(name)
            left -= cost[name]
    return chosen

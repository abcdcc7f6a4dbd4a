"""Input channels in another order: the network computes the same, and nothing is moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calib.decision import decision_graph
from calib.graph.executor import run
from calib.graph.linear import LinearLayer, linear_layers
from calib.graph.model import Graph, Node
from calib.graph.reorder import Reordered, reordered
from calib.level_costs import channels_of
from tests.small_networks import chain, classifier, samples_for, signal_network

NETWORKS = {
    "classifier": (classifier(), {"depthwise", "strided", "head"}),
    "grouped": (classifier(groups=2), {"head"}),
    "dense": (classifier(groups=1), {"depthwise", "strided", "head"}),
    "signal": (signal_network(), {"second", "out"}),
    "chain": (chain(4, relu=True), {"layer1", "layer2", "layer3"}),
}


def layers_of(graph: Graph) -> dict[str, LinearLayer]:
    return {layer.name: layer for layer in linear_layers(decision_graph(graph))}


def shuffled(graph: Graph, seed: int = 0) -> tuple[Reordered, dict[str, np.ndarray]]:
    generator = np.random.default_rng(seed)
    orders = {
        name: generator.permutation(channels_of(layer)) for name, layer in layers_of(graph).items()
    }
    return reordered(graph, layers_of(graph), orders), orders


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_computes_the_same(name: str) -> None:
    graph, foldable = NETWORKS[name]
    moved, _ = shuffled(graph)
    x = samples_for(graph, 4)
    np.testing.assert_allclose(
        run(moved.graph, x)[graph.output], run(graph, x)[graph.output], rtol=1e-4, atol=1e-5
    )
    assert moved.folded >= foldable


@pytest.mark.parametrize("name", NETWORKS)
def test_inputs_come_in_the_order_asked_for(name: str) -> None:
    graph, _ = NETWORKS[name]
    moved, orders = shuffled(graph)
    x = samples_for(graph, 2)
    before = run(graph, x, keep=None)
    after = run(moved.graph, x, keep=None)
    for layer in layers_of(graph).values():
        if layer.groups > 1:
            continue
        axis = 1 if layer.window is not None else -1
        wanted = before[layer.input]
        if layer.name in moved.folded:
            wanted = np.take(wanted, orders[layer.name], axis=axis)
        np.testing.assert_allclose(after[layer.input], wanted, rtol=1e-4, atol=1e-5)


def test_a_tensor_that_something_else_reads_stays_as_it_is() -> None:
    graph = chain(3)
    nodes = (*graph.nodes, Node("sum", "Add", ("y1", "y2"), ("z",)))
    read_twice = replace(graph, nodes=nodes, output="z")
    moved, orders = shuffled(read_twice)
    assert "layer2" not in moved.folded
    assert "layer1" in moved.folded
    assert not np.array_equal(orders["layer2"], np.arange(6))


def test_a_weight_that_two_layers_share_stays_as_it_is() -> None:
    graph = chain(3)
    shared = [replace(node, inputs=(node.inputs[0], "w0")) for node in graph.nodes]
    moved, _ = shuffled(replace(graph, nodes=tuple(shared)))
    assert moved.folded == frozenset()
    np.testing.assert_array_equal(moved.graph.constants["w0"], graph.constants["w0"])


def test_an_order_that_changes_nothing_is_folded_at_no_cost() -> None:
    graph = classifier()
    orders = {name: np.arange(channels_of(layer)) for name, layer in layers_of(graph).items()}
    moved = reordered(graph, layers_of(graph), orders)
    assert moved.folded == frozenset(orders)

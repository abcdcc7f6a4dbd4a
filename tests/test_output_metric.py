"""Output metrics: sums of outer products of gradients, found independently by differences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from calib.decision import Decision, decision_graph
from calib.graph.executor import run
from calib.graph.linear import LinearLayer, linear_layers
from calib.graph.model import Graph, Node
from calib.output_metric import LARGEST_COLUMNS, LARGEST_SEEDS, metric_columns
from tests.small_networks import chain, classifier, samples_for, signal_network

Array = np.ndarray[Any, Any]
CLASSES = Decision(classes=True)
NUMBERS = Decision(classes=False, projection=np.float32([1, 2, 3]))
COUNT = 10
"""Of samples: more than a block."""


def metrics_of(graph: Graph, decision: Decision, count: int = COUNT) -> dict[str, Array]:
    cut = decision_graph(graph)
    x = samples_for(cut, count)
    found = metric_columns(cut, linear_layers(cut), x, decision, np.random.default_rng(0))
    return {name: columns.astype(np.float64) for name, columns in found.items()}


def by_differences(graph: Graph, layer: LinearLayer, *, centred: bool) -> Array:
    """E Σ g gᵀ from how answers move when one output at one position does."""
    cut = decision_graph(graph)
    x = samples_for(cut, COUNT).astype(np.float64)
    wide = replace(cut, constants={k: _wide(v) for k, v in cut.constants.items()})
    clean = run(wide, x, keep=[layer.output])[layer.output]
    step, total = 1e-6, np.zeros((layer.outputs, layer.outputs))
    for position in range(layer.positions):
        moved = []
        for output in range(layer.outputs):
            change = np.zeros((1, layer.positions, layer.outputs))
            change[0, position, output] = step
            both = [_answers(wide, x, layer, clean + s * layer.tensor(change)) for s in (1, -1)]
            moved.append((both[0] - both[1]) / (2 * step))
        gradients = np.stack(moved, axis=-1)  # [n, classes, m]
        if centred:
            gradients -= gradients.mean(axis=1, keepdims=True)
        total += np.einsum("nci,ncj->ij", gradients, gradients)
    return total


def _wide(constant: Array) -> Array:
    return constant.astype(np.float64) if constant.dtype == np.float32 else constant


def _answers(graph: Graph, x: Array, layer: LinearLayer, y: Array) -> Array:
    answers = run(graph, x, replace={layer.name: lambda _: y})[graph.output]
    return np.asarray(answers.reshape(len(x), -1))


def smooth() -> Graph:
    """The classifier without kinks, where differences would say something else."""
    graph = classifier()
    nodes = (replace(n, op="Tanh") if n.op == "Relu" else n for n in graph.nodes)
    return replace(graph, nodes=tuple(nodes))


@pytest.mark.parametrize(
    ("graph", "decision"),
    [(smooth(), CLASSES), (signal_network(), NUMBERS)],
    ids=["classes", "numbers"],
)
def test_the_metric_is_the_sum_of_outer_products_of_gradients_up_to_one_scale(
    graph: Graph, decision: Decision
) -> None:
    found = metrics_of(graph, decision)
    scales = []
    for layer in linear_layers(decision_graph(graph)):
        columns = found[layer.name]
        expected = by_differences(graph, layer, centred=decision.classes)
        metric = columns @ columns.T
        scales.append(np.trace(expected) / np.trace(metric))
        np.testing.assert_allclose(
            metric * scales[-1], expected, rtol=0.01, atol=5e-3 * np.abs(expected).max()
        )
    np.testing.assert_allclose(scales, scales[0], rtol=5e-3)


def test_columns_are_sorted_bounded_and_at_most_one() -> None:
    graph = chain(2, width=40)
    found = metrics_of(graph, CLASSES)
    for columns in found.values():
        assert columns.shape == (40, LARGEST_COLUMNS)
        sizes = (columns**2).sum(axis=0)
        assert (np.diff(sizes) <= 1e-3 * sizes[0]).all()
    assert max(np.abs(columns).max() for columns in found.values()) == 1


def test_random_signs_stand_in_for_many_outputs() -> None:
    """The last layer's metric is then, on average, that of centring: the identity less its mean."""
    graph = chain(1, width=2 * LARGEST_SEEDS)
    cut, total = decision_graph(graph), np.zeros((32, 32))
    for seed in range(40):
        columns = metric_columns(
            cut, linear_layers(cut), samples_for(cut, 2), CLASSES, np.random.default_rng(seed)
        )["layer0"].astype(np.float64)
        metric = columns @ columns.T
        total += metric / np.trace(metric) * 31 / 40
    np.testing.assert_allclose(total, np.eye(32) - 1 / 32, atol=0.2)


@pytest.mark.parametrize("scale", [1e-24, 1e-12, 1.0, 1e12])
def test_the_scale_of_the_network_does_not_matter(scale: float) -> None:
    graph = chain(3)
    plain = metrics_of(graph, NUMBERS)
    scaled = {**graph.constants, "w2": graph.constants["w2"] * np.float32(scale)}
    found = metrics_of(replace(graph, constants=scaled), NUMBERS)
    for name in ("layer0", "layer1"):
        ratio = np.abs(found[name][:, 0]).max() / np.abs(plain[name][:, 0]).max()
        np.testing.assert_allclose(
            found[name] @ found[name].T,
            plain[name] @ plain[name].T * ratio**2,
            rtol=0.05,
            atol=0.02,
        )


def without_influence() -> Graph:
    """A classifier whose first layer does not reach the answer: it is multiplied by zero."""
    graph = chain(2)
    constants = {**graph.constants, "w1": np.zeros((6, 6), np.float32)}
    add = Node("add", "Add", ("y1", "x"), ("z",))
    last = Node("last", "MatMul", ("z", "w0"), ("out",))
    return replace(graph, nodes=(*graph.nodes, add, last), output="out", constants=constants)


def test_a_layer_that_does_not_influence_the_answer_has_a_metric_of_zero() -> None:
    found = metrics_of(without_influence(), CLASSES)
    np.testing.assert_array_equal(found["layer0"], np.zeros((6, 6)))
    assert found["last"].any()


def test_an_answer_that_nothing_influences_gives_zeros_everywhere() -> None:
    graph = chain(1)
    nothing = Node("nothing", "Mul", ("y0", "zero"), ("out",))
    constants = {**graph.constants, "zero": np.zeros((), np.float32)}
    still = replace(graph, nodes=(*graph.nodes, nothing), output="out", constants=constants)
    for columns in metrics_of(still, CLASSES).values():
        np.testing.assert_array_equal(columns, 0)

"""Packing a network: what it refuses, what it keeps, and quantising it later."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from calib.decision import decision_graph
from calib.errors import CalibError, GraphError, SampleError
from calib.graph.executor import run
from calib.graph.model import Graph, Node, Port
from calib.packed import PackedNetwork, requantised
from calib.prepare import PackOptions, prepare
from calib.references import RecomputedReferences
from calib.schemes.weights import SCHEMES
from calib.stored_references import StoredReferences
from tests.small_networks import chain, classifier, packed, samples_for, signal_network

Array = np.ndarray[Any, Any]
GRAPHS = {"classifier": classifier(), "signal": signal_network(), "chain": chain(3)}
EVERY_GRAPH = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
SMALL = PackOptions(held_back=6, references=18)


@EVERY_GRAPH
@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_the_main_path_has_the_weights_that_its_codes_stand_for(graph: Graph, scheme: str) -> None:
    network = packed(graph, scheme=scheme)
    x = samples_for(graph, 3)
    for layer in network.layers:
        np.testing.assert_array_equal(layer.weight, network.weights[layer.name].values())
    answers = run(network.decision_graph, x)[network.decision_graph.output]
    clean = run(decision_graph(graph), x)[decision_graph(graph).output]
    error = np.linalg.norm(answers - clean) / np.linalg.norm(clean)
    assert error < {"int8": 0.03, "int4": 0.4, "nf4": 0.4, "int4-tensor": 0.5}[scheme]


@EVERY_GRAPH
def test_references_are_those_of_the_float_network(graph: Graph) -> None:
    x = samples_for(graph, 24)
    for form in ("stored", "recomputed"):
        network = packed(graph, references_as=form, scheme="int4-tensor")
        block = network.references.block(np.arange(24)[:8])
        clean = run(decision_graph(graph), x[:8])[decision_graph(graph).output]
        np.testing.assert_allclose(block.answers, clean, rtol=0.02, atol=0.02)
        assert network.references_as == form


@EVERY_GRAPH
@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_a_float_bundle_quantised_later_is_a_bundle_quantised_at_once(
    graph: Graph, scheme: str
) -> None:
    options = {"references_as": "stored"}
    directly = packed(graph, scheme=scheme, **options)
    later = requantised(packed(graph, scheme="float", **options), scheme)
    assert later.scheme == directly.scheme == scheme
    assert later.float_weights is directly.float_weights is None
    assert later.activations == directly.activations
    for layer, other in zip(later.layers, directly.layers, strict=True):
        codes, expected = later.weights[layer.name], directly.weights[layer.name]
        np.testing.assert_array_equal(codes.codes, expected.codes)
        np.testing.assert_array_equal(codes.scales, expected.scales)
        np.testing.assert_array_equal(layer.weight, other.weight)
        np.testing.assert_array_equal(later.metrics[layer.name], directly.metrics[layer.name])
    x = samples_for(graph, 2)
    one, two = (run(n.graph, x)[n.graph.output] for n in (later, directly))
    np.testing.assert_array_equal(one, two)


def test_recomputed_references_keep_the_float_weights_through_quantisation() -> None:
    network = requantised(packed(chain(2), scheme="float", references_as="recomputed"), "int4")
    assert network.float_weights is not None
    again = requantised(network, "int8")
    x = samples_for(chain(2), 4)
    assert again.float_graph is not None
    clean, exact = (run(g, x)[g.output] for g in (chain(2), again.float_graph))
    np.testing.assert_allclose(exact, clean, rtol=1e-2, atol=1e-3)


def test_without_float_weights_nothing_is_quantised_again() -> None:
    with pytest.raises(CalibError, match="holds int8 weights only, so it cannot be made int4 here"):
        requantised(packed(chain(2), references_as="stored"), "int4")


@pytest.mark.parametrize(
    ("count", "held_back", "references"), [(200, 32, 96), (128, 32, 96), (100, 25, 75), (8, 2, 6)]
)
def test_samples_are_taken_in_file_order_a_quarter_where_there_are_few(
    count: int, held_back: int, references: int
) -> None:
    x = samples_for(chain(2), count)
    network = prepare(chain(2), x, None, PackOptions())
    assert network.references.held_back == held_back
    assert network.references.count == held_back + references
    inputs = network.references.block(np.arange(held_back + references)[-8:]).inputs
    np.testing.assert_allclose(inputs, x[: held_back + references][-8:], atol=2e-3)


def test_a_small_budget_keeps_the_first_of_both_kinds() -> None:
    x = samples_for(chain(2), 40)
    options = PackOptions(held_back=10, references=30, references_as="stored", budget_bytes=2500)
    network = prepare(chain(2), x, None, options)
    references = network.references
    assert isinstance(references, StoredReferences)
    assert references.count < 40
    kept = [*range(references.held_back), *range(10, 10 + references.count - references.held_back)]
    found = references.block(np.arange(references.count)).inputs
    np.testing.assert_allclose(found, x[kept], atol=2e-3)


def test_labels_or_a_softmax_make_classes() -> None:
    assert packed(classifier()).decision.classes
    assert packed(chain(2), labels=True).decision.classes
    alone = packed(chain(2)).decision
    assert not alone.classes
    assert alone.projection is not None
    assert alone.projection.shape == (6,)


def test_the_seed_decides_the_positions() -> None:
    def positions(seed: int) -> Array:
        options = replace(SMALL, seed=seed)
        network = prepare(classifier(), samples_for(classifier(), 24), None, options)
        return np.asarray(recomputed(network).positions["first"])

    np.testing.assert_array_equal(positions(0), positions(0))
    assert (positions(0) != positions(1)).any()


def recomputed(network: PackedNetwork) -> RecomputedReferences:
    assert isinstance(network.references, RecomputedReferences)
    return network.references


def refused(x: Array, labels: Any = None, graph: Graph | None = None, **options: Any) -> str:
    with pytest.raises(CalibError) as caught:
        prepare(graph or classifier(), x, labels, replace(SMALL, **options))
    return str(caught.value)


GOOD = samples_for(classifier(), 24)


def test_samples_of_another_shape_are_refused() -> None:
    words = refused(GOOD.transpose(0, 2, 3, 1))
    assert "takes samples of shape [n, 2, 8, 8], not [24, 8, 8, 2]" in words
    assert "not [2, 8, 8]" in refused(GOOD[0])


def test_samples_that_are_not_finite_are_refused_by_number() -> None:
    for value in (np.nan, np.inf):
        x = GOOD.copy()
        x[5, 0, 3, 3] = value
        assert refused(x) == "sample 5 holds values that are not finite; leave it out"


def test_too_few_samples_are_refused() -> None:
    assert refused(GOOD[:7]).startswith("7 samples are too few: at least 8 are needed")
    assert refused(GOOD[:0]) == "the data hold no samples; give at least eight"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.arange(24) % 6, "label 5 of sample 5 is out of range: the network has 5 outputs"),
        (np.full(24, -1), "label -1 of sample 0 is out of range"),
        (np.zeros(23, int), "there are 24 samples, but labels of shape [23]; give one each"),
        (np.zeros((24, 5), int), "labels of shape [24, 5]"),
        (np.zeros(24), "labels are of type float64; give whole numbers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: Array, words: str) -> None:
    assert words in refused(GOOD, labels)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"scheme": "int3"}, "no scheme 'int3'"),
        ({"activation_bits": 9}, "activation bits must be 4 to 8, not 9"),
        ({"references_as": "both"}, "not 'both'"),
        ({"budget_bytes": 100}, "raise --budget-kib"),
        ({"held_back": 0}, "0 held-back samples"),
    ],
)
def test_options_that_cannot_be_are_refused(option: dict[str, Any], words: str) -> None:
    assert words in refused(GOOD, **option)


def test_a_network_without_linear_layers_is_refused() -> None:
    graph = Graph("bare", Port("x", (1, 4)), "y", (Node("n", "Relu", ("x",), ("y",)),), {})
    with pytest.raises(GraphError, match="'bare' has no linear layer: there is nothing to pack"):
        prepare(graph, samples_for(graph, 24), None, SMALL)


def scaled(graph: Graph, name: str, factor: float) -> Graph:
    weight = graph.constants[name] * np.float32(factor)
    return replace(graph, constants={**graph.constants, name: weight})


def test_weights_too_large_for_half_precision_are_refused() -> None:
    graph = scaled(chain(2), "w1", 1e6)
    with pytest.raises(GraphError, match=r"layer layer1: the largest weight is .* at most 65504;"):
        prepare(graph, samples_for(graph, 24), None, SMALL)


@pytest.mark.parametrize(
    ("name", "words"), [("w0", "layer layer1 is given values"), ("w1", "gives answers")]
)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_a_network_that_overflows_is_refused(name: str, words: str) -> None:
    graph = scaled(chain(2), name, 1e38)
    x = 1e3 * samples_for(graph, 24)
    with np.errstate(all="warn"), pytest.raises((GraphError, SampleError), match=words):
        prepare(graph, x.astype(np.float32), None, SMALL)


def test_what_is_being_done_is_told() -> None:
    told: list[str] = []
    prepare(chain(2), samples_for(chain(2), 24), None, SMALL, told.append)
    assert told == [
        "finding ranges",
        "measuring what the answer is sensitive to",
        "writing references",
        "quantising",
    ]

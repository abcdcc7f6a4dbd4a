"""Branches that lie in the weights: what is computed, what it costs, and where there is no room."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calib.factors import Factors, no_factors
from calib.folded_weights import folded_integers, folded_values, has_room
from calib.graph.executor import Replacement, run
from calib.graph.linear import LinearLayer, multiply
from calib.integer_graph import integer_graph
from calib.integer_weights import is_integer
from calib.packed import PackedNetwork
from tests.onnx_runtimes import all_positions, on_both, relative, residual, sequences, some_factors
from tests.small_networks import chain, classifier, samples_for, signal_network

NETWORKS = {
    "depthwise": classifier(),
    "grouped": classifier(groups=2),
    "residual": residual(),
    "signal": signal_network(),
    "chain": chain(3, relu=True),
    "sequences": sequences(),
}
COUNT = 20


def corrected(network: PackedNetwork, factors: Factors, x: np.ndarray) -> np.ndarray:
    """The network in float, inputs rounded to their codes, with branches that read these."""

    def replacement(layer: LinearLayer) -> Replacement:
        code, weights = network.activations[layer.name], network.weights[layer.name]

        def computed(given: np.ndarray) -> np.ndarray:
            rows = code.decode(code.encode(layer.rows(given)))
            main = multiply(rows, weights.values()) + layer.bias
            return layer.tensor(factors[layer.name].apply(main, rows))

        return computed

    graph = network.decision_graph
    replaced = {layer.name: replacement(layer) for layer in network.layers}
    with np.errstate(under="ignore"):
        return np.asarray(run(graph, x, replace=replaced)[graph.output])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("scheme", ["int4", "int4-tensor", "nf4"])
def test_what_is_computed_is_the_network_with_its_branches(name: str, scheme: str) -> None:
    graph = NETWORKS[name]
    network, runtime, _ = on_both(graph, scheme=scheme, fold=True)
    x, taps = samples_for(graph, COUNT, seed=5), all_positions(network, COUNT)
    factors = some_factors(network, 2)
    seen = runtime.run(x, factors, taps)
    wanted = corrected(network, factors, x)
    limit = 1e-5 if scheme == "nf4" else 0.1  # outputs are rounded to 8 bits, and weights are
    assert relative(seen.answers.reshape(wanted.shape), wanted) < limit
    last = seen.layers[network.layers[-1].name].outputs
    assert relative(last.reshape(wanted.shape), wanted) < limit
    plain = runtime.run(x, no_factors(network.layers), taps).layers[network.layers[0].name]
    np.testing.assert_array_equal(seen.layers[network.layers[0].name].main, plain.main)


@pytest.mark.parametrize("scheme", ["int4", "int4-tensor", "nf4"])
def test_branches_that_do_nothing_change_no_bit(scheme: str) -> None:
    graph = residual()
    network, runtime, _ = on_both(graph, scheme=scheme, fold=True)
    x = samples_for(graph, COUNT, seed=5)
    some = some_factors(network, 2).surrogates
    zero = {name: replace(one, b=np.zeros_like(one.b)) for name, one in some.items()}
    none = {name: replace(one, a=one.a[:0], b=one.b[:, :0]) for name, one in some.items()}
    np.testing.assert_array_equal(
        runtime.run(x, Factors(zero), {}).answers, runtime.run(x, Factors(none), {}).answers
    )


@pytest.mark.parametrize("scheme", ["int4", "int4-tensor", "nf4"])
def test_a_folded_branch_has_no_node_of_its_own(scheme: str) -> None:
    network, runtime, _ = on_both(classifier(), scheme=scheme, fold=True)

    def operations(factors: Factors) -> list[tuple[str, str]]:
        graph = integer_graph(network, runtime._outputs, factors, fold=True)
        return [(node.name, node.op) for node in graph.nodes]

    assert operations(some_factors(network, 3)) == operations(no_factors(network.layers))
    ranks = {layer.name: 4 for layer in network.layers}
    assert runtime.slowdowns([ranks, {}]) == [1.0, 1.0]


def test_eight_bits_have_no_room() -> None:
    network, runtime, _ = on_both(classifier(), scheme="int8", fold=True)
    factors = some_factors(network, 1)
    nodes = integer_graph(network, runtime._outputs, factors, fold=True).nodes
    assert {f"{layer.name}@both" for layer in network.layers} <= {node.name for node in nodes}
    assert not any(has_room(weights) for weights in network.weights.values())


def test_branches_beside_are_timed_alone_and_together() -> None:
    network, runtime, _ = on_both(residual(), scheme="int8", fold=True)
    ranks = {layer.name: 2 for layer in network.layers}
    found = runtime.slowdowns([*({name: rank} for name, rank in ranks.items()), ranks, {}])
    assert len(found) == len(ranks) + 2
    assert all(0 < one < 1000 for one in found)
    assert found[-1] == 1.0


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [1e-6, 0.1, 10.0])
def test_folded_integers_are_off_by_half_a_step_at_most(name: str, size: float) -> None:
    network, _, _ = on_both(NETWORKS[name], scheme="int4", fold=True)
    factors = some_factors(network, 2, size=size)
    for layer in network.layers:
        weights, one = network.weights[layer.name], factors[layer.name]
        assert is_integer(weights)
        step = network.activations[layer.name].step
        found = folded_integers(weights, layer.bias, step, one)
        wanted = folded_values(weights, one)
        scales = found.scales.reshape(layer.groups, 1, -1)
        assert (np.abs(found.codes * scales - wanted) <= scales * 0.5001).all()
        rows = np.random.default_rng(0).standard_normal((5, layer.groups, layer.inputs))
        rows = rows.astype(np.float32)
        main = multiply(rows, weights.values()) + layer.bias
        whole = multiply(rows.astype(np.float64), wanted) + one.gain * layer.bias + one.offset
        assert relative(one.apply(main, rows), whole) < 1e-5
        shift = one.gain * layer.bias + one.offset
        np.testing.assert_allclose(
            found.bias * found.bias_scales.astype(np.float64), shift, atol=found.bias_scales.max()
        )

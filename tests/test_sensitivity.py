"""Sensitivity: the predicted change of the margin is the true one wherever that can be had."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agent.measurement import candidates, local_errors
from agent.runtimes.base import can_probe
from calib.factors import no_factors
from calib.graph.model import Graph
from calib.packed import PackedNetwork
from calib.references import fit_indices
from calib.sensitivity import joined, predict
from tests.fakes import DeviatingRuntime
from tests.small_networks import chain, classifier, on_int8_grid, packed, signal_network

Array = np.ndarray[Any, Any]


def with_classes(graph: Graph, **options: Any) -> PackedNetwork:
    """Packed with labels, so that outputs are classes, and with references at all positions."""
    return packed(graph, labels=True, references_as="recomputed", **options)


def true_change(network: PackedNetwork, runtime: DeviatingRuntime) -> Array:
    """How much the deviating network's answers really move the clean margins."""
    block = network.references.block(fit_indices(network.references))
    answers = runtime.run(block.inputs, no_factors(network.layers), {}).answers
    seeds = network.decision.seeds(block.answers)
    difference = (answers - block.answers).reshape(len(answers), -1)
    return np.asarray((seeds.reshape(len(seeds), -1) * difference).sum(axis=1))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("depth", [1, 3, 10])
def test_the_prediction_is_exact_for_a_linear_network(depth: int, seed: int) -> None:
    """Ten layers deep, too: what upstream layers pass on is not counted again.

    Exact where the main path's nominal weights are the float ones; else the quantisation error
    times what upstream layers did wrong is left out.
    """
    network = with_classes(on_int8_grid(chain(depth), seed))
    runtime = DeviatingRuntime(network, 0.2, np.random.default_rng(seed))
    assert not can_probe(runtime)
    indices = fit_indices(network.references)
    found = candidates(runtime, network, no_factors(network.layers), indices).sensitivity
    change = true_change(network, runtime)
    np.testing.assert_allclose(found.changes, change, rtol=1e-3, atol=1e-4 * np.abs(change).max())


@pytest.mark.parametrize("seed", range(4))
def test_without_classes_the_projection_changes_as_predicted(seed: int) -> None:
    network = packed(on_int8_grid(chain(4), seed), references_as="recomputed")
    assert not network.decision.classes
    runtime = DeviatingRuntime(network, 0.2, np.random.default_rng(seed))
    indices = fit_indices(network.references)
    found = candidates(runtime, network, no_factors(network.layers), indices).sensitivity
    change = true_change(network, runtime)
    np.testing.assert_allclose(found.changes, change, rtol=1e-3, atol=1e-4 * np.abs(change).max())
    np.testing.assert_allclose(found.rises, found.changes**2, rtol=1e-5)


@pytest.mark.parametrize(("scheme", "share"), [("int8", 0.02), ("int4", 0.3)])
def test_coarse_weights_leave_a_part_of_the_change_unpredicted(scheme: str, share: float) -> None:
    network = with_classes(chain(5), scheme=scheme)
    runtime = DeviatingRuntime(network, 0.2, np.random.default_rng(0))
    indices = fit_indices(network.references)
    found = candidates(runtime, network, no_factors(network.layers), indices).sensitivity
    change = true_change(network, runtime)
    assert np.linalg.norm(found.changes - change) < share * np.linalg.norm(change)


def test_summing_all_errors_would_count_upstream_ones_again() -> None:
    """The reason for local errors: the layers' whole errors predict far too much."""
    network = with_classes(chain(10))
    runtime = DeviatingRuntime(network, 0.05, np.random.default_rng(0))
    factors = no_factors(network.layers)
    block = network.references.block(fit_indices(network.references), with_gradients=True)
    trace = runtime.run(block.inputs, factors, block.positions)
    whole = {n: seen.outputs - block.layers[n].outputs for n, seen in trace.layers.items()}
    change = np.abs(true_change(network, runtime)).mean()
    for errors, low, high in (
        (local_errors(runtime, block, factors), 0.99, 1.01),
        (whole, 2.0, 50.0),
    ):
        found = predict(network.layers, block, errors, network.decision)
        assert low < np.abs(found.changes).mean() / change < high


@pytest.mark.parametrize("graph", [classifier(), signal_network()], ids=["classifier", "signals"])
def test_small_errors_change_a_real_network_as_predicted(graph: Graph) -> None:
    network = packed(graph, references_as="recomputed", scheme="int8")
    runtime = DeviatingRuntime(network, 0.003, np.random.default_rng(1))
    indices = fit_indices(network.references)
    found = candidates(runtime, network, no_factors(network.layers), indices).sensitivity
    change = true_change(network, runtime)
    sampled = any(layer.positions > network.positions_per_sample for layer in network.layers)
    assert np.corrcoef(found.changes, change)[0, 1] > (0.6 if sampled else 0.95)


def test_sampled_positions_are_scaled_up_to_all() -> None:
    network = packed(classifier(), references_as="recomputed")
    block = network.references.block(fit_indices(network.references), with_gradients=True)
    ones = {name: np.ones_like(layer.outputs) for name, layer in block.layers.items()}
    found = predict(network.layers, block, ones, network.decision)
    for layer in network.layers:
        gradients = block.layers[layer.name].gradients
        assert gradients is not None
        scale = layer.positions / gradients.shape[1]
        expected = scale * gradients.sum(axis=(1, 2))
        np.testing.assert_allclose(found.shares[layer.name], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.changes, sum(found.shares.values()), rtol=1e-5)


def test_blocks_join_in_order() -> None:
    network = packed(chain(2), references_as="recomputed")
    parts = []
    for some in np.array_split(fit_indices(network.references), 3):
        block = network.references.block(some, with_gradients=True)
        errors = {name: layer.outputs * 0.1 for name, layer in block.layers.items()}
        parts.append(predict(network.layers, block, errors, network.decision))
    whole = joined(parts)
    np.testing.assert_array_equal(whole.indices, fit_indices(network.references))
    for name in ("margins", "rises", "changes"):
        expected = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_allclose(getattr(whole, name), expected, rtol=1e-6)


def test_no_error_is_no_sensitivity() -> None:
    network = packed(classifier(), references_as="recomputed")
    block = network.references.block(fit_indices(network.references), with_gradients=True)
    nothing = {name: np.zeros_like(layer.outputs) for name, layer in block.layers.items()}
    found = predict(network.layers, block, nothing, network.decision)
    assert not found.rises.any()
    np.testing.assert_array_equal(found.margins, network.decision.margins(block.answers))

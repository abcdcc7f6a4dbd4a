"""The emulated chip as a runtime: an ideal one is exact; taps and blocks change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agent.runtimes import cim
from agent.runtimes.base import Positions, Trace, can_probe
from agent.runtimes.cim import CimRuntime
from calib.decision import decision_graph
from calib.errors import SampleError
from calib.factors import Factors, Surrogate, no_factors
from calib.graph.executor import run
from calib.graph.linear import LinearLayer, multiply
from calib.graph.model import Graph
from calib.packed import PackedNetwork
from calib.ranges import nominal_products
from calib.references import draw_positions
from calib.schemes.weights import SCHEMES
from device_models.array import Chip, State
from device_models.presets import preset
from tests.small_networks import chain, classifier, packed, samples_for, signal_network

Array = np.ndarray[Any, Any]
GRAPHS = {
    "classifier": classifier(),
    "grouped": classifier(groups=2),
    "signal": signal_network(),
    "chain": chain(3, relu=True),
}
EVERY_GRAPH = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


def runtime_of(network: PackedNetwork, device: str = "mismatch-10", seed: int = 3) -> CimRuntime:
    return CimRuntime(network, Chip(preset(device), seed), State(), np.random.default_rng(0))


def all_positions(layers: tuple[LinearLayer, ...], count: int) -> dict[str, Array]:
    return {la.name: np.tile(np.arange(la.positions), (count, 1)) for la in layers}


def some_factors(network: PackedNetwork, seed: int = 0) -> Factors:
    """Gains, offsets, and branches of rank 2."""
    generator = np.random.default_rng(seed)
    found = {}
    for layer in network.layers:
        rank, outputs = 2, layer.outputs
        sizes = (outputs,), (outputs,), (layer.groups * rank, layer.inputs), (outputs, rank)
        gain, offset, a, b = (0.2 * generator.standard_normal(size) for size in sizes)
        parts = (part.astype(np.float32) for part in (1 + gain, offset, a, b))
        found[layer.name] = Surrogate(*parts)
    return Factors(found)


def assert_same(one: Trace, other: Trace, tolerance: float = 0.0) -> None:
    np.testing.assert_allclose(one.answers, other.answers, rtol=tolerance, atol=tolerance)
    assert one.layers.keys() == other.layers.keys()
    for name, layer in one.layers.items():
        for part in ("rows", "main", "outputs"):
            mine, theirs = getattr(layer, part), getattr(other.layers[name], part)
            np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


@EVERY_GRAPH
@pytest.mark.parametrize("scheme", sorted(SCHEMES))
@pytest.mark.parametrize("bits", [4, 8])
def test_an_ideal_chip_is_the_nominal_quantised_network(
    graph: Graph, scheme: str, bits: int
) -> None:
    network = packed(graph, scheme=scheme, activation_bits=bits)
    x = samples_for(graph, 5, seed=9)
    found = runtime_of(network, "ideal").run(x, no_factors(network.layers), {})
    replace = nominal_products(network.layers, network.activations)
    cut = network.decision_graph
    expected = run(cut, x, replace=replace)[cut.output]
    # Sums in another order may round an activation to the next code.
    np.testing.assert_allclose(found.answers, expected, atol=1e-5 * np.abs(expected).max())


@EVERY_GRAPH
def test_padding_reads_the_zero_point(graph: Graph) -> None:
    """Of the first layer, whose input is negative too: its zero point is no zero code."""
    network = packed(graph)
    layer = network.layers[0]
    code = network.activations[layer.name]
    assert code.zero_point > 0
    x = samples_for(graph, 3)
    taps = {layer.name: all_positions(network.layers, 3)[layer.name]}
    main = runtime_of(network, "ideal").run(x, no_factors(network.layers), taps).layers[layer.name]
    rows = layer.rows(code.decode(code.encode(x)))  # padded with the value zero
    expected = multiply(rows, layer.weight) + layer.bias
    np.testing.assert_allclose(main.main, expected, atol=1e-5)


@EVERY_GRAPH
def test_taps_show_what_each_layer_was_given_and_made(graph: Graph) -> None:
    network = packed(graph)
    factors = some_factors(network)
    x = samples_for(graph, 4)
    runtime = runtime_of(network)
    full = runtime.run(x, factors, all_positions(network.layers, 4))
    sample = np.arange(4)[:, None]
    taps = draw_positions(network.layers, 4, 3, np.random.default_rng(1))
    some = runtime.run(x, factors, taps)
    np.testing.assert_array_equal(some.answers, full.answers)
    for layer in network.layers:
        seen, whole = some.layers[layer.name], full.layers[layer.name]
        at = (sample, taps[layer.name].astype(int))
        for part in ("rows", "main", "outputs"):
            np.testing.assert_array_equal(getattr(seen, part), getattr(whole, part)[at])
        expected = factors[layer.name].apply(seen.main, seen.rows)
        np.testing.assert_allclose(seen.outputs, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(
        full.layers[network.layers[0].name].rows, network.layers[0].rows(x)
    )
    last = network.layers[-1].name
    np.testing.assert_allclose(full.layers[last].outputs[:, 0], full.answers, rtol=1e-6)


def test_only_what_is_tapped_is_shown() -> None:
    network = packed(classifier())
    taps: Positions = {"strided": np.array([[0], [5]])}
    found = runtime_of(network).run(samples_for(classifier(), 2), no_factors(network.layers), taps)
    assert list(found.layers) == ["strided"]
    assert found.layers["strided"].rows.shape == (2, 1, 1, 54)
    assert found.answers.shape == (2, 5)


@EVERY_GRAPH
@pytest.mark.parametrize("block_bytes", [1, 5000, 40_000])
def test_blocks_and_batches_change_nothing(
    graph: Graph, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = packed(graph)
    factors = some_factors(network)
    x = samples_for(graph, 7)
    taps = draw_positions(network.layers, 7, 3, np.random.default_rng(1))
    expected = runtime_of(network).run(x, factors, taps)
    # The bounds are of the module, not of a call: a test has no other way to meet them early.
    monkeypatch.setattr(cim, "BLOCK_BYTES", block_bytes)
    assert_same(runtime_of(network).run(x, factors, taps), expected, 1e-6)
    monkeypatch.setattr(cim, "BATCH_SAMPLES", 2)
    assert_same(runtime_of(network).run(x, factors, taps), expected, 1e-6)


@EVERY_GRAPH
def test_a_probe_is_what_the_layer_makes_of_clean_inputs(graph: Graph) -> None:
    network = packed(graph)
    runtime = runtime_of(network)
    assert can_probe(runtime)
    first = network.layers[0]
    x = samples_for(graph, 4)
    taps = {first.name: draw_positions(network.layers, 4, 5, np.random.default_rng(1))[first.name]}
    seen = runtime.run(x, no_factors(network.layers), taps).layers[first.name]
    np.testing.assert_allclose(runtime.probe(first, seen.rows), seen.main, rtol=1e-6, atol=1e-6)


def test_a_probe_of_any_layer_is_the_chips_product() -> None:
    network = packed(classifier())
    runtime = runtime_of(network, "ideal")
    for layer in network.layers:
        generator = np.random.default_rng(0)
        rows = generator.uniform(0, 1, (2, 3, layer.groups, layer.inputs)).astype(np.float32)
        code = network.activations[layer.name]
        expected = multiply(code.decode(code.encode(rows)), layer.weight) + layer.bias
        found = runtime.probe(layer, rows)
        assert found.shape == (2, 3, layer.outputs)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_chip_is_itself_and_two_chips_differ() -> None:
    network = packed(classifier())
    x, factors = samples_for(classifier(), 3), no_factors(network.layers)
    one, again, other = (runtime_of(network, seed=s).run(x, factors, {}) for s in (1, 1, 2))
    assert_same(one, again)
    assert (one.answers != other.answers).any()


def test_identity_factors_change_nothing_and_gains_scale_the_last_layer() -> None:
    network = packed(classifier())
    runtime = runtime_of(network)
    x, factors = samples_for(classifier(), 3), no_factors(network.layers)
    plain = runtime.run(x, factors, {}).answers
    twice, one = np.full(5, 2, np.float32), np.ones(5, np.float32)
    doubled = factors.replaced("head", factors["head"].then_scaled(twice, one))
    found = runtime.run(x, doubled, {}).answers
    np.testing.assert_allclose(found, 2 * plain + 1, rtol=1e-5)


def test_what_lies_strided_in_memory_gives_the_same() -> None:
    network = packed(classifier())
    runtime = runtime_of(network)
    x = samples_for(classifier(), 3)
    strided = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    factors = some_factors(network)
    one, two = (runtime.run(v, factors, {}).answers for v in (x, strided))
    np.testing.assert_allclose(one, two, rtol=1e-6)


def test_answers_are_logits_and_samples_are_checked() -> None:
    network = packed(classifier())
    runtime = runtime_of(network)
    assert decision_graph(network.graph).output == "logits"
    with pytest.raises(SampleError, match=r"takes samples of shape \[n, 2, 8, 8\]"):
        runtime.run(np.zeros((1, 2, 8, 9), np.float32), no_factors(network.layers), {})

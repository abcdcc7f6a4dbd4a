"""Surrogates as nodes: the same answers as the runtime's, and gradients that are right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agent.runtimes.cim import CimRuntime
from calib.factors import Factors, Surrogate, no_factors
from calib.graph.executor import run
from calib.graph.model import Graph
from calib.loss_gradient import loss_and_gradients
from calib.losses import distillation
from calib.packed import PackedNetwork
from calib.surrogate_graph import constants_of, factors_of, surrogate_graph
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


def runtime_of(network: PackedNetwork, device: str) -> CimRuntime:
    return CimRuntime(network, Chip(preset(device), 3), State(), np.random.default_rng(0))


def some_factors(network: PackedNetwork, seed: int = 0) -> Factors:
    """Gains, offsets, and ranks 1, 2, 0, …"""
    generator = np.random.default_rng(seed)
    found = {}
    for i, layer in enumerate(network.layers):
        rank, outputs = (i + 1) % 3, layer.outputs
        shapes = (outputs,), (outputs,), (layer.groups * rank, layer.inputs), (outputs, rank)
        gain, offset, a, b = (0.2 * generator.standard_normal(shape) for shape in shapes)
        found[layer.name] = Surrogate(
            *(part.astype(np.float32) for part in (1 + gain, offset, a, b))
        )
    return Factors(found)


def with_surrogates(network: PackedNetwork, factors: Factors) -> Graph:
    return surrogate_graph(network.decision_graph, network.layers, network.activations, factors)


@EVERY_GRAPH
@pytest.mark.parametrize("device", ["ideal", "mismatch-20"])
def test_the_graph_with_a_chip_in_its_nodes_answers_as_the_runtime(
    graph: Graph, device: str
) -> None:
    network = packed(graph, rank=2)
    runtime, factors = runtime_of(network, device), some_factors(network)
    x = samples_for(graph, 6, seed=9)
    expected = runtime.run(x, factors, {}).answers
    made = with_surrogates(network, factors)
    found = run(made, x, replace=runtime.main_paths())[made.output]
    assert np.abs(expected - runtime.run(x, no_factors(network.layers), {}).answers).max() > 0.01
    # Sums in another order may round an activation to the next code.
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@EVERY_GRAPH
def test_factors_come_back_from_the_constants_bit_for_bit(graph: Graph) -> None:
    network = packed(graph)
    factors = some_factors(network)
    back = factors_of(network.layers, constants_of(network.layers, factors))
    for name, one in factors.surrogates.items():
        for part in ("gain", "offset", "a", "b"):
            np.testing.assert_array_equal(getattr(back[name], part), getattr(one, part))
            assert getattr(back[name], part).dtype == np.float32


@EVERY_GRAPH
def test_gradients_equal_finite_differences(graph: Graph) -> None:
    """Of every constant, in double precision, with the nominal weights as main paths."""
    network = packed(graph)
    made = with_surrogates(network, some_factors(network))
    made = replace(made, constants={k: v.astype(np.float64) for k, v in made.constants.items()})
    names = constants_of(network.layers, some_factors(network))
    weights = {name: made.constants[name] for name in names}
    x = samples_for(graph, 3).astype(np.float64)
    teacher = np.random.default_rng(5).standard_normal((3, *run(made, x)[made.output].shape[1:]))
    loss, indices = distillation(teacher, classes=network.decision.classes), np.arange(3)
    _, slopes = loss_and_gradients(made, weights, x, indices, loss)
    generator = np.random.default_rng(6)
    for name, weight in weights.items():
        direction = generator.standard_normal(weight.shape)
        ends = [
            loss_and_gradients(
                made, {**weights, name: weight + sign * 1e-6 * direction}, x, indices, loss
            )[0]
            for sign in (1, -1)
        ]
        slope = (ends[0] - ends[1]) / 2e-6
        assert np.sum(slopes[name] * direction) == pytest.approx(slope, rel=1e-4, abs=1e-8), name


@EVERY_GRAPH
def test_gradients_with_a_chip_equal_finite_differences(graph: Graph) -> None:
    """Of an ideal chip: its answers are a fine staircase, so that steps must be wide.

    Some inputs lie beyond their codes' ranges, where the chip's answers have no slope at all.
    Where the nominal weights stood in the forward pass, the values would differ by the rounding
    of activations; where gradients did not pass the chip, those of early layers would be zero.
    """
    network = packed(graph, activation_bits=8)
    factors = some_factors(network)
    made = with_surrogates(network, factors)
    chip = runtime_of(network, "ideal").main_paths()
    x = samples_for(graph, 512)
    answers = run(made, x, replace=chip)[made.output]
    loss, indices = distillation(2 * answers, classes=False), np.arange(512)
    weights = constants_of(network.layers, factors)
    value, slopes = loss_and_gradients(made, weights, x, indices, loss, chip=chip)
    assert value == pytest.approx(loss(answers, indices)[0], rel=1e-6)
    for name, weight in weights.items():
        length = float(np.linalg.norm(slopes[name]))
        wide = 0.3 if name.endswith("@a") else 0.05  # what moves A moves little behind B
        step = (wide * slopes[name] / length).astype(np.float32)
        ends = [
            loss_and_gradients(
                made, {**weights, name: weight + sign * step}, x, indices, loss, chip=chip
            )[0]
            for sign in (1, -1)
        ]
        assert (ends[0] - ends[1]) / (2 * wide) == pytest.approx(length, rel=0.1), name

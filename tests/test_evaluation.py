"""Evaluation: counts against a plain count, networks without classes, foreign float models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agent.buffer import SampleBuffer
from agent.data_file import Data
from agent.errors import InputError
from agent.evaluation import BATCH_SAMPLES, evaluate
from agent.loop import ClosedLoop
from agent.runtimes.cim import CimRuntime
from calib.decision import decision_graph
from calib.errors import SampleError
from calib.factors import Factors, identity
from calib.graph.executor import run
from calib.graph.model import Graph
from calib.packed import PackedNetwork
from device_models.array import Chip, State
from device_models.presets import preset
from tests.small_networks import chain, classifier, packed, samples_for, signal_network


def loop_on(network: PackedNetwork, percent: int) -> ClosedLoop:
    """A chip whose factors halve every output of the first layer."""
    generator = np.random.default_rng(0)
    chip = Chip(preset(f"mismatch-{percent}"), 1)
    surrogates = {layer.name: identity(layer) for layer in network.layers}
    first = network.layers[0].name
    half = replace(surrogates[first], gain=surrogates[first].gain / 2)
    return ClosedLoop(
        network=network,
        runtime=CimRuntime(network, chip, State(), generator),
        factors=Factors({**surrogates, first: half}),
        buffer=SampleBuffer(),
        clock=lambda: 0.0,
        generator=generator,
    )


def test_it_counts_what_a_plain_loop_counts() -> None:
    graph = classifier()
    loop = loop_on(packed(graph), 40)
    x = samples_for(graph, BATCH_SAMPLES + 7, seed=5)
    y = np.random.default_rng(3).integers(0, 5, len(x))
    steps: list[tuple[int, int]] = []
    found = evaluate(loop, Data(x, y), graph, lambda done, of: steps.append((done, of)))
    logits = decision_graph(graph)
    float_classes = run(logits, x)[logits.output].argmax(axis=1)
    corrected = loop.runtime.run(x, loop.factors, {}).answers.argmax(axis=1)
    assert found.float_accuracy == np.mean(float_classes == y)
    assert found.corrected == np.mean(corrected == y)
    assert found.agreement == np.mean(corrected == float_classes)
    assert found.output_sqnr_db is None
    assert steps == [(BATCH_SAMPLES, len(x)), (len(x), len(x))]


def test_without_classes_there_is_a_ratio_in_decibels() -> None:
    graph = signal_network()
    loop = loop_on(packed(graph), 5)
    x = samples_for(graph, 11, seed=5)
    found = evaluate(loop, Data(x, None), graph)
    clean = run(graph, x)[graph.output]
    error = loop.runtime.run(x, loop.factors, {}).answers - clean
    sqnr = 10 * np.log10((clean**2).sum(axis=1) / (error**2).sum(axis=1))
    assert found.output_sqnr_db == pytest.approx(float(sqnr.mean()), rel=1e-4)
    assert (found.float_accuracy, found.corrected, found.agreement) == (None, None, None)


def test_without_a_float_network_there_is_nothing_to_agree_with() -> None:
    graph = classifier()
    x = samples_for(graph, 9, seed=5)
    found = evaluate(loop_on(packed(graph), 5), Data(x, np.zeros(9, np.int64)), None)
    assert (found.float_accuracy, found.agreement) == (None, None)
    assert found.corrected is not None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (signal_network(), "takes samples of shape"),
        (classifier(classes=4), "answers with shape"),
    ],
)
def test_another_float_model_is_refused(other: Graph, said: str) -> None:
    graph = classifier()
    with pytest.raises(InputError, match=said):
        evaluate(loop_on(packed(graph), 5), Data(samples_for(graph, 9), None), other)


def test_labels_that_are_no_classes_of_the_network_are_refused() -> None:
    graph = chain(2, width=4)
    x = samples_for(graph, 4)
    with pytest.raises(SampleError, match="out of range"):
        evaluate(loop_on(packed(graph), 5), Data(x, np.arange(4) + 1), None)

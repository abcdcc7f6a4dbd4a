"""Blocks of samples abreast: the same as one after another, and a layer sees all at once."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runtimes import cim
from agent.runtimes.cim import CimRuntime
from calib.errors import SampleError
from calib.graph.executor import run, run_abreast
from calib.graph.linear import LinearLayer
from calib.graph.model import Graph
from device_models.array import Chip, State
from device_models.presets import preset
from tests.small_networks import chain, classifier, packed, samples_for, signal_network
from tests.test_cim_runtime import some_factors

Array = np.ndarray[Any, Any]
GRAPHS = {"classifier": classifier(), "signal": signal_network(), "chain": chain(3, relu=True)}
EVERY_GRAPH = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


@EVERY_GRAPH
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_blocks_abreast_give_what_each_gives_alone(graph: Graph, sizes: list[int]) -> None:
    blocks = [samples_for(graph, size, seed) for seed, size in enumerate(sizes)]
    for block, found in zip(blocks, run_abreast(graph, blocks, {}), strict=True):
        np.testing.assert_array_equal(found, run(graph, block)[graph.output])


def test_what_replaces_a_node_gets_all_blocks_and_each_is_forgotten_behind_it() -> None:
    graph = chain(2, relu=True)
    blocks = [samples_for(graph, 2, seed) for seed in range(3)]
    alive: list[int] = []

    def doubled(inputs: Iterator[Array]) -> list[Array]:
        made, seen = [], []
        for x in inputs:
            seen.append(weakref.ref(x))
            made.append(2 * x)
            alive.append(sum(one() is not None for one in seen))
        return made

    found = run_abreast(graph, blocks, {"layer1": doubled})
    wanted = [run(graph, x, keep=["r0"])["r0"] for x in blocks]
    for one, clean in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, 2 * clean)
    assert alive == [1, 1, 1]


def test_each_block_is_checked_before_any_is_run() -> None:
    graph = classifier()
    blocks = [samples_for(graph, 2), samples_for(chain(1), 2)]
    with pytest.raises(SampleError, match="takes samples of shape"):
        run_abreast(graph, blocks, {})


@EVERY_GRAPH
@pytest.mark.parametrize("count", [1, cim.ABREAST_SAMPLES, 2 * cim.ABREAST_SAMPLES + 3])
def test_a_chip_adjusts_all_samples_together_and_passes_on_what_it_adjusted(
    graph: Graph, count: int
) -> None:
    network, x = packed(graph), samples_for(graph, count)
    chip = Chip(preset("mismatch-10"), 3)
    runtime = CimRuntime(network, chip, State(), np.random.default_rng(0))
    factors = some_factors(network)
    expected = dict(factors.surrogates)
    for layer in network.layers:
        scale = np.linspace(0.5, 1.5, layer.outputs, dtype=np.float32)
        expected[layer.name] = expected[layer.name].then_scaled(scale, scale - 1)
    positions = {la.name: np.tile(np.arange(la.positions), (count, 1)) for la in network.layers}
    wanted = runtime.run(x, type(factors)(expected), positions)

    def adjust(layer: LinearLayer, outputs: Array) -> tuple[Array, Array]:
        scale = np.linspace(0.5, 1.5, layer.outputs, dtype=np.float32)
        seen = wanted.layers[layer.name].outputs
        np.testing.assert_allclose(outputs * scale + (scale - 1), seen, rtol=1e-3, atol=1e-4)
        return scale, scale - 1

    runtime.run_adjusting(x, factors, adjust)

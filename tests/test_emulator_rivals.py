"""Rivals of the benchmarks compute the same network as ours, where they are installed."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agent.runtimes.cim import CimRuntime
from calib.factors import no_factors
from device_models.array import Chip, State
from device_models.memories.product import Ideal
from tests.small_networks import classifier, samples_for

pytest.importorskip("torch", reason="pip install npp-agent[bench], or torch 2.10 with aihwkit")

from emulator.torch_network import TorchNetwork, torch_network

from calib.graph.model import Graph
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare

GRAPH = classifier(groups=1)


def samples(graph: Graph, count: int, seed: int) -> np.ndarray:
    """Never negative, as images are, and as CrossSim's unsigned converters need them."""
    return np.abs(samples_for(graph, count, seed))


@pytest.fixture(scope="module")
def network() -> PackedNetwork:
    options = PackOptions(scheme="int8", held_back=16, references=48)
    with np.errstate(under="ignore"):
        return prepare(GRAPH, samples(GRAPH, 64, 1), np.zeros(64, np.intp), options)


def check(rival: TorchNetwork, network: PackedNetwork, tolerance: float) -> None:
    """Logits of 40 samples, relative to their spread."""
    x = samples(network.graph, 40, 9)
    runtime = CimRuntime(network, Chip(Ideal()), State(), np.random.default_rng(0))
    ours = runtime.run(x, no_factors(network.layers), {}).answers
    with np.errstate(all="ignore"):
        theirs = rival.logits(x)
    assert theirs.shape == ours.shape
    assert np.abs(theirs - ours).max() < tolerance * ours.std()


@pytest.mark.parametrize("by_output", [False, True])
def test_plain_modules(network: PackedNetwork, by_output: bool) -> None:  # noqa: FBT001  # a case
    check(torch_network(network, lambda module: module, by_output=by_output), network, 0.02)


@pytest.mark.parametrize("by_column", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # theirs
def test_tiles_of_aihwkit(network: PackedNetwork, by_column: bool) -> None:  # noqa: FBT001  # a case
    pytest.importorskip("aihwkit", reason="pip install aihwkit==1.1.0 with torch 2.10")
    tiles = importlib.import_module("emulator.aihwkit_network")
    exact = tiles.Tiles("perfect", by_column=by_column)
    check(tiles.analog_network(network, exact), network, 0.02)


@pytest.fixture
def crosssim() -> Iterator[None]:
    named = os.environ.get("NPP_CROSSSIM")
    if not named:
        pytest.skip("NPP_CROSSSIM is not set: it names a checkout of CrossSim to compare with")
    sys.path.insert(0, str(Path(named)))
    yield
    sys.path.remove(str(Path(named)))


@pytest.mark.usefixtures("crosssim")
@pytest.mark.parametrize(("slices", "bit_serial"), [(8, True), (1, False)])
def test_cores_of_crosssim(
    network: PackedNetwork,
    slices: int,
    bit_serial: bool,  # noqa: FBT001  # a case
) -> None:
    """Binary cells and a code for every count lose nothing; so does no converter."""
    cores = importlib.import_module("emulator.crosssim_network")
    with np.errstate(all="ignore"):
        found = cores.core_network(
            network, cores.Cores(slices, bit_serial, adc_bits=8 if bit_serial else 0)
        )
    check(found, network, 0.05)

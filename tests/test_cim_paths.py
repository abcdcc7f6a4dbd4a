"""One layer's main path: an array does one thing at a time, whoever asks."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from agent.runtimes.cim_paths import MainPath, MixedPath, Place, UniformPath, main_path
from calib.typical_codes import TypicalCodes
from device_models.array import Array, Chip, State
from device_models.presets import preset
from tests.small_networks import classifier, packed

THREADS, CALLS = 4, 5


@dataclass
class Crowd:
    """How many are in arrays of one chip, and how many were, at most."""

    inside: int = 0
    most: int = 0
    seen: int = 0
    counting: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class SlowArray:
    """An array that takes its time, and counts who is there meanwhile."""

    array: Array
    crowd: Crowd

    def multiply(self, codes: Any, zero_point: int, generator: np.random.Generator) -> Any:
        with self.crowd.counting:
            self.crowd.inside += 1
            self.crowd.seen += 1
            self.crowd.most = max(self.crowd.most, self.crowd.inside)
        time.sleep(0.002)
        product = self.array.multiply(codes, zero_point, generator)
        with self.crowd.counting:
            self.crowd.inside -= 1
        return product


def slowed(path: MainPath, crowd: Crowd) -> MainPath:
    if isinstance(path, MixedPath):
        slow = [replace(part, array=SlowArray(part.array, crowd)) for part in path.levels]
        return replace(path, levels=tuple(slow))
    assert isinstance(path, UniformPath)
    return replace(path, array=SlowArray(path.array, crowd))


@pytest.mark.parametrize("scheme", ["int8", "channelwise"])
def test_arrays_of_one_chip_are_never_driven_at_once(scheme: str) -> None:
    network, crowd = packed(classifier(), scheme=scheme), Crowd()
    place = Place(Chip(preset("rram-wan"), 3), State(), np.random.default_rng(0))
    typical = TypicalCodes(network)
    paths = [slowed(main_path(network, la, typical, place), crowd) for la in network.layers]

    def ask(client: int) -> None:
        at = client % len(paths)
        layer = network.layers[at]
        for _ in range(CALLS):
            paths[at].of_rows(np.ones((3, layer.groups, layer.inputs), np.float32))
            outputs = np.empty((1, layer.positions, layer.outputs), np.float32)
            paths[at].of_tensor(np.ones((1, *layer.input_shape), np.float32), outputs)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(ask, range(THREADS)))
    assert crowd.seen >= 2 * THREADS * CALLS
    assert crowd.most == 1

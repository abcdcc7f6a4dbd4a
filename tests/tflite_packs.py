"""Small and real TFLite models packed for the runtime tflite, and what an interpreter answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from agent.data_file import Data
from agent.runtimes.tflite_plan import FILE_NAME, MODEL_NAME, TAPS_NAME, TflitePlan, decode_plan
from agent.workstation.target import Target
from agent.workstation.tflite.making import made_for_tflite
from calib.importers.load import load_source
from calib.packed import PackedNetwork
from calib.prepare import PackOptions

FEW = PackOptions(references=18, held_back=6)
SAMPLES = 24


@dataclass(frozen=True)
class Packed:
    """What `pack` made of a model."""

    network: PackedNetwork
    files: Mapping[str, bytes]

    @property
    def model(self) -> bytes:
        """The graph in use."""
        return self.files[MODEL_NAME]

    @property
    def taps(self) -> bytes:
        """The graph with taps."""
        return self.files[TAPS_NAME]

    @property
    def plan(self) -> TflitePlan:
        """Where its numbers stand."""
        return decode_plan(self.files[FILE_NAME], self.network.layers)


def packed_for_tflite(
    path: Path,
    x: np.ndarray[Any, Any],
    *,
    surrogates_at: str = "pre-activation",
    branches: str = "all",
    options: PackOptions = FEW,
) -> Packed:
    """A model packed with samples [n, ...] in its own layout."""
    target = Target("tflite", surrogates_at, branches)
    source = load_source(path, fold=False)
    data = Data(x.astype(np.float32), None)
    with np.errstate(all="ignore"):  # as outside the tests
        network, files = made_for_tflite(source, data, options, target, lambda _: None)
    return Packed(network, files)


def outputs(content: bytes, x: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """All outputs by name for samples [n, ...] of float32, one after the other."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    found: dict[str, list[np.ndarray[Any, Any]]] = {}
    for sample in x:
        interpreter.set_tensor(entry["index"], sample.astype(entry["dtype"])[None])
        interpreter.invoke()
        for one in interpreter.get_output_details():
            found.setdefault(one["name"], []).append(interpreter.get_tensor(one["index"]))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def answers(content: bytes, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The first output."""
    return next(iter(outputs(content, x).values()))


def samples_of(path: Path, count: int = SAMPLES, seed: int = 0) -> np.ndarray[Any, Any]:
    """Normal samples of the shape that a model takes."""
    shape = load_source(path).graph.input.shape[1:]
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)

"""The networks of `bench_architectures`: models, samples to pack with, samples to test on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from synthetic import images, machine_sounds
from train_keyword_transformer import LEARNT, Lesson, make

from calib.decision import decision_graph
from calib.graph.executor import run
from calib.graph.model import Graph
from calib.importers import load_model

Float32 = NDArray[np.float32]
PACKED = 128
"""Samples: 96 references and 32 that judge."""

BATCH_SAMPLES = 50
INPUT_SEED = 0


@dataclass(frozen=True)
class Subject:
    """A float network, samples that took no part in its packing, and its answers to them."""

    graph: Graph
    pack_x: Float32
    pack_y: NDArray[np.int64] | None
    test_x: Float32
    test_y: NDArray[np.int64] | None
    clean: Float32
    """[n, outputs]: logits, where there are classes."""


def answers(graph: Graph, x: Float32) -> Float32:
    """What the float network answers, a batch at a time."""
    logits = decision_graph(graph)
    parts = [run(logits, x[i : i + BATCH_SAMPLES]) for i in range(0, len(x), BATCH_SAMPLES)]
    return np.concatenate([part[logits.output] for part in parts])


def _keywords(graph: Graph, directory: Path, tests: int) -> Subject:
    """Real keywords: the first 128 pack, those that no network was trained on here are tested."""
    with np.load(directory / "kws.npz") as file:
        x, y = file["x"].astype(np.float32), file["y"].astype(np.int64)
    tested = slice(LEARNT, LEARNT + tests)
    return Subject(graph, x[:PACKED], y[:PACKED], x[tested], y[tested], answers(graph, x[tested]))


def _synthetic(graph: Graph, x: Float32) -> Subject:
    test_x = x[PACKED:]
    return Subject(graph, x[:PACKED], None, test_x, None, answers(graph, test_x))


def _trained(which: str) -> Callable[[Path, Path, int], Subject]:
    def build(directory: Path, networks: Path, tests: int) -> Subject:
        path = networks / f"{which}.onnx"
        if not path.exists():
            networks.mkdir(parents=True, exist_ok=True)
            make(path, directory, Lesson(which))
        return _keywords(load_model(path), directory, tests)

    return build


def _ds_cnn(directory: Path, _networks: Path, tests: int) -> Subject:
    graph = load_model(directory / "mlperf-tiny" / "kws_float.tflite")
    return _keywords(graph, directory, tests)


def _person(directory: Path, _networks: Path, tests: int) -> Subject:
    graph = load_model(directory / "mlperf-tiny" / "vww_float.tflite")
    return _synthetic(graph, images(PACKED + tests, np.random.default_rng(INPUT_SEED)))


def _anomaly(directory: Path, _networks: Path, tests: int) -> Subject:
    graph = load_model(directory / "mlperf-tiny" / "ad_float.tflite")
    generator = np.random.default_rng(INPUT_SEED)
    return _synthetic(graph, machine_sounds(graph, PACKED + tests, generator))


SUBJECTS: Mapping[str, Callable[[Path, Path, int], Subject]] = {
    "transformer": _trained("transformer"),
    "1-D convolutions": _trained("convolutional"),
    "1-D, 4 groups": _trained("grouped"),
    "keywords, DS-CNN": _ds_cnn,
    "person, MobileNet": _person,
    "anomaly, autoencoder": _anomaly,
}
"""From the folder of data, that of trained networks, and how many samples are tested."""

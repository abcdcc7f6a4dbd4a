"""Networks, their samples, and the precisions that they are packed with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from calib.graph.model import Graph
from calib.importers import load_model

PACK_SAMPLES = 128


@dataclass(frozen=True)
class Subject:
    """A float network, and the samples that pack, train and test it."""

    graph: Graph
    pack_x: np.ndarray
    pack_y: np.ndarray
    train_x: np.ndarray
    """All that may train; the samples that pack are among them."""

    test_x: np.ndarray
    test_y: np.ndarray


@dataclass(frozen=True)
class Precision:
    """A scheme with its options."""

    name: str
    scheme: str
    options: dict[str, Any] = field(default_factory=dict)
    trained: bool = False


PRECISIONS = (
    Precision("int8", "int8"),
    Precision("nf4", "nf4"),
    Precision("int4", "int4"),
    Precision("int4, activations of 4 bits", "int4", {"activation_bits": 4}),
    Precision("channelwise 4 (2,4,8)", "channelwise", {"levels": (2, 4, 8), "bits_mean": 4.0}),
    Precision("channelwise 3 (2,4,8)", "channelwise", {"levels": (2, 4, 8), "bits_mean": 3.0}),
    Precision("channelwise 2.5 (1,2,4)", "channelwise", {"levels": (1, 2, 4), "bits_mean": 2.5}),
    Precision("channelwise 2 (1,2,4)", "channelwise", {"levels": (1, 2, 4), "bits_mean": 2.0}),
    *(
        Precision(
            f"{name}, trained", "channelwise", {"levels": levels, "bits_mean": bits}, trained=True
        )
        for name, levels, bits in (
            ("channelwise 3 (2,4,8)", (2, 4, 8), 3.0),
            ("channelwise 2.5 (1,2,4)", (1, 2, 4), 2.5),
            ("channelwise 2 (1,2,4)", (1, 2, 4), 2.0),
        )
    ),
)


def resnet8(data: Path, tests: int) -> Subject:
    """ResNet-8 of MLPerf Tiny on CIFAR-10."""
    file = np.load(data / "cifar10.npz")
    x, y = file["train_x"].astype(np.float32), file["train_y"]
    last = slice(len(file["test_y"]) - tests, None)
    graph = load_model(data / "mlperf-tiny" / "resnet8_float.tflite")
    test_x = file["test_x"][last].astype(np.float32)
    return Subject(graph, x[:PACK_SAMPLES], y[:PACK_SAMPLES], x, test_x, file["test_y"][last])


def keywords(data: Path, tests: int) -> Subject:
    """The keyword network of MLPerf Tiny; 300 inputs train, 300 test."""
    file = np.load(data / "kws.npz")
    x, y = file["x"].astype(np.float32), file["y"]
    graph = load_model(data / "mlperf-tiny" / "kws_float.tflite")
    last = slice(max(300, len(x) - tests), None)
    return Subject(graph, x[:PACK_SAMPLES], y[:PACK_SAMPLES], x[:300], x[last], y[last])


def digits(data: Path, tests: int) -> Subject:  # noqa: ARG001  # as the others are called
    """The demo's network, trained anew with seed 0 as `tools/train_digits.py` does."""
    from train_digits import EPOCHS, split, trained  # noqa: PLC0415  # needs scikit-learn

    generator = np.random.default_rng(0)
    learnt, held_out = split(generator)
    graph = trained(learnt, EPOCHS, generator)
    x, y = learnt.images, learnt.labels
    test_x, test_y = held_out.images[:tests], held_out.labels[:tests]
    return Subject(graph, x[:PACK_SAMPLES], y[:PACK_SAMPLES], x, test_x, test_y)


SUBJECTS: dict[str, Callable[[Path, int], Subject]] = {
    "digits": digits,
    "keywords": keywords,
    "resnet8": resnet8,
}

"""Trains small keyword networks in NumPy: a transformer, and two with convolutions over time.

    NPP_DATA=DIR python tools/train_keyword_transformer.py --out keywords.onnx
        [--network transformer] [--variants 20000] [--epochs 15] [--seed 0]

The first 300 of the 600 spoken words in NPP_DATA train, the others only judge. Three hundred words
are few, so MLPerf Tiny's own keyword network is the teacher: it answers for thousands of variants
of them (moved in time, louder, disturbed, hidden in part, mixed), and these answers are learnt.
Labels are only used to print accuracies. Needs onnx and onnxruntime, and, for the transformer, some
five minutes of one core. The same seed on the same machine gives the same network.
"""

# ruff: noqa: E402 -- threads and the search path are set before anything of ours is imported

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Before NumPy: sums come out the same whatever the number of cores.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from calib.adam import AdamOptions
from calib.decision import decision_graph
from calib.graph.executor import run
from calib.graph.model import Graph
from calib.importers import load_model
from calib.importers.onnx_export import write_onnx
from calib.loss_gradient import with_constants
from calib.losses import distillation
from calib.train.descent import TrainingOptions, train
from calib.train.frames import Frames, TimeConvolution, learning_constants, time_network
from calib.train.transformer import TransformerShape, transformer_network
from calib.train.variations import Variation, varied

Float32 = NDArray[np.float32]
LEARNT = 300
"""Words that train; the others only judge."""

CLASSES = 12
BATCH_SAMPLES = 100
LARGEST_DIFFERENCE = 1e-4
"""Between the probabilities of onnxruntime and ours."""

EPOCHS, VARIANTS = 15, 20_000
ADAM = AdamOptions(learning_rate=2e-3, weight_decay=1e-2)


@dataclass(frozen=True)
class Words:
    """Features [n, frames, coefficients, 1] of spoken words, and labels [n]."""

    features: Float32
    labels: NDArray[np.int64]


def split(directory: Path) -> tuple[Words, Words]:
    """The words to learn from, and those that only judge."""
    with np.load(directory / "kws.npz") as file:
        features, labels = file["x"].astype(np.float32), file["y"].astype(np.int64)
    return Words(features[:LEARNT], labels[:LEARNT]), Words(features[LEARNT:], labels[LEARNT:])


def _transformer(frames: Frames, generator: np.random.Generator) -> Graph:
    shape = TransformerShape()
    return transformer_network("keyword_transformer", frames, shape, CLASSES, generator)


def _convolutions(groups: int) -> Callable[[Frames, np.random.Generator], Graph]:
    layers = (
        TimeConvolution(40, stride=2),
        TimeConvolution(48, stride=2, groups=groups),
        TimeConvolution(64, groups=groups),
    )

    def network(frames: Frames, generator: np.random.Generator) -> Graph:
        return time_network(f"keywords_{groups}_groups", frames, layers, CLASSES, generator)

    return network


NETWORKS: dict[str, Callable[[Frames, np.random.Generator], Graph]] = {
    "transformer": _transformer,
    "convolutional": _convolutions(1),
    "grouped": _convolutions(4),
}


@dataclass(frozen=True)
class Lesson:
    """What is trained, and for how long."""

    network: str = "transformer"
    variants: int = VARIANTS
    epochs: int = EPOCHS
    seed: int = 0
    """Of weights, variants and batches."""


def answers(graph: Graph, features: Float32) -> Float32:
    """The graph's answers, a batch at a time."""
    starts = range(0, len(features), BATCH_SAMPLES)
    return np.concatenate(
        [run(graph, features[i : i + BATCH_SAMPLES])[graph.output] for i in starts]
    )


def trained(lesson: Lesson, teacher: Graph, learnt: Words) -> Graph:
    """The network, taught by the teacher's answers to variants; tells stderr how it goes."""
    generator, epochs = np.random.default_rng(lesson.seed), lesson.epochs
    network = NETWORKS[lesson.network](Frames.of(learnt.features), generator)
    features = varied(learnt.features, lesson.variants, Variation(), generator)

    def tell(epoch: int, loss: float) -> None:
        print(f"epoch {epoch} of {epochs}: loss {loss:.4f}", file=sys.stderr, flush=True)

    done = train(
        decision_graph(network),
        features,
        distillation(answers(decision_graph(teacher), features), classes=True),
        TrainingOptions(epochs=epochs, adam=ADAM),
        generator,
        names=learning_constants(network),
        tell=tell,
    )
    return with_constants(network, done.graph.constants)


def accuracy(graph: Graph, words: Words) -> float:
    """The share of words that the network names rightly."""
    return float((answers(graph, words.features).argmax(axis=1) == words.labels).mean())


def check_export(path: Path, network: Graph, features: Float32) -> float:
    """The largest difference of onnxruntime's answers from the network's; stops if it is large."""
    session = onnxruntime.InferenceSession(path.read_bytes())
    found = session.run(None, {network.input.name: features})[0]
    difference = float(np.abs(found - answers(network, features)).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise SystemExit(
            f"{path}: onnxruntime's probabilities differ by {difference:.3g} from the trained "
            f"network's, more than {LARGEST_DIFFERENCE}: the export is wrong"
        )
    return difference


def make(path: Path, directory: Path, lesson: Lesson) -> None:
    """Train one network, write it, check the file, report."""
    learnt, judged = split(directory)
    teacher = load_model(directory / "mlperf-tiny" / "kws_float.tflite")
    network = trained(lesson, teacher, learnt)
    write_onnx(network, path)
    difference = check_export(path, network, judged.features)
    numbers = sum(network.constants[name].size for name in learning_constants(network))
    print(f"{path}: {numbers} numbers; onnxruntime differs by at most {difference:.1g}")
    for name, graph in ((lesson.network, network), ("teacher", teacher)):
        right = [f"{accuracy(graph, words):.1%}" for words in (learnt, judged)]
        print(f"{name}: accuracy {right[0]} on the words learnt from, {right[1]} on the others")


def main() -> None:
    """Train, write, report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--network", choices=sorted(NETWORKS), default="transformer")
    parser.add_argument("--variants", type=int, default=VARIANTS, help=f"default {VARIANTS}")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"default {EPOCHS}")
    parser.add_argument("--seed", type=int, default=0, help="of weights, variants and batches")
    options = parser.parse_args()
    if "NPP_DATA" not in os.environ:
        sys.exit("set NPP_DATA to the folder of the MLPerf Tiny models and the keyword data")
    lesson = Lesson(options.network, options.variants, options.epochs, options.seed)
    make(options.out, Path(os.environ["NPP_DATA"]), lesson)


if __name__ == "__main__":
    main()

"""Trains the demo's network on handwritten digits and packs the bundle that the demo shows.

    tools/train_digits.py [--out agent/demo/digits.npp] [--onnx OUT.onnx] [--samples OUT.npz]
                          [--seed 0] [--epochs 60]

Needs scikit-learn, which brings the images, and a minute of one core. The same seed on the same
machine gives the same bytes.
"""

# ruff: noqa: E402 -- threads and the search path are set before anything of ours is imported

from __future__ import annotations

import argparse
import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path

# Before NumPy: sums come out the same whatever the number of cores.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from agent.store.durable import replace_file
from agent.store.package import Package
from agent.workstation.demo_bundle import DEMO_BUNDLE, HeldOut, demo_bundle_bytes
from calib.adam import AdamOptions
from calib.decision import decision_graph
from calib.graph.executor import run
from calib.graph.model import Graph
from calib.loss_gradient import with_constants
from calib.losses import cross_entropy, one_hot
from calib.prepare import PackOptions, prepare
from calib.references import encode_samples
from calib.train.descent import TrainingOptions, train
from calib.train.networks import Convolution, convolutional_network
from calib.train.shifts import shifted

HELD_OUT = 400
"""Images that only ever judge; the other 1,397 train, and 128 of those become references."""

CLASSES = 10
CONVOLUTIONS = (Convolution(24), Convolution(32), Convolution(48, stride=2), Convolution(48))
EPOCHS = 60
ADAM = AdamOptions(learning_rate=3e-3, weight_decay=1e-2)
PACKING = PackOptions(scheme="int4-tensor", rank=4)
LARGEST_BYTES = 2**20


@dataclass(frozen=True)
class Digits:
    """Images [n, 1, 8, 8] from 0 to 1, and labels [n]."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]


def split(generator: np.random.Generator) -> tuple[Digits, Digits]:
    """Digits to train with, and digits held out, drawn at random."""
    digits = load_digits()
    order = generator.permutation(len(digits.target))
    images = (digits.images[order, None] / 16).astype(np.float32)
    labels = digits.target[order].astype(np.int64)
    return Digits(images[HELD_OUT:], labels[HELD_OUT:]), Digits(
        images[:HELD_OUT], labels[:HELD_OUT]
    )


def trained(digits: Digits, epochs: int, generator: np.random.Generator) -> Graph:
    """The network, trained; tells stderr how it goes."""
    shape = (1, *digits.images.shape[2:])
    network = convolutional_network("digits", shape, CONVOLUTIONS, CLASSES, generator)

    def tell(epoch: int, loss: float) -> None:
        if epoch % 10 == 0:
            print(f"epoch {epoch} of {epochs}: loss {loss:.4f}", file=sys.stderr)

    options = TrainingOptions(epochs=epochs, adam=ADAM)
    loss = cross_entropy(one_hot(digits.labels, CLASSES))
    done = train(
        decision_graph(network),
        digits.images,
        loss,
        options,
        generator,
        augment=shifted,
        tell=tell,
    )
    return with_constants(network, done.graph.constants)


def accuracy(graph: Graph, digits: Digits) -> float:
    """The share of digits that the network names rightly."""
    answers = run(graph, digits.images)[graph.output]
    return float((answers.argmax(axis=1) == digits.labels).mean())


def write_samples(path: Path, learnt: Digits, held_out: Digits) -> None:
    """Write the digits as a data file with the keys `train` and `test`."""
    content = io.BytesIO()
    np.savez(
        content,
        train_x=learnt.images,
        train_y=learnt.labels,
        test_x=held_out.images,
        test_y=held_out.labels,
    )
    replace_file(path, content.getvalue())
    print(f"{path}: {len(learnt.labels)} training and {len(held_out.labels)} held-out digits")


def main() -> None:
    """Split, train, report, pack, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, default=DEMO_BUNDLE)
    parser.add_argument("--onnx", type=Path, help="write the float network here, too")
    parser.add_argument("--samples", type=Path, help="write the digits here, too: train and test")
    parser.add_argument("--seed", type=int, default=0, help="of split, first weights and batches")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"default {EPOCHS}")
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    learnt, held_out = split(generator)
    network = trained(learnt, options.epochs, generator)
    print(f"accuracy on the {len(learnt.labels)} training digits {accuracy(network, learnt):.2%}")
    print(f"accuracy on the {HELD_OUT} held-out digits {accuracy(network, held_out):.2%}")
    packed = prepare(network, learnt.images, learnt.labels, PACKING)
    judges = HeldOut(encode_samples(held_out.images), held_out.labels.astype(np.uint8))
    content = demo_bundle_bytes(Package(packed, "digits", "cim"), judges)
    if len(content) > LARGEST_BYTES:
        raise SystemExit(f"the bundle has {len(content)} bytes, at most {LARGEST_BYTES} may be")
    replace_file(options.out, content)
    print(f"{options.out}: {len(content)} bytes, {packed.references_as} references")
    if options.samples is not None:
        write_samples(options.samples, learnt, held_out)
    if options.onnx is not None:
        from calib.importers.onnx_export import write_onnx  # noqa: PLC0415  # only where asked for

        write_onnx(network, options.onnx)
        print(f"{options.onnx}: the float network")


if __name__ == "__main__":
    main()

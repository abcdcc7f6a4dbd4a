"""What a worker is given once: the bundle, the samples and what the float network says of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.data_file import Data
from agent.errors import InputError
from agent.evaluation import Batch, answers_of, has_classes, reference_graph, slices
from agent.simulation.plan import Plan
from calib.graph.model import Graph
from calib.packed import PackedNetwork

_NARROW = (np.uint8, np.int8, np.float16)


@dataclass(frozen=True)
class Comparison:
    """Samples, and what chips' answers to them are compared with."""

    x: NDArray[Any]
    """[n, ...]: float32 values in the narrowest type that holds them exactly."""

    labels: NDArray[np.int64] | None
    """[n]"""

    reference: NDArray[np.float32]
    """[n, outputs]: the float network's answers, up to the logits."""

    classes: bool
    """Whether answers name classes."""

    def batches(self) -> Iterator[Batch]:
        """All samples, a few at a time."""
        for some in slices(len(self.x)):
            labels = None if self.labels is None else self.labels[some]
            yield Batch(self.x[some].astype(np.float32), labels, self.reference[some])

    @property
    def float_accuracy(self) -> float | None:
        """Of the float network; None without labels."""
        if self.labels is None:
            return None
        return float((self.reference.argmax(axis=1) == self.labels).mean())

    def sha256(self) -> str:
        """Of all of it, in hexadecimal digits."""
        digest = hashlib.sha256()
        for array in (self.x, self.labels, self.reference):
            if array is not None:
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Workload:
    """All that chips have in common."""

    plan: Plan
    bundle: bytes
    comparison: Comparison


def comparison_of(
    network: PackedNetwork,
    data: Data,
    float_graph: Graph | None,
    report: Callable[[int, int], None] = lambda _done, _of: None,
) -> Comparison:
    """Run the float network over the samples, once for all chips.

    Args:
        network: what the chips run.
        data: samples, and labels where there are any.
        float_graph: the float network.
        report: is told how many samples are done, and of how many.

    Raises:
        SampleError: samples or labels that do not fit the network.
        InputError: there is no float network, it is another one, or it names no class right.
    """
    reference = reference_graph(network, data, float_graph)
    if reference is None:
        raise InputError(
            "the bundle keeps no float network, and without one nobody knows what a good chip "
            "would answer; give the model that was packed with --float MODEL"
        )
    count = len(data.x)
    parts = []
    for some in slices(count):
        parts.append(answers_of(reference, data.x[some]))
        report(min(some.stop, count), count)
    answers = np.concatenate(parts).astype(np.float32)
    found = Comparison(narrowed(data.x), data.y, answers, has_classes(network, data))
    if found.float_accuracy == 0:
        raise InputError(
            f"the float network names none of the {count} labels right, so no chip can keep a "
            "share of its accuracy; check the data file's labels and value range"
        )
    return found


def narrowed(x: NDArray[np.float32]) -> NDArray[Any]:
    """The same values in the narrowest type that holds all of them exactly."""
    with np.errstate(all="ignore"):  # what does not survive is seen in the comparison
        for dtype in _NARROW:
            narrow = x.astype(dtype)
            if np.array_equal(narrow.astype(np.float32), x):
                return narrow
    return x

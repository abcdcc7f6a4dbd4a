"""What the network decides with its output, and how much a change of the output costs.

For a classifier the decision is the class; the *margin* of a sample is the clean logit of its best
class less that of the second. What a change of the margin would cost is predicted by the logistic
loss; what an answer costs is measured by its distance from the clean one. Without classes a fixed
random projection of the output takes the margin's place, and squared change that of loss.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calib.errors import SampleError
from calib.graph.model import Graph

Float32 = NDArray[np.floating]
_LOGIT_ENDS = frozenset({"Softmax", "LogSoftmax"})


def decision_graph(graph: Graph) -> Graph:
    """The graph up to its logits: without a Softmax at the end."""
    last = graph.nodes[-1] if graph.nodes else None
    if last is None or last.op not in _LOGIT_ENDS or last.outputs[0] != graph.output:
        return graph
    return replace(graph, nodes=graph.nodes[:-1], output=last.inputs[0])


def ends_in_classes(graph: Graph) -> bool:
    """Whether the graph's last operation says that its outputs are classes."""
    return decision_graph(graph) is not graph


@dataclass(frozen=True)
class Decision:
    """How answers [n, ...] of the network (logits, where there are classes) are judged."""

    classes: bool
    projection: Float32 | None = None
    """[outputs of a sample], where there are no classes."""

    def margins(self, answers: Float32) -> Float32:
        """The margin of each clean answer: [n]."""
        flat = answers.reshape(len(answers), -1)
        if self.projection is not None:
            return np.asarray(flat @ self.projection)
        best = np.sort(flat, axis=1)
        return np.asarray(best[:, -1] - best[:, -2])

    def seeds(self, answers: Float32) -> Float32:
        """The margin's gradient with respect to each clean answer, of the answers' shape."""
        flat = answers.reshape(len(answers), -1)
        seeds = np.zeros_like(flat)
        if self.projection is not None:
            seeds[:] = self.projection
        else:
            order = np.argsort(flat, axis=1)
            rows = np.arange(len(flat))
            seeds[rows, order[:, -1]] = 1.0
            seeds[rows, order[:, -2]] = -1.0
        return seeds.reshape(answers.shape)

    def predicted_rise(self, margins: Float32, changes: Float32) -> Float32:
        """The loss that changes of the margins would add: [n]."""
        before, change = margins.astype(np.float64), changes.astype(np.float64)
        if not self.classes:
            return np.asarray(change**2)
        return softplus(-(before + change)) - softplus(-before)

    def losses(self, clean: Float32, answers: Float32) -> Float32:
        """The loss of measured answers, judged by the clean ones: [n], 0 for equal answers.

        With classes, the Kullback-Leibler divergence of the class probabilities, in nats: an answer
        surer than the clean one is no better. Else the squared error over the mean power of the
        clean answers: relative to its own power, one answer near zero would outweigh all others.
        """
        flat, given = (x.astype(np.float64).reshape(len(clean), -1) for x in (clean, answers))
        if not self.classes:
            power = float((flat**2).sum(axis=1).mean()) or 1.0
            return np.asarray(((given - flat) ** 2).sum(axis=1) / power)
        wanted, found = log_softmax(flat), log_softmax(given)
        with np.errstate(under="ignore", invalid="ignore"):
            divergence = (np.exp(wanted) * (wanted - found)).sum(axis=1)
        return np.asarray(np.maximum(divergence, 0))


def log_softmax(logits: Float32) -> Float32:
    """Logarithms of the class probabilities of logits [n, classes]; infinities give no number."""
    with np.errstate(under="ignore", invalid="ignore"):
        shifted = logits - logits.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def softplus(x: Float32) -> Float32:
    """ln(1 + eˣ) without overflow."""
    with np.errstate(under="ignore"):  # far from zero the second term is nothing
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def check_labels(labels: NDArray[np.integer], samples: int, outputs: int) -> None:
    """Check labels against the number of samples and of the network's outputs.

    Raises:
        SampleError: their number or range is wrong.
    """
    if labels.dtype.kind not in "iu":
        raise SampleError(f"labels are of type {labels.dtype}; give whole numbers, a class each")
    if labels.shape != (samples,):
        raise SampleError(
            f"there are {samples} samples, but labels of shape {list(labels.shape)}; give one each"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= outputs))
    if len(wrong):
        raise SampleError(
            f"label {labels[wrong[0]]} of sample {wrong[0]} is out of range: the network has "
            f"{outputs} outputs, so labels go from 0 to {outputs - 1}"
        )

"""What training makes small: a function of the answers that gives its value and its gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from calib.errors import SampleError
from calib.graph.model import Array

Loss = Callable[[Array, NDArray[np.integer]], tuple[float, Array]]
"""From answers [n, ...] and the numbers of their samples [n]: the mean loss over these samples, and
its gradient with respect to the answers."""


def cross_entropy(targets: Array) -> Loss:
    """The cross entropy of the softmax of logits, against probabilities for every sample.

    Labels become targets with `one_hot`; a teacher's probabilities serve as they are.

    Args:
        targets: [samples, classes], each row a distribution.
    """

    @np.errstate(under="ignore")  # an impossible class has the probability zero
    def loss(logits: Array, indices: NDArray[np.integer]) -> tuple[float, Array]:
        wanted = targets[indices].astype(logits.dtype, copy=False)
        logs = log_softmax(logits)
        value = -float((wanted * logs).sum()) / len(logits)
        return value, (np.exp(logs) - wanted) / len(logits)

    return loss


def squared_error(targets: Array) -> Loss:
    """The squared error of answers, over the mean power of all targets.

    Args:
        targets: [samples, ...].
    """
    power = float(np.square(targets, dtype=np.float64).sum()) / len(targets) or 1.0

    @np.errstate(under="ignore")  # the square of a small error is zero
    def loss(answers: Array, indices: NDArray[np.integer]) -> tuple[float, Array]:
        error = answers - targets[indices].astype(answers.dtype, copy=False)
        value = float(np.square(error, dtype=np.float64).sum()) / len(answers) / power
        return value, error * (2 / len(answers) / power)

    return loss


def distillation(answers: Array, *, classes: bool) -> Loss:
    """How far answers are from those of a teacher.

    Args:
        answers: the teacher's, [samples, ...]; logits, where there are classes.
        classes: the cross entropy against the softmax of the teacher's answers (G. Hinton et al.,
            Distilling the Knowledge in a Neural Network, arXiv 1503.02531, at temperature 1); else
            the squared error.
    """
    if not classes:
        return squared_error(answers)
    with np.errstate(under="ignore"):  # an impossible class has the probability zero
        return cross_entropy(np.exp(log_softmax(answers)))


@np.errstate(under="ignore")  # an impossible class has the probability zero
def log_softmax(logits: Array) -> Array:
    """The logarithm of the softmax over the last axis, without overflow."""
    shifted: Array = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def one_hot(labels: NDArray[np.integer], classes: int) -> NDArray[np.float32]:
    """Labels [n] as distributions [n, classes].

    Raises:
        SampleError: a label is none of the classes.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise SampleError(
            f"label {labels[wrong[0]]} of sample {wrong[0]} is out of range: with {classes} "
            f"classes, labels go from 0 to {classes - 1}"
        )
    targets = np.zeros((len(labels), classes), np.float32)
    targets[np.arange(len(labels)), labels] = 1
    return targets

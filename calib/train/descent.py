"""Training: epochs of small batches over a graph whose constants learn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from calib.adam import AdamOptions, Weights, adam_step, start
from calib.errors import SampleError, TrainingError
from calib.graph.executor import check_samples
from calib.graph.model import Array, Graph
from calib.loss_gradient import batches, loss_and_gradients, with_constants
from calib.losses import Loss

Augment = Callable[[Array, np.random.Generator], Array]
"""Changes a batch of samples in a way that keeps what they mean."""

_LEARNING = {"Conv": (1, 2), "Gemm": (1, 2), "MatMul": (0, 1)}
"""By operation, the inputs whose constants are weights."""


@dataclass(frozen=True)
class TrainingOptions:
    """How long and how fast."""

    epochs: int = 30
    batch: int = 32
    adam: AdamOptions = field(default_factory=AdamOptions)
    """The learning rate is the first one; it falls along half a cosine wave to zero."""


@dataclass(frozen=True)
class Training:
    """A trained network, and how it came about."""

    graph: Graph
    losses: tuple[float, ...]
    """Of each epoch, the mean over its batches."""


def trainable(graph: Graph) -> tuple[str, ...]:
    """The constants that learn: weights and offsets of the linear layers, in order."""
    names = (
        node.inputs[place]
        for node in graph.nodes
        for place in _LEARNING.get(node.op, ())
        if place < len(node.inputs)
    )
    return tuple(dict.fromkeys(name for name in names if name in graph.constants))


def train(  # noqa: PLR0913 -- the samples, the aim, the manner, and three things that may be left out
    graph: Graph,
    samples: Array,
    loss: Loss,
    options: TrainingOptions,
    generator: np.random.Generator,
    *,
    names: tuple[str, ...] | None = None,
    augment: Augment | None = None,
    tell: Callable[[int, float], None] = lambda _epoch, _loss: None,
) -> Training:
    """Train a network.

    Args:
        graph: the network; its constants are where training starts.
        samples: [n, ...] in the network's own layout.
        loss: of the graph's answers; a graph that ends in a softmax is best trained without it
            (`calib.decision.decision_graph`) on the cross entropy.
        options: how long and how fast.
        generator: draws the batches, and whatever `augment` needs.
        names: the constants that learn; all of `trainable` by default.
        augment: changes each batch before it is run.
        tell: is told of each epoch: how many are done, and its mean loss.

    Raises:
        SampleError: no samples, or of a wrong shape.
        TrainingError: loss or gradients are not finite any more.
    """
    check_samples(graph, samples)
    if not len(samples):
        raise SampleError("there are no samples to train with; give at least one")
    weights = {name: graph.constants[name] for name in names or trainable(graph)}
    state, losses = start(weights), []
    steps = options.epochs * math.ceil(len(samples) / options.batch)
    for epoch in range(options.epochs):
        found = []
        for indices in batches(len(samples), options.batch, generator):
            batch = samples[indices] if augment is None else augment(samples[indices], generator)
            adam = replace(options.adam, learning_rate=_learning_rate(options, state.step, steps))
            with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is looked at
                value, slopes = loss_and_gradients(graph, weights, batch, indices, loss)
                _check_finite(value, slopes, epoch, options)
                weights, state = adam_step(weights, slopes, state, adam)
            found.append(value)
        losses.append(float(np.mean(found)))
        tell(epoch + 1, losses[-1])
    return Training(with_constants(graph, weights), tuple(losses))


def _learning_rate(options: TrainingOptions, step: int, steps: int) -> float:
    return options.adam.learning_rate * (1 + math.cos(math.pi * step / steps)) / 2


def _check_finite(value: float, slopes: Weights, epoch: int, options: TrainingOptions) -> None:
    wrong = [name for name, slope in slopes.items() if not np.isfinite(slope).all()]
    if math.isfinite(value) and not wrong:
        return
    what = f"the gradient of {wrong[0]!r} is not finite" if wrong else f"the loss is {value}"
    raise TrainingError(
        f"training failed in epoch {epoch + 1} of {options.epochs}: {what}; lower the learning "
        f"rate, now {options.adam.learning_rate:g}, and look for samples that are not finite"
    )

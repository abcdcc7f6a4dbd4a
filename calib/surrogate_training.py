"""Training the surrogates through the network: the published way to fit them.

The answers are the chip's: each layer's main path runs on the chip, the surrogates beside it as
nodes of a graph (`calib.surrogate_graph`). On the way back each main path counts as the product
with its nominal weights. A forward pass sees the factors as storage would give them back, and what
the gradients move are the factors before that rounding, both with the same straight-through
gradient. Adam works in units in which one learning rate suits all layers (`calib.training_units`).
After each epoch the factors are judged, and the best that were seen, the start included,
are kept: what comes out is never worse than what went in, as far as the judge can tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calib.adam import AdamOptions, Weights, adam_step, start
from calib.factors import Factors, Surrogate
from calib.graph.executor import Replacement
from calib.graph.linear import LinearLayer
from calib.graph.model import Array, Graph
from calib.loss_gradient import batches, loss_and_gradients
from calib.losses import Loss
from calib.schemes.activations import ActivationCode
from calib.surrogate_graph import constants_of, factors_of, surrogate_graph
from calib.training_units import normalised, sizes_in, times, units_of

Judge = Callable[[Factors], float]
"""How bad factors are on samples that do not train."""


@dataclass(frozen=True)
class SurrogateTraining:
    """How long and how fast."""

    epochs: int
    batch: int
    patience: int
    """So many epochs without a better judgement end the training."""

    adam: AdamOptions
    """The learning rate is the first one; it falls along half a cosine wave to zero."""


@dataclass(frozen=True)
class School:
    """The chip and the network around it."""

    graph: Graph
    """The network up to its logits, with nominal weights."""

    layers: Sequence[LinearLayer]
    activations: Mapping[str, ActivationCode]
    """By layer: the codes of its main path's input."""

    chip: Mapping[str, Replacement]
    """By layer: its main path on the chip, without surrogate."""

    stored: Callable[[Factors], Factors]
    """Factors as they come back from storage."""


@dataclass(frozen=True)
class Lesson:
    """What is learned."""

    samples: Array
    """[n, ...] in the network's own layout."""

    loss: Loss
    """Of the answers, by the samples' numbers: distillation, or labels."""

    judge: Judge
    """Decides which factors are the best, and when to stop."""


@dataclass(frozen=True)
class Trained:
    """What training made, and how it went."""

    factors: Factors
    """The best judged ones, as storage gives them back."""

    losses: tuple[float, ...]
    """Of each epoch, the mean over its batches."""

    judgements: tuple[float, ...]
    """The start's, then those after each epoch."""


def zero_start(
    layers: Sequence[LinearLayer], bits: Mapping[str, Sequence[int]], generator: np.random.Generator
) -> Factors:
    """Factors that change nothing yet but can learn: A normal of variance 1/d, B zero.

    E. Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022 (arXiv 2106.09685),
    sec. 4.1.

    Args:
        layers: of the network.
        bits: by layer, of each component, as it will be stored.
        generator: draws A.
    """
    found = {}
    for layer in layers:
        rank = len(bits[layer.name])
        a = generator.standard_normal((layer.groups * rank, layer.inputs))
        found[layer.name] = Surrogate(
            gain=np.ones(layer.outputs, np.float32),
            offset=np.zeros(layer.outputs, np.float32),
            a=(a / math.sqrt(layer.inputs)).astype(np.float32),
            b=np.zeros((layer.outputs, rank), np.float32),
            bits=tuple(bits[layer.name]),
        )
    return Factors(found)


def train_surrogates(
    school: School,
    begin: Factors,
    lesson: Lesson,
    options: SurrogateTraining,
    generator: np.random.Generator,
) -> Trained:
    """Train gain, offset, A and B of every layer; ranks stay as they are.

    Training that diverges ends there, with the best factors before.

    Args:
        school: the chip and the network around it.
        begin: where training starts, as stored.
        lesson: what is learned, and who judges it.
        options: how long and how fast.
        generator: draws the batches.
    """
    best, judgements, losses, waited = begin, [lesson.judge(begin)], [], 0
    for loss, weights in _epochs(school, begin, lesson, options, generator):
        losses.append(loss)
        with np.errstate(
            over="ignore", invalid="ignore", under="ignore"
        ):  # only a number is better
            candidate = school.stored(factors_of(school.layers, weights))
            judgements.append(lesson.judge(candidate))
        if judgements[-1] < min(judgements[:-1]):
            best, waited = candidate, 0
        else:
            waited += 1
        if waited >= options.patience:
            break
    return Trained(best, tuple(losses), tuple(judgements))


def _epochs(
    school: School,
    begin: Factors,
    lesson: Lesson,
    options: SurrogateTraining,
    generator: np.random.Generator,
) -> Iterator[tuple[float, Weights]]:
    """After each epoch the mean loss of its batches, and the constants; ends if they diverge."""
    graph = surrogate_graph(school.graph, school.layers, school.activations, begin)
    sizes = sizes_in(graph, school.layers, school.chip, lesson.samples[: options.batch])
    units = units_of(school.layers, begin, sizes)
    constants = constants_of(school.layers, normalised(begin, sizes))
    weights = {name: constants[name] / unit for name, unit in units.items()}
    state = start(weights)
    steps = options.epochs * math.ceil(len(lesson.samples) / options.batch)
    for _ in range(options.epochs):
        found = []
        for indices in batches(len(lesson.samples), options.batch, generator):
            with np.errstate(over="ignore", invalid="ignore", under="ignore"):  # see _finite
                value, slopes = _slopes(school, graph, times(weights, units), lesson, indices)
                if not (math.isfinite(value) and _finite(slopes)):
                    return
                adam = replace(options.adam, learning_rate=_rate(options, state.step, steps))
                weights, state = adam_step(weights, times(slopes, units), state, adam)
            found.append(value)
        constants = times(weights, units)
        if not _finite(constants):
            return
        yield float(np.mean(found)), constants


def _slopes(
    school: School,
    graph: Graph,
    constants: Weights,
    lesson: Lesson,
    indices: NDArray[np.integer],
) -> tuple[float, Weights]:
    """Loss and gradients where the factors are as storage gives them back."""
    rounded = constants_of(school.layers, school.stored(factors_of(school.layers, constants)))
    samples = lesson.samples[indices]
    return loss_and_gradients(graph, rounded, samples, indices, lesson.loss, chip=school.chip)


def _finite(arrays: Weights) -> bool:
    return all(np.isfinite(array).all() for array in arrays.values())


def _rate(options: SurrogateTraining, step: int, steps: int) -> float:
    return options.adam.learning_rate * (1 + math.cos(math.pi * step / steps)) / 2

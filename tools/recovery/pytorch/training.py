"""Training by Adam: batches of references, the best state on the held-back samples kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional  # noqa: PLR0402 -- mypy knows it by this name

from recovery.pytorch.network import Tensor, channels_last
from recovery.pytorch.parameters import Learning
from recovery.recipes import TEMPERATURE
from recovery.samples import Float32, Labels

LOOK_EVERY = 320
"""Samples between looks at the held-back ones."""

WARM_UP = 0.1
"""Of the steps, during which the learning rate rises; then it falls along half a cosine."""


@dataclass(frozen=True)
class Lesson:
    """Samples, labels and the float network's logits."""

    x: Float32
    labels: Labels
    answers: Float32


@dataclass(frozen=True)
class Plan:
    """How long and how fast."""

    samples: int
    """Seen in all steps together."""

    batch: int
    learning_rate: float
    by_labels: bool
    """Cross entropy with the labels; else distillation from the float network's answers."""

    patience: int = 6
    """Looks without a better loss after which training ends."""

    @property
    def steps(self) -> int:
        """How many batches."""
        return self.samples // self.batch


@dataclass(frozen=True)
class Trained:
    """The best tensors seen, and how they came about."""

    tensors: Learning
    steps: int
    loss_before: float
    loss: float
    """On the held-back samples."""


Network = Callable[[Tensor, Learning], Tensor]


def train(  # noqa: PLR0913, PLR0917 -- a network, what learns, from what, judged by what, how
    network: Network,
    tensors: Learning,
    lesson: Lesson,
    held_back: Lesson,
    plan: Plan,
    generator: np.random.Generator,
) -> Trained:
    """Train tensors in place; the result is never worse than the start on held-back samples."""
    optimiser = torch.optim.Adam(tensors.values(), lr=plan.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _rate(plan.steps))
    best, before = _copy(tensors), _look(network, tensors, held_back, plan)
    best_loss, waited, step = before, 0, 0
    for step, batch in enumerate(_batches(lesson, plan, generator), 1):
        optimiser.zero_grad()
        _loss(network(_tensor(batch.x), tensors), batch, plan, TEMPERATURE).backward()
        optimiser.step()
        schedule.step()
        if step * plan.batch % LOOK_EVERY and step != plan.steps:
            continue
        loss = _look(network, tensors, held_back, plan)
        waited += 1
        if loss < best_loss:
            best, best_loss, waited = _copy(tensors), loss, 0
        if waited >= plan.patience:
            break
    return Trained(best, step, before, best_loss)


def _rate(steps: int) -> Callable[[int], float]:
    rising = max(WARM_UP * steps, 1.0)

    def rate(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 + 0.5 * float(np.cos(np.pi * (step - rising) / max(steps - rising, 1.0)))

    return rate


def _batches(lesson: Lesson, plan: Plan, generator: np.random.Generator) -> Iterator[Lesson]:
    """Every sample once before any comes again; whole batches only."""
    order: list[int] = []
    for _ in range(plan.steps):
        if len(order) < plan.batch:
            order = generator.permutation(len(lesson.x)).tolist()
        some, order = order[: plan.batch], order[plan.batch :]
        yield Lesson(lesson.x[some], lesson.labels[some], lesson.answers[some])


def _loss(given: Tensor, lesson: Lesson, plan: Plan, temperature: float) -> Tensor:
    """By labels, or the mean Kullback-Leibler divergence from the float network, in nats."""
    if plan.by_labels:
        return functional.cross_entropy(given, torch.from_numpy(lesson.labels))
    wanted = (torch.from_numpy(lesson.answers) / temperature).log_softmax(dim=1)
    found = (given / temperature).log_softmax(dim=1)
    return functional.kl_div(found, wanted, reduction="batchmean", log_target=True)


def _look(network: Network, tensors: Learning, lesson: Lesson, plan: Plan) -> float:
    """The loss on the held-back samples."""
    with torch.no_grad():
        return float(_loss(network(_tensor(lesson.x), tensors), lesson, plan, 1.0))


def _copy(tensors: Learning) -> Learning:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _tensor(x: Float32) -> Tensor:
    return channels_last(torch.from_numpy(np.ascontiguousarray(x)))

"""The rivals that train: gains and offsets, LoRA, and all weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch

from calib.factors import no_factors
from calib.graph.linear import LinearLayer
from calib.graph.model import Graph
from recovery.chip_weights import effective_weights
from recovery.closed_forms import fitted, gain_and_offset, gain_price
from recovery.outcome import Outcome, Price, branch_numbers, priced
from recovery.pytorch.network import Correction, Tensor, TorchLayer, forward, torch_layers
from recovery.pytorch.parameters import Learning, corrections, factors_of, learning, units_of
from recovery.pytorch.training import Lesson, Plan, train
from recovery.recipes import BATCH, Form, Recipe
from recovery.samples import Float32, Samples
from recovery.subject import Buffered, Subject, logits

torch.set_num_threads(1)


def rival(subject: Subject, recipe: Recipe, samples: int) -> Outcome:
    """Train one chip as its recipe says, on so many samples."""
    plan = Plan(samples, BATCH, recipe.rates[subject.case.model], recipe.by_labels)
    return trained(subject, recipe.form, plan)


def trained(subject: Subject, form: Form, plan: Plan, *, from_closed_form: bool = True) -> Outcome:
    """Train one chip.

    Args:
        subject: whose chip is linear.
        form: what learns.
        plan: how long and how fast.
        from_closed_form: whether to start from the closed form of gain and offset; else from the
            chip as it is.
    """
    shared, network = subject.shared, subject.network
    layers = torch_layers(network, effective_weights(subject.runtime(), network))
    units = units_of(shared, layers)
    begin = fitted(subject, gain_and_offset) if from_closed_form else no_factors(network.layers)
    generator = np.random.default_rng([subject.chip, shared.buffer])

    def answer(x: Tensor, learnt: Learning) -> Tensor:
        found = corrections(layers, units, begin, learnt)
        return forward(network.decision_graph, layers, found, x)

    lesson, judge = (lesson_of(shared, some) for some in (shared.references, shared.held_back))
    done = train(answer, learning(layers, form, generator), lesson, judge, plan, generator)
    found = corrections(layers, units, begin, done.tensors)
    details = {
        "steps": done.steps,
        "learning_rate": plan.learning_rate,
        "held_back_before": done.loss_before,
        "held_back": done.loss,
    }
    factors = None if form.weights else factors_of(layers, found)
    give = partial(answers, network.decision_graph, layers, found)
    return Outcome(factors, _price(subject, form), give, details)


def _price(subject: Subject, form: Form) -> Price:
    if not form.weights and not form.rank:
        return gain_price(subject)

    def numbers(layer: LinearLayer) -> tuple[int, int]:
        if form.weights:
            return layer.weight.size + 2 * layer.outputs, layer.weight.size
        branch = branch_numbers(layer, form.rank)
        return branch + 2 * layer.outputs, branch + layer.outputs

    return priced(subject.network.layers, numbers)


def lesson_of(shared: Buffered, samples: Samples) -> Lesson:
    """Samples with the float network's answers."""
    return Lesson(samples.x, samples.y, logits(shared.material.graph, samples.x))


def answers(
    graph: Graph, layers: Mapping[str, TorchLayer], found: Mapping[str, Correction], x: Float32
) -> Float32:
    """The corrected network's logits."""
    with torch.no_grad():
        blocks = (torch.from_numpy(x[i : i + BATCH]) for i in range(0, len(x), BATCH))
        return np.concatenate([forward(graph, layers, found, block).numpy() for block in blocks])

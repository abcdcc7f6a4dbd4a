"""Adam with decoupled weight decay.

D. P. Kingma and J. Ba, Adam: A Method for Stochastic Optimization, ICLR 2015 (arXiv 1412.6980),
algorithm 1; I. Loshchilov and F. Hutter, Decoupled Weight Decay Regularization, ICLR 2019 (arXiv
1711.05101), algorithm 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calib.graph.model import Array

Weights = Mapping[str, Array]


@dataclass(frozen=True)
class AdamOptions:
    """The algorithm's constants."""

    learning_rate: float = 1e-3
    first_decay: float = 0.9
    """β₁"""

    second_decay: float = 0.999
    """β₂"""

    epsilon: float = 1e-8
    weight_decay: float = 0.0
    """Each step takes learning_rate · weight_decay of every weight with two axes or more."""


@dataclass(frozen=True)
class AdamState:
    """What Adam remembers between two steps."""

    step: int
    first: Weights
    """Moving means of the gradients, not yet corrected for their start at zero."""

    second: Weights
    """The same of the squared gradients."""


def start(weights: Weights) -> AdamState:
    """The state before the first step."""
    zeros = {name: np.zeros_like(value) for name, value in weights.items()}
    return AdamState(0, zeros, zeros)


@np.errstate(under="ignore")  # the square of a small gradient is zero
def adam_step(
    weights: Weights, gradients: Weights, state: AdamState, options: AdamOptions
) -> tuple[dict[str, Array], AdamState]:
    """One step downhill.

    Args:
        weights: by name; not changed.
        gradients: of the loss, for each of the weights.
        state: from `start`, or from the step before.
        options: the algorithm's constants.

    Returns:
        The new weights, of the old ones' types, and the new state.
    """
    b1, b2, step = options.first_decay, options.second_decay, state.step + 1
    first = {name: b1 * state.first[name] + (1 - b1) * g for name, g in gradients.items()}
    second = {name: b2 * state.second[name] + (1 - b2) * g * g for name, g in gradients.items()}
    corrections = (1 - b1**step, 1 - b2**step)
    moved = {}
    for name, weight in weights.items():
        mean, square = first[name] / corrections[0], second[name] / corrections[1]
        change = mean / (np.sqrt(square) + options.epsilon)
        if weight.ndim > 1:  # offsets are free
            change = change + options.weight_decay * weight
        moved[name] = weight - options.learning_rate * change
    return moved, AdamState(step, first, second)

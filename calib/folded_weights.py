"""Gain, offset and branch of a surrogate in the weights themselves, where these have room for it.

    g ⊙ (W x + b) + B A x + c = (g ⊙ W + B A) x + (g ⊙ b + c)

A kernel that computes codes of 4 bits as 8, or in float, takes the weights on the right at no cost
in time or memory: what is stored stays the codes and the factors, what is computed is one matrix.
Its rounding to 8 bits errs by an eighteenth of what that to 4 bits does, and float by nothing.
Weights that are 8 bits themselves have no room: rounded again, they would lose what a branch
corrects.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calib.factors import Surrogate
from calib.integer_weights import (
    INTEGER_BITS,
    LARGEST_CODE,
    IntegerWeights,
    integers_of,
    is_integer,
)
from calib.schemes.weights import QuantisedWeights


def has_room(weights: QuantisedWeights) -> bool:
    """Whether a branch can be folded into weights of this kind."""
    return not is_integer(weights) or weights.bits < INTEGER_BITS


def folded_values(weights: QuantisedWeights, surrogate: Surrogate) -> NDArray[np.float64]:
    """G ⊙ W + B A, [groups, d, outputs/groups]."""
    groups, _, per_group = weights.codes.shape
    gains = surrogate.gain.astype(np.float64).reshape(groups, 1, per_group)
    a, b = (part.astype(np.float64) for part in surrogate.by_group)
    low_rank = (b @ a).swapaxes(-1, -2)
    return np.asarray(weights.values() * gains + low_rank.reshape(groups, -1, per_group))


def folded_integers(
    weights: QuantisedWeights, bias: NDArray[np.floating], step: float, surrogate: Surrogate
) -> IntegerWeights:
    """The integers of (g ⊙ W + B A) x + (g ⊙ bias + c): 8 bits, one scale for each output.

    Args:
        weights: with one scale for each output.
        bias: [outputs], of the layer itself.
        step: of the layer's input.
        surrogate: with a branch.
    """
    values = folded_values(weights, surrogate)
    scales = np.abs(values).max(axis=1) / LARGEST_CODE
    shift = surrogate.gain.astype(np.float64) * bias + surrogate.offset
    return integers_of(values, scales.reshape(-1), shift, step)

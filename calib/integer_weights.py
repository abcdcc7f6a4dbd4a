"""A layer's weights and bias as integers, with the gain and offset of its surrogate in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.factors import Surrogate
from calib.schemes.weights import QuantisedWeights

LARGEST_BIAS = 2**30
"""Half of what int32 holds: the other half is for the products."""

INTEGER_BITS = 8
"""Of the codes that integer kernels take."""

LARGEST_CODE = 127
_SMALLEST_SCALE = 1e-30
"""Of a bias: products of scales stay far from where float32 loses digits."""


@dataclass(frozen=True)
class IntegerWeights:
    """weight = codes × scales, bias = bias × bias_scales."""

    codes: NDArray[np.int8]
    """[groups, d, outputs/groups]"""

    scales: NDArray[np.float32]
    """[outputs]"""

    bias: NDArray[np.int32]
    """[outputs]"""

    bias_scales: NDArray[np.float32]
    """[outputs]: the step of the input times the weight's scale."""


def is_integer(weights: QuantisedWeights) -> bool:
    """Whether the codes are integers with one scale for each output, as integer kernels want."""
    return weights.codebook is None and weights.scales.shape[1] == 1


def integer_weights(
    weights: QuantisedWeights, bias: NDArray[np.floating], step: float, surrogate: Surrogate
) -> IntegerWeights:
    """The integers of g ⊙ (W x + bias) + c.

    The gain is in the scales, its sign in the codes, which are the given ones where no gain is
    negative. Where a channel's bias is so large beside its
    scale that int32 would not hold it (a gain near zero), the scale is raised and codes shrink.

    Args:
        weights: with one scale for each output.
        bias: [outputs], of the layer itself.
        step: of the layer's input.
        surrogate: its gain and offset.
    """
    groups, _, per_group = weights.codes.shape
    gain = surrogate.gain.astype(np.float64)
    shift = gain * bias + surrogate.offset
    wanted = gain * weights.scales.reshape(-1)
    if (wanted >= _least_scales(shift, step)).all():
        return _integers(weights.codes, wanted, shift, step)
    values = weights.codes * wanted.reshape(groups, 1, per_group)
    return integers_of(values, np.abs(wanted), shift, step)


def integers_of(
    values: NDArray[np.floating],
    scales: NDArray[np.floating],
    shift: NDArray[np.floating],
    step: float,
) -> IntegerWeights:
    """Weights and biases as integers.

    Args:
        values: [groups, d, outputs/groups].
        scales: [outputs], of the values; raised where int32 would not hold the bias.
        shift: [outputs], the bias.
        step: of the layer's input.
    """
    groups, _, per_group = values.shape
    scales = np.maximum(scales, _least_scales(shift, step))
    codes = np.rint(values / scales.reshape(groups, 1, per_group))
    within = np.clip(codes, -LARGEST_CODE - 1, LARGEST_CODE).astype(np.int8)
    return _integers(within, scales, shift, step)


def _least_scales(shift: NDArray[np.floating], step: float) -> NDArray[np.floating]:
    """Scales below which int32 would not hold the biases."""
    return np.asarray(np.maximum(np.abs(shift) / LARGEST_BIAS, _SMALLEST_SCALE) / step)


def _integers(
    codes: NDArray[np.int8],
    scales: NDArray[np.floating],
    shift: NDArray[np.floating],
    step: float,
) -> IntegerWeights:
    bias_scales = scales * step
    return IntegerWeights(
        codes=codes,
        scales=scales.astype(np.float32),
        bias=np.rint(shift / bias_scales).astype(np.int32),
        bias_scales=bias_scales.astype(np.float32),
    )


def float_weights(
    weights: QuantisedWeights, bias: NDArray[np.floating], surrogate: Surrogate
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For weights without integers: g ⊙ W [groups, d, outputs/groups], g ⊙ bias + c [outputs]."""
    groups, _, per_group = weights.codes.shape
    gains = surrogate.gain.reshape(groups, 1, per_group)
    return weights.values() * gains, (surrogate.gain * bias + surrogate.offset).astype(np.float32)

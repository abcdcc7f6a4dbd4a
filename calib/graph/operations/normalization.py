"""Normalisation: by stored statistics of each channel, or by each sample's own."""

from __future__ import annotations

import math

import numpy as np

from calib.errors import UnsupportedError
from calib.graph.model import Array
from calib.graph.operations.access import (
    front_axis,
    given,
    incoming,
    integer,
    number,
    optional,
)
from calib.graph.operations.elementwise import unbroadcast
from calib.graph.registry import Attributes, Inputs, Tape, register


def _batch(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
    if integer(attributes, "training_mode", 0):
        raise UnsupportedError(
            "BatchNormalization in training mode is not supported; export the model for inference"
        )
    x, scale, bias, mean, _ = (given(inputs, i) for i in range(5))
    factor = scale * _inverse_deviation(inputs, attributes)
    shift = bias - mean * factor
    return ((x * _per_channel(factor, x) + _per_channel(shift, x)).astype(x.dtype, copy=False),)


def _batch_pullback(tape: Tape) -> tuple[Array, ...]:
    x, scale, _, mean, _ = (given(tape.inputs, i) for i in range(5))
    inverse = _inverse_deviation(tape.inputs, tape.attributes)
    gradient = incoming(tape)
    others = tuple(axis for axis in range(x.ndim) if axis != 1)
    by_bias = gradient.sum(axis=others)
    by_scale = (gradient * (x - _per_channel(mean, x))).sum(axis=others) * inverse
    return (
        gradient * _per_channel(scale * inverse, x),
        by_scale,
        by_bias,
        -by_bias * scale * inverse,
        -0.5 * by_scale * scale * inverse * inverse,
    )


def _inverse_deviation(inputs: Inputs, attributes: Attributes) -> Array:
    inverse: Array = 1 / np.sqrt(given(inputs, 4) + number(attributes, "epsilon", 1e-5))
    return inverse


def _per_channel(values: Array, x: Array) -> Array:
    return values.reshape(-1, *(1,) * (x.ndim - 2))


def _layer(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
    """The normalised input, and the mean and inverse deviation of each sample."""
    x, scale, bias = given(inputs, 0), given(inputs, 1), optional(inputs, 2)
    axes = _normalized_axes(x, attributes)
    mean = x.mean(axis=axes, keepdims=True)
    centred = x - mean
    variance = np.square(centred).mean(axis=axes, keepdims=True)
    inverse = 1 / np.sqrt(variance + number(attributes, "epsilon", 1e-5))
    y = centred * inverse * scale
    return (y if bias is None else y + bias), mean, inverse


def _layer_pullback(tape: Tape) -> tuple[Array | None, ...]:
    """With u the normalised input: dx = (h - mean h - u mean(h u)) / deviation, h = dy scale."""
    x, scale, bias = given(tape.inputs, 0), given(tape.inputs, 1), optional(tape.inputs, 2)
    _, mean, inverse = _layer(tape.inputs, tape.attributes)
    axes = _normalized_axes(x, tape.attributes)
    gradient, unit = incoming(tape), (x - mean) * inverse
    through = gradient * scale
    along = (through * unit).mean(axis=axes, keepdims=True)
    by_x = (through - through.mean(axis=axes, keepdims=True) - unit * along) * inverse
    return (
        by_x + _by_statistics(tape, unit, inverse, axes),
        unbroadcast(gradient * unit, scale.shape),
        None if bias is None else unbroadcast(gradient, bias.shape),
    )


def _by_statistics(tape: Tape, unit: Array, inverse: Array, axes: tuple[int, ...]) -> Array:
    """What the outputs mean and inverse deviation add to the gradient, where they are read."""
    count = math.prod(unit.shape[axis] for axis in axes)
    by_mean = optional(tape.gradients, 1)
    by_inverse = optional(tape.gradients, 2)
    total: Array = np.zeros((), unit.dtype)
    if by_mean is not None:
        total = total + np.divide(by_mean, count)
    if by_inverse is not None:
        total = total - np.multiply(by_inverse, inverse * inverse) * unit / count
    return total


def _normalized_axes(x: Array, attributes: Attributes) -> tuple[int, ...]:
    return tuple(range(front_axis(integer(attributes, "axis", -1), x.ndim), x.ndim))


register("BatchNormalization", _batch, _batch_pullback)
register("LayerNormalization", _layer, _layer_pullback)

"""Activations: Relu and its kin, the sigmoids, Gelu, Softmax."""

from __future__ import annotations

import math

import numpy as np

from calib.graph.model import Array
from calib.graph.operations.access import (
    given,
    incoming,
    integer,
    number,
    optional,
    text,
)
from calib.graph.operations.elementwise import register_unary, unbroadcast
from calib.graph.operations.error_function import erf
from calib.graph.registry import Attributes, Inputs, Tape, register

_TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)
_SATURATED = 12.0
"""Beyond this, Gelu's tanh is one to the last bit of a float64; clipping there avoids overflow."""


def _relu(x: Array, _: Attributes) -> Array:
    return np.maximum(x, 0)


def _relu_slope(x: Array, _y: Array, _: Attributes) -> Array:
    return x > 0


def _leaky_relu(x: Array, attributes: Attributes) -> Array:
    return np.where(x < 0, x * number(attributes, "alpha", 0.01), x).astype(x.dtype, copy=False)


def _leaky_relu_slope(x: Array, _y: Array, attributes: Attributes) -> Array:
    return np.where(x < 0, number(attributes, "alpha", 0.01), 1.0).astype(x.dtype, copy=False)


def _sigmoid(x: Array, _: Attributes) -> Array:
    small = np.exp(-np.abs(x))  # at most one: cannot overflow
    top: Array = np.where(x < 0, small, 1)
    top /= 1 + small
    return top


def _sigmoid_slope(_x: Array, y: Array, _: Attributes) -> Array:
    slope: Array = y * (1 - y)
    return slope


def _hard_sigmoid(x: Array, attributes: Attributes) -> Array:
    alpha, beta = number(attributes, "alpha", 0.2), number(attributes, "beta", 0.5)
    return np.minimum(np.maximum(x * alpha + beta, 0), 1)


def _hard_sigmoid_slope(_x: Array, y: Array, attributes: Attributes) -> Array:
    return ((y > 0) & (y < 1)).astype(y.dtype) * number(attributes, "alpha", 0.2)


def _hard_swish(x: Array, _: Attributes) -> Array:
    return x * np.minimum(np.maximum(x / 6 + 0.5, 0), 1)


def _hard_swish_slope(x: Array, _y: Array, _: Attributes) -> Array:
    inner = x / 3 + 0.5
    return np.where(x <= -3, 0, np.where(x >= 3, 1, inner)).astype(x.dtype, copy=False)


def _tanh(x: Array, _: Attributes) -> Array:
    return np.tanh(x)


def _tanh_slope(_x: Array, y: Array, _: Attributes) -> Array:
    return 1 - y * y


def _erf(x: Array, _: Attributes) -> Array:
    return erf(x)


def _erf_slope(x: Array, _y: Array, _: Attributes) -> Array:
    inner = np.clip(x, -30, 30)  # the slope is zero beyond, and the square cannot overflow
    slope: Array = np.exp(-inner * inner) * _TWO_OVER_SQRT_PI
    return slope


def _gelu(x: Array, attributes: Attributes) -> Array:
    """Hendrycks and Gimpel, "Gaussian error linear units", arXiv:1606.08415, section 2."""
    curve = _gelu_curve(x, attributes)
    y: Array = x * 0.5 * (1 + curve)
    return y


def _gelu_curve(x: Array, attributes: Attributes) -> Array:
    if text(attributes, "approximate", "none") == "tanh":
        return np.tanh(_gelu_inner(x))
    return erf(x * math.sqrt(0.5))


def _gelu_inner(x: Array) -> Array:
    inner = np.clip(x, -_SATURATED, _SATURATED)
    y: Array = inner * (1 + 0.044715 * inner * inner) * math.sqrt(2 / math.pi)
    return y


def _gelu_slope(x: Array, _y: Array, attributes: Attributes) -> Array:
    inner = np.clip(x, -_SATURATED, _SATURATED)
    curve = _gelu_curve(x, attributes)
    if text(attributes, "approximate", "none") == "tanh":
        steepness = (1 + 3 * 0.044715 * inner * inner) * math.sqrt(2 / math.pi)
        rise = (1 - curve * curve) * steepness
    else:
        rise = np.exp(-0.5 * inner * inner) * math.sqrt(2 / math.pi)
    slope: Array = 0.5 * (1 + curve + inner * rise)
    return slope


def _elu(x: Array, attributes: Attributes) -> Array:
    alpha = number(attributes, "alpha", 1.0)
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x).astype(x.dtype, copy=False)


def _elu_slope(x: Array, y: Array, attributes: Attributes) -> Array:
    alpha = number(attributes, "alpha", 1.0)
    return np.where(x < 0, y + alpha, 1).astype(x.dtype, copy=False)


def _softplus(x: Array, _: Attributes) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _softplus_slope(x: Array, _y: Array, attributes: Attributes) -> Array:
    return _sigmoid(x, attributes)


def _clip(inputs: Inputs, _: Attributes) -> tuple[Array, ...]:
    y, low, high = given(inputs, 0), optional(inputs, 1), optional(inputs, 2)
    if low is not None:
        y = np.maximum(y, low)
    return (y if high is None else np.minimum(y, high),)


def _clip_pullback(tape: Tape) -> tuple[Array | None, ...]:
    x, low, high = given(tape.inputs, 0), optional(tape.inputs, 1), optional(tape.inputs, 2)
    free = np.ones(x.shape, bool)
    if low is not None:
        free &= x > low
    if high is not None:
        free &= x < high
    return (incoming(tape) * free,)


def _prelu(inputs: Inputs, _: Attributes) -> tuple[Array, ...]:
    x, slope = given(inputs, 0), given(inputs, 1)
    return (np.where(x < 0, x * slope, x),)


def _prelu_pullback(tape: Tape) -> tuple[Array, ...]:
    x, slope, gradient = given(tape.inputs, 0), given(tape.inputs, 1), incoming(tape)
    by_slope = unbroadcast(np.where(x < 0, gradient * x, 0), slope.shape)
    return np.where(x < 0, gradient * slope, gradient), by_slope


@np.errstate(under="ignore")
def _softmax(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
    x, axis = given(inputs, 0), integer(attributes, "axis", -1)
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return (powers / powers.sum(axis=axis, keepdims=True),)


@np.errstate(under="ignore")
def _softmax_pullback(tape: Tape) -> tuple[Array, ...]:
    y: Array = tape.outputs[0]
    weighted = incoming(tape) * y
    axis = integer(tape.attributes, "axis", -1)
    return (weighted - y * weighted.sum(axis=axis, keepdims=True),)


@np.errstate(under="ignore")
def _log_softmax(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
    x, axis = given(inputs, 0), integer(attributes, "axis", -1)
    centred = x - x.max(axis=axis, keepdims=True)
    return (centred - np.log(np.exp(centred).sum(axis=axis, keepdims=True)),)


@np.errstate(under="ignore")
def _log_softmax_pullback(tape: Tape) -> tuple[Array, ...]:
    y: Array = tape.outputs[0]
    gradient, axis = incoming(tape), integer(tape.attributes, "axis", -1)
    return (gradient - np.exp(y) * gradient.sum(axis=axis, keepdims=True),)


register_unary("Relu", _relu, _relu_slope)
register_unary("LeakyRelu", _leaky_relu, _leaky_relu_slope)
register_unary("Sigmoid", _sigmoid, _sigmoid_slope)
register_unary("HardSigmoid", _hard_sigmoid, _hard_sigmoid_slope)
register_unary("HardSwish", _hard_swish, _hard_swish_slope)
register_unary("Tanh", _tanh, _tanh_slope)
register_unary("Erf", _erf, _erf_slope)
register_unary("Gelu", _gelu, _gelu_slope)
register_unary("Elu", _elu, _elu_slope)
register_unary("Softplus", _softplus, _softplus_slope)
register("Clip", _clip, _clip_pullback)
register("PRelu", _prelu, _prelu_pullback)
register("Softmax", _softmax, _softmax_pullback)
register("LogSoftmax", _log_softmax, _log_softmax_pullback)

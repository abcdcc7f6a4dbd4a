"""One layer computed exactly and fast, and the figures in which the two are to agree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_models.array import Array, ArrayWeights, Chip, State, program
from device_models.bitplane import BitPlaneSram
from device_models.converter import converter

INPUTS, OUTPUTS = 144, 16
TYPICAL_ROWS, TEST_ROWS = 1024, 4000

Floats = NDArray[Any]


def layer_weights(rng: np.random.Generator) -> ArrayWeights:
    """A layer of int8 weights, normal as trained ones are."""
    codes = np.clip(np.rint(rng.normal(0, 40, (1, INPUTS, OUTPUTS))), -127, 127).astype(np.int8)
    return ArrayWeights(codes, np.full((1, 1, OUTPUTS), 0.01, np.float32), INPUTS, 8)


def relu_codes(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Activations behind a ReLU: half of them zero, some rows brighter than others."""
    bright = rng.uniform(10, 50, (n, 1, 1))
    values = rng.exponential(1, (n, 1, INPUTS)) * bright * (rng.random((n, 1, INPUTS)) < 0.5)
    return np.minimum(np.rint(values), 255).astype(np.uint8)


def typical_ones(rng: np.random.Generator) -> float:
    """How many conducting cells a column sees, root mean square over slices."""
    bits = np.unpackbits(relu_codes(rng, 500), axis=2)
    per_slice = bits.reshape(500, INPUTS, 8).sum(axis=1) / 2
    return float(np.sqrt(np.mean(per_slice**2)))


def model_of(ratio: float, adc_bits: int, rows: int, rng: np.random.Generator) -> BitPlaneSram:
    """A chip whose column sums deviate by `ratio` steps of its converters, typically."""
    step = converter(float(rows), adc_bits, 0.0).step_counts
    sigma = ratio * step / np.sqrt(typical_ones(rng) * min(rows / INPUTS, 1))
    return BitPlaneSram(
        rows=rows,
        adc_bits=adc_bits,
        cell_sigma=float(sigma),
        column_gain_sigma=0.0,
        column_offset_counts=0.0,
        read_noise_counts=0.0,
    )


@dataclass(frozen=True)
class Errors:
    """Errors [n, m] of an array beside the nominal product [n, m]."""

    truth: Floats
    error: Floats

    @property
    def mean(self) -> Floats:
        """Of each output."""
        return np.asarray(self.error.mean(axis=0))

    @property
    def deviation(self) -> Floats:
        """Of each output."""
        return np.asarray(self.error.std(axis=0))

    @property
    def with_truth(self) -> Floats:
        """Correlation of each output's errors with what it should be."""
        return correlations(self.error, self.truth)

    @property
    def between_outputs(self) -> Floats:
        """Correlations of the errors of two outputs, one for each pair."""
        matrix = np.corrcoef(self.error.T)
        return np.asarray(matrix[np.triu_indices(len(matrix), 1)])


def correlations(one: Floats, other: Floats) -> Floats:
    """Of columns."""
    a, b = one - one.mean(axis=0), other - other.mean(axis=0)
    return np.asarray((a * b).mean(axis=0) / (a.std(axis=0) * b.std(axis=0)))


def errors_of(array: Array, weights: ArrayWeights, codes: NDArray[np.uint8]) -> Errors:
    """What an array makes wrong."""
    got = array.multiply(codes, 0, np.random.default_rng(5))[:, 0]
    truth = codes[:, 0].astype(np.float64) @ weights.values()[0]
    return Errors(truth, got - truth)


def both(
    model: BitPlaneSram, weights: ArrayWeights, rng: np.random.Generator, seed: int = 1
) -> tuple[Array, Array]:
    """The exact array and the fast one of a chip."""
    codes = relu_codes(rng, TYPICAL_ROWS)
    chip = Chip(model, seed)
    exact = program(chip, State(), "a", weights, 8)
    fast = program(chip, State(), "a", weights, 8, typical=lambda: codes, fast=True)
    return exact, fast


@dataclass(frozen=True)
class Naive:
    """What is wrong to do: effective weights, and an independent 1/12 of a step² of noise."""

    linear: Array
    sigma: Floats

    def multiply(
        self, codes: NDArray[np.uint8], zero_point: int, generator: np.random.Generator
    ) -> NDArray[np.float32]:
        """As an array does."""
        product = self.linear.multiply(codes, zero_point, generator)
        noise = self.sigma * generator.standard_normal(product.shape)
        return (product + noise).astype(np.float32)


def naive(model: BitPlaneSram, weights: ArrayWeights, seed: int = 1) -> Naive:
    """The naive form of a chip."""
    linear = program(Chip(replace(model, adc_bits=None), seed), State(), "a", weights, 8)
    step = converter(float(model.rows), model.adc_bits, 0.0).step_counts
    tiles = -(-INPUTS // model.rows)
    worth = np.exp2(2 * np.arange(8)).sum()
    sigma = weights.scales[0] * step * worth * np.sqrt(tiles / 12)
    return Naive(linear, np.asarray(sigma))


def disagreement(exact: Errors, other: Errors) -> str | None:
    """In which figure two arrays differ by more than sampling; None where they agree.

    The fast form is fitted to `TYPICAL_ROWS`, and four figures an output are.
    """
    n = len(exact.error)
    spread = np.maximum(exact.deviation, 1e-3 * exact.deviation.max())
    z = (other.mean - exact.mean) / (spread * np.sqrt(2 / n + 4 / TYPICAL_ROWS))
    if np.sqrt(np.mean(z**2)) > 2 or np.abs(z).max() > 5:
        return f"mean: {np.abs(z).max():.1f} deviations"
    ratio = np.sqrt(np.mean(other.deviation**2) / np.mean(exact.deviation**2))
    if abs(ratio - 1) > 0.07:
        return f"deviation: {ratio:.3f} of the exact one"
    with_truth = np.sqrt(np.mean((other.with_truth - exact.with_truth) ** 2))
    if with_truth > 0.1:
        return f"correlation with the truth: off by {with_truth:.3f}"
    between = np.sqrt(np.mean((other.between_outputs - exact.between_outputs) ** 2))
    if between > 0.02 + 2 / np.sqrt(n):
        return f"correlation between outputs: off by {between:.3f}"
    return None

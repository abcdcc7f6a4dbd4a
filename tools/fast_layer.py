"""One layer computed exactly and fast, and the figures in which the two are to agree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_models.array import Array, ArrayWeights, Chip, State, program
from device_models.sram.bitplane import BitPlaneSram
from device_models.sram.converter import converter

INPUTS, OUTPUTS = 144, 16
TYPICAL_ROWS, TEST_ROWS = 1024, 4000

CASES = tuple(
    (rows, adc_bits, ratio)
    for rows, adc_bits in ((256, 8), (64, 8), (256, 6), (128, 5))
    for ratio in (0.0, 0.1, 0.3, 1.0, 3.0)
)
"""Rows, bits of the converter, and deviation of a typical sum in steps of the converter."""

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


@dataclass(frozen=True)
class Difference:
    """In what two arrays differ, over all outputs."""

    mean: float
    """Largest difference between mean errors, in deviations of sampling."""

    mean_rms: float
    deviation: float
    """Of all errors, in parts of the exact one."""

    with_truth: float
    """Difference of correlations, root mean square."""

    between_outputs: float


def difference(exact: Errors, other: Errors) -> Difference:
    """In what an array differs from the exact one.

    Sampling: the fast form is fitted to `TYPICAL_ROWS`, and four figures an output are.
    """
    n = len(exact.error)
    spread = np.maximum(exact.deviation, 1e-3 * exact.deviation.max())
    z = (other.mean - exact.mean) / (spread * np.sqrt(2 / n + 4 / TYPICAL_ROWS))
    return Difference(
        mean=float(np.abs(z).max()),
        mean_rms=_rms(z),
        deviation=_rms(other.deviation) / _rms(exact.deviation),
        with_truth=_rms(other.with_truth - exact.with_truth),
        between_outputs=_rms(other.between_outputs - exact.between_outputs),
    )


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def disagreement(exact: Errors, other: Errors) -> str | None:
    """In which figure two arrays differ by more than sampling; None where they agree."""
    found = difference(exact, other)
    if found.mean_rms > 2 or found.mean > 5:
        return f"mean: {found.mean:.1f} deviations"
    if abs(found.deviation - 1) > 0.07:
        return f"deviation: {found.deviation:.3f} of the exact one"
    if found.with_truth > 0.1:
        return f"correlation with the truth: off by {found.with_truth:.3f}"
    if found.between_outputs > 0.02 + 2 / np.sqrt(len(exact.error)):
        return f"correlation between outputs: off by {found.between_outputs:.3f}"
    return None


RATIO_HEAD = (
    "rows", "ADC bits", "ratio", "errors, of outputs", "fast: mean", "deviation", "with truth",
    "between outputs", "naive: mean", "deviation", "with truth", "between outputs",
)  # fmt: skip


def ratio_row(rows: int, adc_bits: int, ratio: float) -> list[str]:
    """One case as a row of a table."""
    rng = np.random.default_rng(3)
    weights = layer_weights(rng)
    model = model_of(ratio, adc_bits, rows, rng)
    exact, fast = both(model, weights, rng)
    codes = relu_codes(rng, TEST_ROWS)
    one = errors_of(exact, weights, codes)
    size = _rms(one.deviation) / float(one.truth.std())
    cells = [str(rows), str(adc_bits), f"{ratio:g}", f"{size:.2%}"]
    if size < 1e-6:
        return [*cells, "no error at all", *("-",) * 7]
    for array in (fast, naive(model, weights)):
        if getattr(array, "why_exact", None):
            cells += ["refused", "-", "-", "-"]
            continue
        found = difference(one, errors_of(array, weights, codes))
        cells += [
            f"{found.mean_rms:.1f}",
            f"{found.deviation:.3f}",
            f"{found.with_truth:.3f}",
            f"{found.between_outputs:.3f}",
        ]
    return cells

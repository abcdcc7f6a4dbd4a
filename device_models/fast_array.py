"""A bit-plane array as one product and noise: the fast form, for sweeps.

    y_j = x · w_j + c_j + σ_j h(s) ε(x) + σ'_j h'(s) ε',      s = sum of x

The weights w hold what converters leave of the cells' deviations (`fast_fit`). Rounding is static:
the same input is always rounded the same way. So ε(x) is a normal figure that belongs to the input
row, the output and the chip; ε' is what the read noise adds, new each time.

Two more columns of the same product give s, and a number that tells inputs apart: a sum of small
whole numbers, which float32 holds exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_models.contract import check_inputs
from device_models.read_noise import keyed_noise, new_key

EXTRA_COLUMNS = 2
_SPREAD_KEYS = np.uint64(0xD1342543DE82EF95)
"""Odd, so that different inputs have different keys."""


@dataclass(frozen=True)
class Spread:
    """Standard deviation of a noise: one figure for each output, one curve for all rows."""

    sigma: NDArray[np.float32]
    """[groups, 1, m]"""

    at: NDArray[np.float64]
    """Rising sums of a row's inputs, in parts of their mean, at which the curve is known."""

    factor: NDArray[np.float64]
    """The curve h there; it stays level outside."""

    def of(self, sums: NDArray[Any]) -> NDArray[np.float32]:
        """The curve, for rows whose inputs add up to `sums`, in parts of the mean."""
        factors: NDArray[np.float32] = np.interp(sums, self.at, self.factor).astype(np.float32)
        return factors

    def deviations(self, sums: NDArray[Any]) -> NDArray[np.float32]:
        """Standard deviations [groups, n, m] for sums [groups, n]."""
        return self.sigma * self.of(sums)[:, :, None]


@dataclass(frozen=True)
class FastArray:
    """The fast form of one layer."""

    matrix: NDArray[np.float32]
    """[groups, d, m + 2]: weights, ones, whole numbers that tell inputs apart."""

    constant: NDArray[np.float32]
    """[groups, 1, m]"""

    nominal_sums: NDArray[np.float32]
    """[groups, 1, m]: what one step of the zero point takes off."""

    mean_sums: NDArray[np.float32]
    """[groups, 1]: mean sum of the inputs of typical rows."""

    rounding: Spread | None
    reading: Spread | None
    key: int
    """The chip's and the layer's own."""

    input_bits: int

    def multiply(
        self, codes: NDArray[np.uint8], zero_point: int, generator: np.random.Generator
    ) -> NDArray[np.float32]:
        """See `Array.multiply`."""
        groups, inputs, columns = self.matrix.shape
        check_inputs(codes, (groups, inputs), self.input_bits)
        outputs = columns - EXTRA_COLUMNS
        product = np.matmul(codes.swapaxes(0, 1).astype(np.float32), self.matrix)
        result = product[..., :outputs] + (
            self.constant - np.float32(zero_point) * self.nominal_sums
        )
        sums = product[..., outputs] / self.mean_sums
        if self.rounding is not None:
            noise = self._own_noise(product[..., outputs + 1], outputs)
            result += _scaled(noise, self.rounding, sums)
        if self.reading is not None:
            keys = np.full(1, new_key(generator), np.uint64)
            noise = keyed_noise(keys, result.size).reshape(result.shape)
            result += _scaled(noise, self.reading, sums)
        return np.ascontiguousarray(result.swapaxes(0, 1))

    def _own_noise(self, numbers: NDArray[np.float32], outputs: int) -> NDArray[np.float32]:
        """The figures of the rows with these numbers: [groups, n, m]."""
        groups, n = numbers.shape
        keys = numbers.astype(np.uint64)
        keys += np.arange(groups, dtype=np.uint64)[:, None] << np.uint64(32)
        keys *= _SPREAD_KEYS
        keys ^= np.uint64(self.key)
        return keyed_noise(keys.reshape(-1), outputs).reshape(groups, n, outputs)


def _scaled(noise: NDArray[np.float32], spread: Spread, sums: NDArray[Any]) -> NDArray[np.float32]:
    noise *= spread.sigma
    noise *= spread.of(sums)[:, :, None]
    return noise

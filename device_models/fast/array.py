"""A bit-plane array as one product and noise: the fast form, for sweeps.

    y = x · W + c + h(s) M ε(x) + h'(s) σ' ε',      s = x · v

The weights W hold what converters leave of the cells' deviations (`fast_fit`). Rounding is static:
the same input is always rounded the same way. So ε(x) are normal figures that belong to the input
row, the layer and the chip, and M gives them the variances and correlations that the outputs'
rounding has; ε' is what the read noise adds, new each time and each output's own.

s is a sum of the inputs, each weighted by a whole number of its own between R/2 and R. It says how
busy a row is and tells inputs apart: float32 holds it exactly, in whatever order it is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_models.contract import check_inputs
from device_models.sram.compiled import is_compiled
from device_models.sram.read_noise import places_of, row_noise, shuffled

_SPREAD_KEYS = np.uint64(0xD1342543DE82EF95)
"""Odd, so that different inputs have different keys."""

LEAST_SQUARE = 0.02
"""A row's variance is at least this part of the mean."""


@dataclass(frozen=True)
class Spread:
    """A noise of a layer's outputs: how large it is on average, times h of the row."""

    mixing: NDArray[np.float32]
    """From independent unit noise to that of a mean row: [groups, m, m], symmetric; of outputs
    that have nothing in common its diagonal alone, [groups, 1, m]."""

    slope: float
    """How much faster than the mean the variance grows: h² = 1 + slope · (s - 1)."""

    def of(self, sums: NDArray[Any]) -> NDArray[np.float32]:
        """What h is for rows with sums s, in parts of the mean."""
        return heights_of(self.slope, sums)

    @property
    def is_mixed(self) -> bool:
        """Whether outputs have something in common."""
        return bool(self.mixing.shape[1] > 1)


def heights_of(slope: float, sums: NDArray[Any]) -> NDArray[np.float32]:
    """How much noisier than the mean row those with sums s are: h."""
    squares = np.float32(1) + np.float32(slope) * (sums - np.float32(1))
    np.maximum(squares, np.float32(LEAST_SQUARE), out=squares)
    heights: NDArray[np.float32] = np.sqrt(squares).astype(np.float32, copy=False)
    return heights


@dataclass(frozen=True)
class FastArray:
    """The fast form of one layer."""

    matrix: NDArray[np.float32]
    """[groups, d, m]"""

    constant: NDArray[np.float32]
    """[groups, 1, m]"""

    nominal_sums: NDArray[np.float32]
    """[groups, 1, m]: what one step of the zero point takes off."""

    probe: NDArray[np.float32]
    """[groups, d, 1]: v, whole numbers."""

    mean_sums: NDArray[np.float32]
    """[groups, 1]: mean of s over typical rows."""

    rounding: Spread | None
    reading: Spread | None
    key: int
    """The chip's and the layer's own."""

    input_bits: int

    def multiply(
        self, codes: NDArray[np.uint8], zero_point: int, generator: np.random.Generator
    ) -> NDArray[np.float32]:
        """See `Array.multiply`."""
        check_inputs(codes, self.matrix.shape[:2], self.input_bits)
        rows = codes.swapaxes(0, 1).astype(np.float32)
        result = np.matmul(rows, self.matrix)
        result += self.constant - np.float32(zero_point) * self.nominal_sums
        if self.rounding is not None or self.reading is not None:
            self._disturb(result, np.matmul(rows, self.probe)[..., 0], generator)
        return np.ascontiguousarray(result.swapaxes(0, 1))

    def _disturb(
        self,
        result: NDArray[np.float32],
        sums: NDArray[np.float32],
        generator: np.random.Generator,
    ) -> None:
        """Add rounding and read noise to results [groups, n, m] of rows with sums [groups, n]."""
        relative: NDArray[np.float32] = sums / self.mean_sums
        if self.rounding is not None:
            _add(result, self.rounding, relative, self._own_places(sums))
        if self.reading is not None:
            places = generator.integers(0, 1 << 16, sums.shape, np.uint16)
            _add(result, self.reading, relative, places)

    def _own_places(self, sums: NDArray[np.float32]) -> NDArray[np.uint64]:
        """Where the figures of rows with these sums stand: [groups, n]."""
        keys = sums.astype(np.uint64)
        keys += np.arange(len(sums), dtype=np.uint64)[:, None] << np.uint64(32)
        keys *= _SPREAD_KEYS
        keys ^= np.uint64(self.key)
        return places_of(keys)


def _add(
    result: NDArray[np.float32], spread: Spread, sums: NDArray[np.float32], places: NDArray[Any]
) -> None:
    """Add the noise that stands at these places, in place; compiled it is the same."""
    heights = spread.of(sums)
    if not spread.is_mixed and is_compiled():
        from device_models.sram.plane_kernel import add_noise  # noqa: PLC0415 - imports numba

        add_noise(
            result, shuffled(result.shape[2]), places.astype(np.int64), spread.mixing, heights
        )
        return
    noise = row_noise(places.reshape(-1), result.shape[2]).reshape(result.shape)
    if spread.is_mixed:
        noise = np.matmul(noise, spread.mixing)
    else:
        noise *= spread.mixing
    noise *= heights[:, :, None]
    result += noise

"""A layer as one matrix product with the weights that a chip effectively has, and its read noise.

Each read of a weight is off by an independent normal error, new for every read. A product with
inputs x then is off by Σ x_i e_i, which is exactly normal with the variance Σ x_i² σ_i²: it is
drawn once for each result instead of once for each cell, and nothing is approximated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_models.contract import check_inputs


@dataclass(frozen=True)
class ReadNoise:
    """The normal error of a read, new each time."""

    variance: NDArray[np.float32]
    """[groups, parts, m]: of each weight in a part of the rows."""

    part_rows: int
    """Part p holds the rows from p·part_rows on."""

    def add_to(
        self, sums: NDArray[Any], rows: NDArray[Any], generator: np.random.Generator
    ) -> None:
        """Add the errors to products [groups, n, m] of rows [groups, n, d]."""
        errors = generator.standard_normal(sums.shape, dtype=np.float32)
        if self.variance.shape[1] == 1:  # one square root for a row, one for a column
            errors *= np.sqrt(np.einsum("gnd,gnd->gn", rows, rows))[:, :, None]
            errors *= np.sqrt(self.variance)
        else:
            errors *= np.sqrt(np.matmul(self._squares(rows), self.variance))
        sums += errors

    def of_rows(self, rows: slice, factor: NDArray[np.float32]) -> ReadNoise:
        """That of some rows alone, in other units.

        Args:
            rows: all within one part, or parts of one row each.
            factor: [groups, 1, m]: so many of the new units are one of the old.
        """
        part = rows.start // self.part_rows
        kept = rows if self.part_rows == 1 else slice(part, part + 1)
        return ReadNoise(self.variance[:, kept] * np.square(factor), self.part_rows)

    def _squares(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Sums of squares of each part of the rows: [groups, n, parts]."""
        squares: NDArray[np.float32] = np.square(rows, dtype=np.float32)
        if self.part_rows > 1:
            starts = np.arange(0, rows.shape[2], self.part_rows)
            squares = np.add.reduceat(squares, starts, axis=2)
        return squares


@dataclass(frozen=True)
class ProductArray:
    """A layer that is one matrix product."""

    matrix: NDArray[Any]
    """[groups, d, m], float32, or float64 where only that is exact."""

    scale: NDArray[np.float32] | None
    """[groups, 1, m], applied after the product; None if it is in the matrix."""

    input_bits: int
    noise: ReadNoise | None = None
    """In units of the result."""

    def multiply(
        self, codes: NDArray[np.uint8], zero_point: int, generator: np.random.Generator
    ) -> NDArray[np.float32]:
        """See `Array.multiply`. Inputs are driven as they are signed: a zero drives nothing."""
        check_inputs(codes, self.matrix.shape[:2], self.input_bits)
        levels = codes.astype(np.float32)
        if zero_point:
            levels -= np.float32(zero_point)
        out = np.empty((*codes.shape[:2], self.matrix.shape[2]), np.float32)
        self.multiply_levels(levels, 1.0, generator, out)
        return out

    def multiply_levels(
        self,
        levels: NDArray[np.float32],
        factor: float,
        generator: np.random.Generator,
        out: NDArray[np.float32],
    ) -> None:
        """See `LevelArray.multiply_levels`."""
        rows = levels.astype(self.matrix.dtype, copy=False).swapaxes(0, 1)
        sums = np.matmul(rows, self.matrix)
        worth: float | NDArray[np.float32] = 1.0 if self.scale is None else self.scale
        if self.noise is not None:
            sums *= worth
            self.noise.add_to(sums, rows, generator)
            worth = 1.0
        np.multiply(sums, worth * np.float32(factor), out=out.swapaxes(0, 1), casting="same_kind")

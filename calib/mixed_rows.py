"""More inputs for a layer than samples give: rows mixed from rows, input by input.

A map of d inputs cannot be told from fewer than d rows, and rows of a few samples all lie in a few
directions. A mixed row takes each input from one of two rows at random, as genes are crossed over.
It stays within the range of what was seen, input by input, and has the same means, but points in
directions in which no sample does. What a layer with known weights should make of it is known, so
that what a chip makes of it says what is wrong with the chip.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

BLOCK_ROWS = 128
"""So that what is made of them is small, too."""

ROWS_AN_INPUT = 3
"""Where rows are fewer than so many for each input, mixed ones fill them up."""


def missing_rows(rows: int, inputs: int) -> int:
    """How many mixed rows a layer wants that has so many rows of so many inputs."""
    return max(ROWS_AN_INPUT * inputs - rows, 0)


def mixed_rows(rows: Float32, count: int, generator: np.random.Generator) -> Iterator[Float32]:
    """Mixed rows from rows [n, groups, d]: `count` of them, a few at a time, [k, groups, d]."""
    ones, others = generator.integers(len(rows), size=(2, count))
    for start in range(0, count, BLOCK_ROWS):
        one, other = ones[start : start + BLOCK_ROWS], others[start : start + BLOCK_ROWS]
        first = generator.random((len(one), *rows.shape[1:]), np.float32) < np.float32(0.5)
        yield np.where(first, rows[one], rows[other])

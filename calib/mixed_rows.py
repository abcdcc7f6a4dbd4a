"""More inputs for a layer than samples give: rows mixed from rows, input by input.

A map of d inputs cannot be told from fewer than d rows, and rows of a few samples all lie in a few
directions. A mixed row takes each input from one of two rows at random, as genes are crossed over.
It stays within the range of what was seen, input by input, and has the same means, but points in
directions in which no sample does. What a layer with known weights should make of it is known, so
that what a chip makes of it says what is wrong with the chip.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

ROWS_AN_INPUT = 3
"""Where rows are fewer than so many for each input, mixed ones fill them up."""


def missing_rows(rows: int, inputs: int) -> int:
    """How many mixed rows a layer wants that has so many rows of so many inputs."""
    return max(ROWS_AN_INPUT * inputs - rows, 0)


def mixed_rows(rows: Float32, count: int, generator: np.random.Generator) -> Float32:
    """Mixed rows [count, groups, d] from rows [n, groups, d]."""
    one, other = generator.integers(len(rows), size=(2, count))
    first = generator.random((count, *rows.shape[1:]), np.float32) < np.float32(0.5)
    return np.asarray(np.where(first, rows[one], rows[other]))

"""How much a main path's outputs change from one read to the next, with nothing else changed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

ROWS_WANTED = 64
"""Read twice, of each layer: its noise is then known to a tenth."""


@dataclass
class ReadNoise:
    """Accumulates pairs of reads of one layer with `outputs` outputs."""

    outputs: int
    rows: int = 0
    _squares: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        """Nothing was read twice yet."""
        self._squares = np.zeros(self.outputs)

    @property
    def wanting(self) -> int:
        """How many more rows are to be read twice."""
        return max(ROWS_WANTED - self.rows, 0)

    def add(self, differences: NDArray[np.floating]) -> None:
        """Add the differences [n, m] of two reads of the same rows."""
        self._squares += np.square(differences, dtype=np.float64).sum(axis=0)
        self.rows += len(differences)

    def variance(self) -> NDArray[np.float64]:
        """Of each output: [m]; half the mean square of the differences, as both reads are noisy."""
        return self._squares / (2 * max(self.rows, 1))

"""The pairs of cells of a layer in one chip in its conditions, whatever kind of memory they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from device_models.memories.analog_periphery import AnalogPeriphery
from device_models.memories.differential_pair import Cells
from device_models.memories.product_array import ReadNoise
from device_models.streams import stream


@dataclass(frozen=True)
class Pairs:
    """A layer's pairs of cells in one chip in its conditions."""

    cells: Cells
    conductances: NDArray[np.float32]
    """[2, groups, d, m], in any unit."""

    low: float
    """G_min in that unit: a cell that holds no weight."""

    high: float
    """G_max: a cell that holds the largest."""

    read_noise: float = 0.0
    """Standard deviation of every pair from read to read, in parts of G_max - G_min."""

    read_deviation: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None
    """Where each pair has its own: from conductances to those [groups, d, m], in the unit."""

    @property
    def span(self) -> float:
        """G_max - G_min."""
        return self.high - self.low

    def noise(self) -> ReadNoise | None:
        """The read noise of the weights; None for none."""
        if self.read_deviation is not None:
            deviation = self.read_deviation(self.conductances)
            deviation *= self.cells.row_worth(self.span)
            return ReadNoise(np.square(deviation), 1)
        if not self.read_noise:
            return None
        each = np.square(self.cells.worth * np.float32(self.read_noise))
        return ReadNoise(each, self.cells.block_rows)


def stuck(pairs: Pairs, periphery: AnalogPeriphery) -> Pairs:
    """The same pairs, some of their cells at G_min or G_max whatever was written."""
    off, on = periphery.stuck_at_off, periphery.stuck_at_on
    if not (off or on):
        return pairs
    held = pairs.conductances.copy()
    source = stream(pairs.cells.seed, pairs.cells.layer, "stuck cells")
    lot = source.random(held.shape, np.float32)
    held[lot < off] = pairs.low
    held[lot >= 1 - on] = pairs.high
    return replace(pairs, conductances=held)

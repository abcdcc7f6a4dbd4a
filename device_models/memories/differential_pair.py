"""Differential pairs: a signed weight as the difference of two analog cells.

A weight w of a layer whose largest code is c_max stands in two cells,

    G+ = G_min + max(w, 0) / c_max · (G_max - G_min)        G- the same of -w

so that one of the two is always at G_min, and w = c_max · (G+ - G-) / (G_max - G_min). This is
the mapping of aihwkit's SinglePairConductanceConverter. Codes map linearly, those of a codebook
by the weights they stand for; scales, one for each column or for each block of rows, are applied
after the array. Cells deviate from what they were asked for, and keep deviating: everything that
a kind of memory knows about that is a function of the target, so it is computed once for each
level and spread over the cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.array_weights import ArrayWeights, spread
from device_models.contract import Placement
from device_models.streams import normals, stream


@dataclass(frozen=True)
class Cells:
    """The cells of one layer in one chip, as they were asked to be."""

    targets: NDArray[np.float64]
    """[levels]: conductances that cells are asked for, 0 for G_min and 1 for G_max."""

    level: NDArray[np.intp]
    """[2, groups, d, m]: which of these, in the positive and in the negative cell."""

    worth: NDArray[np.float32]
    """[groups, blocks, m]: the weight that a difference of G_max - G_min stands for."""

    block_rows: int
    seed: int
    layer: str

    def spread(self, by_level: NDArray[np.float64]) -> NDArray[np.float32]:
        """What depends on the target alone, for each cell [2, groups, d, m]."""
        values: NDArray[np.float32] = by_level.astype(np.float32)[self.level]
        return values

    def normals(self, effect: str) -> NDArray[np.float32]:
        """Standard normal figures of one static effect, for each cell."""
        return normals(self.seed, self.layer, effect, self.level.shape)

    def uniforms(self, effect: str) -> NDArray[np.float32]:
        """Figures of one static effect for each cell, uniform with a standard deviation of 1."""
        found = stream(self.seed, self.layer, effect).random(self.level.shape, dtype=np.float32)
        found -= np.float32(0.5)
        found *= np.float32(math.sqrt(12))
        return found

    @np.errstate(under="ignore")  # just after the start, what is added is next to nothing
    def turned(self, effect: str, angle: float) -> NDArray[np.float32]:
        """A standard normal pattern that changes smoothly with an angle, for each cell.

        cos(angle) ε₁ + sin(angle) ε₂: at every angle as normal as at 0, where it is ε₁; two
        angles correlate by the cosine of what is between them. From a right angle on the first
        pattern is forgotten, and nothing changes any more.
        """
        pattern = self.normals(effect)
        angle = min(angle, math.pi / 2)
        if angle:
            pattern *= np.float32(math.cos(angle))
            pattern += np.float32(math.sin(angle)) * self.normals(f"{effect}, later")
        return pattern

    def between(self, low: float, high: float) -> NDArray[np.float64]:
        """The targets [levels] as conductances from low (a weight of 0) to high."""
        return low + self.targets * (high - low)

    def weights(self, conductances: NDArray[np.float32], span: float = 1.0) -> NDArray[np.float32]:
        """The weights [groups, d, m] that conductances [2, groups, d, m] amount to.

        Args:
            conductances: of the positive and of the negative cells.
            span: G_max - G_min in their unit.
        """
        difference: NDArray[np.float32] = conductances[0] - conductances[1]
        difference *= self.row_worth(span)
        return difference

    def row_worth(self, span: float = 1.0) -> NDArray[np.float32]:
        """What one unit of conductance is worth, for each row or for all: [groups, 1 or d, m]."""
        worth = self.worth / np.float32(span)
        return spread(worth, self.block_rows, self.level.shape[2])


def differential_pairs(placement: Placement) -> Cells:
    """Map a layer's weights onto pairs of cells; its largest one takes the whole range."""
    book, entry = _book(placement.weights)
    largest = float(np.abs(book).max()) or 1.0
    targets = np.concatenate([np.abs(book) / largest, [0.0]])
    entries = np.arange(len(book))
    idle = len(book)
    positive = np.where(book > 0, entries, idle)
    negative = np.where(book < 0, entries, idle)
    return Cells(
        targets=targets,
        level=np.stack([positive[entry], negative[entry]]),
        worth=placement.weights.scales * np.float32(largest),
        block_rows=placement.weights.block_rows,
        seed=placement.seed,
        layer=placement.layer,
    )


def _book(weights: ArrayWeights) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The weights in steps of their scales: all that occur, and which of them each weight is."""
    if weights.codebook is not None:
        return weights.codebook.astype(np.float64), weights.codes.astype(np.intp)
    codes = weights.codes.astype(np.intp)
    reach = int(np.abs(codes).max())
    return np.arange(-reach, reach + 1, dtype=np.float64), codes + reach

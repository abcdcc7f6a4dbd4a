"""The noise of conversions: many normal figures, cheaply, and the same ones on every path.

65,536 equally likely normal quantiles are shuffled into a table, and shuffled otherwise for every
multiplication. The columns that are converted together take figures that stand side by side in it,
from a place of their own that is drawn at random. So a column's figures, from one conversion to the
next, are independent draws from the quantiles; those of two columns are uncorrelated but for what
chance is in one shuffling (0.4 %), which the next one has not. It costs a tenth of figures that
are drawn one by one, and an emulator would spend most of its time on those.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 1 << 16
GAMMA, MIX_ONE, MIX_TWO = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


class ReadNoise:
    """The noise of one multiplication."""

    def __init__(self, generator: np.random.Generator) -> None:
        """Draw everything from a generator; nothing before it is asked for."""
        self._generator = generator
        self._order: NDArray[np.int64] | None = None
        self._tables: dict[tuple[float, int], NDArray[np.float32]] = {}
        self._windows: dict[tuple[float, int], NDArray[np.float32]] = {}

    def figures(self, shape: tuple[int, ...], sigma: float) -> NDArray[np.float32]:
        """Normal figures [..., columns] of standard deviation sigma; at most 4.3 sigma large."""
        if (sigma, shape[-1]) not in self._windows:
            self._windows[sigma, shape[-1]] = _windows(self.table(sigma, shape[-1]), shape[-1])
        found: NDArray[np.float32] = self._windows[sigma, shape[-1]][self.places(shape[:-1])]
        return found

    def places(self, shape: tuple[int, ...]) -> NDArray[np.uint16]:
        """Where the figures of rows of columns begin in the table."""
        return self._generator.integers(0, LEVELS, shape, np.uint16)

    def table(self, sigma: float, width: int) -> NDArray[np.float32]:
        """All figures in this multiplication's order, the first `width` once more at the end."""
        if (sigma, width) not in self._tables:
            table = quantiles(sigma)[self._shuffled_order()]
            self._tables[sigma, width] = np.concatenate([table, np.resize(table, width)])
        return self._tables[sigma, width]

    def _shuffled_order(self) -> NDArray[np.int64]:
        """Another order each time: every k-th of one shuffling, k odd and at random."""
        if self._order is None:
            step = 2 * int(self._generator.integers(0, LEVELS // 2)) + 1
            self._order = _order()[np.arange(LEVELS) * step % LEVELS]
        return self._order


def read_noise(
    generator: np.random.Generator, shape: tuple[int, ...], sigma: float
) -> NDArray[np.float32]:
    """Normal figures [..., columns] of standard deviation sigma, as of one multiplication."""
    return ReadNoise(generator).figures(shape, sigma)


def row_noise(places: NDArray[Any], width: int) -> NDArray[np.float32]:
    """Standard normal figures for rows: [rows, width], always the same for the same places.

    Args:
        places: [rows] whole numbers from 0 to 65,535.
        width: Figures of a row.
    """
    found: NDArray[np.float32] = _windows(shuffled(width), width)[places]
    return found


def _windows(table: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Every row of `width` neighbours, as a view."""
    return np.lib.stride_tricks.sliding_window_view(table, width)


@lru_cache(maxsize=16)
def shuffled(width: int) -> NDArray[np.float32]:
    """The unit quantiles in the first order, the first `width` once more at the end."""
    table = quantiles(1.0)[_order()]
    return np.concatenate([table, np.resize(table, width)])


def places_of(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A place in the table for each key, in place of it: SplitMix64 (Steele et al., 2014)."""
    keys += np.uint64(GAMMA)
    for shift, factor in ((30, MIX_ONE), (27, MIX_TWO), (31, None)):
        keys ^= keys >> np.uint64(shift)
        if factor is not None:
            keys *= np.uint64(factor)
    return np.right_shift(keys, np.uint64(48), out=keys)


@lru_cache(maxsize=1)
def _order() -> NDArray[np.int64]:
    return np.random.Generator(np.random.PCG64(0)).permutation(LEVELS)


@lru_cache(maxsize=8)
def quantiles(sigma: float) -> NDArray[np.float32]:
    """The 65,536 figures that a noise of this standard deviation takes, rising."""
    return (_unit_quantiles() * sigma).astype(np.float32)


@lru_cache(maxsize=1)
def _unit_quantiles() -> NDArray[np.float64]:
    """Quantiles at the middle of each of the equal shares, scaled to unit variance."""
    from statistics import NormalDist  # noqa: PLC0415 - only noisy converters need it

    normal = NormalDist()
    upper = np.array(
        [normal.inv_cdf(0.5 + (i + 0.5) / LEVELS) for i in range(LEVELS // 2)], np.float64
    )
    both = np.concatenate([-upper[::-1], upper])
    found: NDArray[np.float64] = both / both.std()
    return found

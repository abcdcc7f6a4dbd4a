"""The noise of conversions: many normal figures, cheaply, and the same ones on every path.

A block of conversions draws one word from the caller's generator, its *key*. Conversion i of the
block then has the 16 bits i mod 4 of the word

    splitmix64(key + (i div 4 + 1) · gamma)                Steele, Lea and Flood, OOPSLA 2014

and its noise is the one of 65,536 equally likely normal quantiles that these bits name. So each
figure can be had alone: a compiled kernel looks up only those that can change a code, and finds
the very figures that NumPy finds for all.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_models.workspace import Workspace

LEVELS = 1 << 16
GAMMA, MIX_ONE, MIX_TWO = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_LANES = 4


def new_key(generator: np.random.Generator) -> int:
    """The key of one block of conversions."""
    return int(generator.integers(0, 1 << 64, dtype=np.uint64))


def read_noise(
    generator: np.random.Generator,
    shape: tuple[int, ...],
    sigma: float,
    work: Workspace | None = None,
) -> NDArray[np.float32]:
    """Independent normal figures of standard deviation sigma; the outermost are at 4.3 sigma.

    Args:
        generator: One word is drawn from it.
        shape: Of the result; figures follow each other in the order of memory.
        sigma: Standard deviation.
        work: The result lies in it until it is asked for noise again; None: in memory of its own.
    """
    work = work or Workspace()
    size = int(np.prod(shape))
    picks = _words(new_key(generator), -(-size // _LANES), work).view("<u2")[:size]
    found = work.array("noise", (size,), np.float32)
    np.take(quantiles(sigma), picks, mode="clip", out=found)
    return found.reshape(shape)


def row_noise(places: NDArray[Any], width: int) -> NDArray[np.float32]:
    """Standard normal figures for rows: [rows, width], the same for the same places.

    A row's figures stand side by side in a shuffled table of the quantiles, from its place on: ten
    times as cheap as one by one. Each is normal; two of one row, or of two rows whose places are
    independent, are uncorrelated but for some parts in a thousand of chance in the shuffling.

    Args:
        places: [rows] whole numbers from 0 to 65,535.
        width: Figures of a row.
    """
    rows = np.lib.stride_tricks.sliding_window_view(shuffled(width), width)
    found: NDArray[np.float32] = rows[places]
    return found


@lru_cache(maxsize=16)
def shuffled(width: int) -> NDArray[np.float32]:
    """The quantiles in an order without meaning, the first ones once more at the end."""
    table = np.random.Generator(np.random.PCG64(0)).permutation(quantiles(1.0))
    return np.concatenate([table, np.resize(table, width)])


def places_of(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A place in the table for each key, in place of it."""
    keys += np.uint64(GAMMA)
    _mix(keys, np.empty_like(keys))
    return np.right_shift(keys, np.uint64(48), out=keys)


def _words(key: int, count: int, work: Workspace) -> NDArray[np.uint64]:
    """The first words of a key."""
    found = work.array("words", (count,), np.uint64)
    spare = work.array("spare words", (count,), np.uint64)
    np.multiply(_counters(count), np.uint64(GAMMA), out=found)
    np.add(found, np.uint64(key), out=found)
    _mix(found, spare)
    return found


def _mix(words: NDArray[np.uint64], spare: NDArray[np.uint64]) -> None:
    """Turn counters into words, in place."""
    for shift, factor in ((30, MIX_ONE), (27, MIX_TWO), (31, None)):
        np.right_shift(words, np.uint64(shift), out=spare)
        np.bitwise_xor(words, spare, out=words)
        if factor is not None:
            np.multiply(words, np.uint64(factor), out=words)


@lru_cache(maxsize=4)
def _counters(count: int) -> NDArray[np.uint64]:
    return np.arange(1, count + 1, dtype=np.uint64)


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

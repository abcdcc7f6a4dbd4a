"""Weight schemes: from float weights to codes and scales, and back.

Weights are [groups, d, outputs]; see `calib.graph.linear`. A registry of pure functions: a scheme
is its bits and how it finds codes and scales.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.errors import CalibError

FloatArray = NDArray[np.floating]
NF4_BLOCK_ROWS = 64
NF4_LEVELS = np.array(
    [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ],
    np.float32,
)
"""NormalFloat-4, quantiles of a normal distribution with an exact zero (arXiv 2305.14314, E)."""


@dataclass(frozen=True)
class QuantisedWeights:
    """A layer's weights as codes; weight = level(code) × scale of its block."""

    codes: NDArray[np.int8]
    """[groups, d, outputs]: signed integers, or indices into the codebook."""

    scales: NDArray[np.float32]
    """[groups, blocks, outputs]"""

    block_rows: int
    """Rows that share a scale; the last block may be shorter."""

    bits: int
    codebook: NDArray[np.float32] | None = None

    def values(self) -> NDArray[np.float32]:
        """The weights that the codes stand for: [groups, d, outputs]."""
        levels = self.codes.astype(np.float32)
        if self.codebook is not None:
            levels = self.codebook[self.codes]
        rows = np.arange(self.codes.shape[1]) // self.block_rows
        return levels * self.scales[:, rows]

    @property
    def bytes(self) -> int:
        """What codes (packed) and scales take in a bundle."""
        return (self.codes.size * self.bits + 7) // 8 + self.scales.nbytes


_SMALLEST = 256 * float(np.finfo(np.float32).tiny)
"""Weights of which none is larger count as zero: a step of theirs would have lost its digits."""


def _symmetric(weight: FloatArray, bits: int, largest: FloatArray) -> QuantisedWeights:
    limit = 2 ** (bits - 1) - 1
    scales = (np.where(largest > _SMALLEST, largest, limit) / limit).astype(np.float32)
    codes = np.clip(np.rint(weight / scales), -limit, limit).astype(np.int8)
    return QuantisedWeights(codes, scales, max(weight.shape[1], 1), bits)


def per_channel(bits: int) -> Callable[[FloatArray], QuantisedWeights]:
    """Symmetric, one scale for each output channel, its largest weight at the end of the range."""

    def quantise(weight: FloatArray) -> QuantisedWeights:
        return _symmetric(weight, bits, np.abs(weight).max(axis=1, keepdims=True))

    return quantise


def per_tensor(bits: int) -> Callable[[FloatArray], QuantisedWeights]:
    """Symmetric, one scale for the whole layer: deliberately coarse."""

    def quantise(weight: FloatArray) -> QuantisedWeights:
        groups, _, outputs = weight.shape
        largest = np.broadcast_to(np.abs(weight).max(), (groups, 1, outputs))
        return _symmetric(weight, bits, largest)

    return quantise


def nf4(weight: FloatArray) -> QuantisedWeights:
    """The nearest of NormalFloat-4's levels, scaled by the largest weight of 64 along a filter."""
    rows = weight.shape[1]
    starts = np.arange(0, rows, NF4_BLOCK_ROWS)
    largest = np.maximum.reduceat(np.abs(weight), starts, axis=1)
    scales = np.where(largest > _SMALLEST, largest, 1.0).astype(np.float32)
    relative = weight / scales[:, np.arange(rows) // NF4_BLOCK_ROWS]
    middles = (NF4_LEVELS[1:] + NF4_LEVELS[:-1]) / 2
    codes = np.searchsorted(middles, relative).astype(np.int8)
    return QuantisedWeights(codes, scales, NF4_BLOCK_ROWS, 4, NF4_LEVELS)


@dataclass(frozen=True)
class Scheme:
    """How the main path's weights are stored."""

    name: str
    bits: int
    quantise: Callable[[FloatArray], QuantisedWeights]
    summary: str


FLOAT = "float"
"""The name of a bundle whose weights are to be quantised at installation."""

SCHEMES: Mapping[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme("int8", 8, per_channel(8), "8 bits, one scale per output channel"),
        Scheme("int4", 4, per_channel(4), "4 bits, one scale per output channel"),
        Scheme("int4-tensor", 4, per_tensor(4), "4 bits, one scale per layer"),
        Scheme("nf4", 4, nf4, "NormalFloat-4, a scale for each 64 weights of a filter"),
    )
}


def scheme_named(name: str) -> Scheme:
    """Look a scheme up.

    Raises:
        CalibError: there is none of that name.
    """
    if name not in SCHEMES:
        raise CalibError(
            f"there is no scheme {name!r}; choose one of {', '.join((*SCHEMES, FLOAT))}"
        )
    return SCHEMES[name]

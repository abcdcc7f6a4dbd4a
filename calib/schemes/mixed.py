"""A layer whose input channels have levels: few bits for some, more for others.

A level is a number of bits, for the weights that read a channel and for the channel's activations.
The channels of one level stand together, so that a layer is one product for each level:

    y = Σ over levels  scale · Σ over the level's rows  (q − zero_point) · (code + centre)
    q = clip(round(x / step) + zero_point, 0, 2^bits − 1)

Each channel has its own step; weights are multiplied by it before they are rounded, so that behind
the product there is one scale for each output and level. Codes are two's complement; those of fewer
than 4 bits stand for code + ½, so that one bit is −½ or ½ and no code is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from calib.errors import CalibError

Float32 = NDArray[np.float32]
LARGEST_LEVELS = 3
SMALLEST_BITS, LARGEST_BITS = 1, 8
CENTRED_BITS = 3
"""Codes of so many bits or fewer stand for code + ½."""


def centre_of(bits: int) -> float:
    """What is added to codes of so many bits."""
    return 0.5 if bits <= CENTRED_BITS else 0.0


def checked_levels(levels: Sequence[int]) -> tuple[int, ...]:
    """Levels, ascending.

    Raises:
        CalibError: none, more than three, one twice, or one that is not 1 to 8 bits.
    """
    said = ",".join(map(str, levels)) or "none"
    if not 1 <= len(levels) <= LARGEST_LEVELS:
        raise CalibError(f"levels {said}: give one to {LARGEST_LEVELS} of them, such as 2,4,8")
    wrong = [bits for bits in levels if not SMALLEST_BITS <= bits <= LARGEST_BITS]
    if wrong:
        raise CalibError(
            f"levels {said}: {wrong[0]} is out of range, a level has {SMALLEST_BITS} to "
            f"{LARGEST_BITS} bits"
        )
    if len(set(levels)) < len(levels):
        raise CalibError(f"levels {said}: one stands there twice; leave it out")
    return tuple(sorted(levels))


@dataclass(frozen=True)
class Level:
    """The channels of one level, and the weights that read them."""

    bits: int
    channels: NDArray[np.intp]
    """[c], ascending: places within each group of the layer."""

    zero_point: int
    steps: Float32
    """[groups, c]: of the activations' codes."""

    codes: NDArray[np.int8]
    """[groups, taps · c, m]: rows run over taps, then over the level's channels."""

    scales: Float32
    """[groups, m]"""

    @property
    def centre(self) -> float:
        """What is added to each code."""
        return centre_of(self.bits)

    @property
    def highest(self) -> int:
        """The largest activation code."""
        return int(2**self.bits - 1)

    def encode(self, x: Float32, steps: Float32) -> NDArray[np.uint8]:
        """Values of the level's channels to codes; steps are brought into a shape that fits x."""
        with np.errstate(over="ignore", under="ignore"):  # beyond the range, or zero: all the same
            codes = x * (np.float32(1) / steps)
        codes += np.float32(self.zero_point)
        np.rint(codes, out=codes)
        np.clip(codes, 0, self.highest, out=codes)
        return codes.astype(np.uint8)

    def encode_rows(self, rows: Float32, taps: int) -> NDArray[np.uint8]:
        """All of the layer's rows [..., groups, d] to codes [..., groups, taps · c]."""
        lead, groups = rows.shape[:-2], rows.shape[-2]
        split = rows.reshape(*lead, groups, taps, -1)[..., self.channels]
        return self.encode(split, self.steps[:, None]).reshape(*lead, groups, -1)

    def levels(self) -> Float32:
        """The weights in scales: code + centre."""
        return self.codes.astype(np.float32) + np.float32(self.centre)


@dataclass(frozen=True)
class MixedLayer:
    """One linear layer, its channels split into levels."""

    taps: int
    """Of the kernel: each channel has so many rows."""

    levels: tuple[Level, ...]
    """Each with at least one channel, the fewest bits first."""

    @property
    def channels(self) -> int:
        """Input channels of each group."""
        return sum(len(level.channels) for level in self.levels)

    @property
    def weights(self) -> int:
        """How many there are."""
        return sum(level.codes.size for level in self.levels)

    @cached_property
    def level_of(self) -> NDArray[np.uint8]:
        """[channels]: each channel's place in `levels`."""
        found = np.zeros(self.channels, np.uint8)
        for place, level in enumerate(self.levels):
            found[level.channels] = place
        return found

    @property
    def bits_mean(self) -> float:
        """Mean bits of a weight; scales and steps are not counted."""
        return sum(level.codes.size * level.bits for level in self.levels) / self.weights

    @property
    def bit_operations(self) -> int:
        """Weight bits times activation bits, summed over the weights."""
        return sum(level.codes.size * level.bits**2 for level in self.levels)

    @property
    def limits(self) -> tuple[Float32, Float32]:
        """[groups · d], beside rows laid out so: as `ActivationCode.limits`, of each channel."""
        groups = len(self.levels[0].steps)
        ends = np.empty((2, groups, self.taps, self.channels), np.float32)
        for level in self.levels:
            for end, code in zip(ends, (-0.5, level.highest + 0.5), strict=True):
                end[..., level.channels] = (code - level.zero_point) * level.steps[:, None]
        return ends[0].reshape(-1), ends[1].reshape(-1)

    def values(self) -> Float32:
        """The weights that stand for the codes, rows as in the layer: [groups, d, m]."""
        groups, _, outputs = self.levels[0].codes.shape
        found = np.empty((groups, self.taps, self.channels, outputs), np.float32)
        for level in self.levels:
            worth = level.levels() * level.scales[:, None]
            split = worth.reshape(groups, self.taps, -1, outputs)
            found[:, :, level.channels] = split / level.steps[:, None, :, None]
        return found.reshape(groups, -1, outputs)

    def rounded(self, rows: Float32) -> Float32:
        """Rows [..., groups, d] as the main path sees them."""
        shape = (*rows.shape[:-1], self.taps, self.channels)
        found = np.empty(shape, np.float32)
        for level in self.levels:
            codes = level.encode_rows(rows, self.taps).astype(np.float32)
            codes -= np.float32(level.zero_point)
            split = codes.reshape(*shape[:-1], -1)
            found[..., level.channels] = split * level.steps[:, None]
        return found.reshape(rows.shape)

"""The seam between a runtime and the emulated array: write a layer into a chip, then multiply.

A `Chip` is a device model and a seed; `program` writes one layer's `ArrayWeights` into it and
returns an `Array`. The same model, seed and layer name are always the same cells, whatever else
was programmed before, at every age and temperature. What differs from one multiplication to the
next (read noise) comes from the generator that `Array.multiply` is given, and from nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from device_models.errors import DeviceModelError
from device_models.registry import DeviceModel, kind_of

ABSOLUTE_ZERO_C = -273.15


@dataclass(frozen=True)
class ArrayWeights:
    """One linear layer as it is written into the array.

    Raises:
        DeviceModelError: shapes, types or codes that do not fit each other.
    """

    codes: NDArray[np.int8]
    """[groups, d, m]: signed integers, or indices into the codebook."""

    scales: NDArray[np.float32]
    """[groups, blocks, m]: what one step of a code is worth, for each block of rows."""

    block_rows: int
    """Block b covers the rows from b·block_rows on; there are ceil(d / block_rows) blocks."""

    bits: int
    """Two's-complement bits of the codes; with a codebook, the bits of an index."""

    codebook: NDArray[np.float32] | None = None
    """[at most 2^bits]: a weight is codebook[code] · scale."""

    def __post_init__(self) -> None:
        """Refuse at the door what would only fail deep inside."""
        _check_layout(self)
        _check_codes(self)

    @property
    def blocks(self) -> int:
        """How many scales each column has."""
        return math.ceil(int(self.codes.shape[1]) / self.block_rows)

    def values(self) -> NDArray[np.float32]:
        """The nominal weights [groups, d, m]."""
        scale: NDArray[np.float32] = spread(self.scales, self.block_rows, self.codes.shape[1])
        if self.codebook is None:
            return self.codes.astype(np.float32) * scale
        return self.codebook[self.codes].astype(np.float32) * scale


def spread(scales: NDArray[Any], block_rows: int, rows: int) -> NDArray[Any]:
    """Scales [groups, blocks, m] row by row: [groups, rows, m]; of one block [groups, 1, m]."""
    if scales.shape[1] == 1:
        return scales
    return np.repeat(scales, block_rows, axis=1)[:, :rows]


@dataclass(frozen=True)
class State:
    """The conditions a chip is in."""

    age_s: float = 0.0
    """Seconds since the weights were written."""

    temperature_c: float = 25.0

    def __post_init__(self) -> None:
        """Refuse an age or a temperature that cannot be."""
        if not (math.isfinite(self.age_s) and self.age_s >= 0):
            raise DeviceModelError(f"an age of {self.age_s} s: give a finite number of at least 0")
        if not (math.isfinite(self.temperature_c) and self.temperature_c > ABSOLUTE_ZERO_C):
            raise DeviceModelError(
                f"a temperature of {self.temperature_c} C: "
                f"give a finite one above {ABSOLUTE_ZERO_C}"
            )


@dataclass(frozen=True)
class Chip:
    """One emulated chip: what it is made of, and which one of its kind it is."""

    model: DeviceModel
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a seed that names no chip."""
        if self.seed < 0:
            raise DeviceModelError(f"chip seed {self.seed}: give a whole number of at least 0")


class Array(Protocol):
    """A layer in the array."""

    def multiply(
        self, codes: NDArray[np.uint8], zero_point: int, generator: np.random.Generator
    ) -> NDArray[np.float32]:
        """Multiply rows of activations with the weights, as this chip computes it.

        Args:
            codes: [n, groups, d] unsigned activations of `input_bits` bits.
            zero_point: The code that stands for zero.
            generator: Where read noise is drawn from; a noiseless chip draws nothing.

        Returns:
            [n, groups, m]: the sum over d of (code - zero_point) · weight.

        Raises:
            DeviceModelError: codes of another type, shape or range than the array was made for.
        """
        ...


@dataclass(frozen=True)
class Placement:
    """What a kind of device model needs to know to become the array of one layer."""

    seed: int
    state: State
    layer: str
    weights: ArrayWeights
    input_bits: int


def program(chip: Chip, state: State, layer: str, weights: ArrayWeights, input_bits: int) -> Array:
    """Write a layer into a chip.

    Args:
        chip: Which chip.
        state: Its age and temperature when it will multiply.
        layer: The layer's name; it decides, with the seed, which cells the layer gets.
        weights: What is written.
        input_bits: Width of the activations, 1 to 8.

    Raises:
        DeviceModelError: input bits that no 8-bit code has.
    """
    if not 1 <= input_bits <= 8:
        raise DeviceModelError(f"layer {layer}: {input_bits} input bits; an array takes 1 to 8")
    placement = Placement(chip.seed, state, layer, weights, input_bits)
    array: Array = kind_of(chip.model).program(chip.model, placement)
    return array


def check_inputs(codes: NDArray[np.uint8], shape: tuple[int, int], input_bits: int) -> None:
    """Refuse activations that an array of [groups, d] = shape cannot take.

    Raises:
        DeviceModelError: another type, shape or range.
    """
    if codes.dtype != np.uint8 or codes.ndim != 3 or codes.shape[1:] != shape:
        raise DeviceModelError(
            f"activations are {codes.dtype} {list(codes.shape)}; "
            f"the array takes uint8 [n, {shape[0]}, {shape[1]}]"
        )
    if input_bits < 8 and codes.size and int(codes.max()) >> input_bits:
        raise DeviceModelError(
            f"an activation code of {int(codes.max())} does not fit {input_bits} bits; "
            "quantise the activations to the width the array was made for"
        )


def _check_layout(weights: ArrayWeights) -> None:
    codes, scales = weights.codes, weights.scales
    if codes.dtype != np.int8 or codes.ndim != 3 or 0 in codes.shape:
        raise DeviceModelError(
            f"weight codes are {codes.dtype} {list(codes.shape)}; needed: int8 [groups, d, m]"
        )
    if weights.block_rows < 1:
        raise DeviceModelError(f"blocks of {weights.block_rows} rows; a block has at least one")
    groups, _, outputs = codes.shape
    needed = (groups, weights.blocks, outputs)
    if scales.dtype != np.float32 or scales.shape != needed or not np.isfinite(scales).all():
        raise DeviceModelError(
            f"scales are {scales.dtype} {list(scales.shape)}; needed: finite float32 "
            f"{list(needed)}, one for each block of {weights.block_rows} rows"
        )


def _check_codes(weights: ArrayWeights) -> None:
    if not 2 <= weights.bits <= 8:
        raise DeviceModelError(f"weights of {weights.bits} bits; an array holds 2 to 8")
    low, high = -(1 << (weights.bits - 1)), (1 << (weights.bits - 1)) - 1
    if weights.codebook is not None:
        book = weights.codebook
        if book.ndim != 1 or not 1 <= len(book) <= 1 << weights.bits or not np.isfinite(book).all():
            raise DeviceModelError(
                f"a codebook of {list(book.shape)} for {weights.bits}-bit codes; "
                f"needed: 1 to {1 << weights.bits} finite weights"
            )
        low, high = 0, len(book) - 1
    least, most = int(weights.codes.min()), int(weights.codes.max())
    if least < low or most > high:
        raise DeviceModelError(
            f"weight codes from {least} to {most}; {weights.bits} bits allow {low} to {high}"
        )

"""Bit-plane arrays that need no planes computed, because one product gives the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_models.contract import check_inputs
from device_models.memories.product import exact_dtype
from device_models.sram.converter import converter
from device_models.sram.periphery import FRACTION, LOSSLESS, Periphery
from device_models.sram.plane_array import digital
from device_models.sram.planes import Written, plane_values, slices
from device_models.sram.silicon import TileCells


@dataclass(frozen=True)
class LosslessArray:
    """No analog effect and a code for every count: the exact product of whole numbers."""

    written: Written
    blocks: tuple[NDArray[Any], ...]
    """The integers of each block, in a type that makes the product exact."""

    input_bits: int

    def multiply(
        self,
        codes: NDArray[np.uint8],
        zero_point: int,
        generator: np.random.Generator,  # noqa: ARG002  # the contract's; nothing is random here
    ) -> NDArray[np.float32]:
        """See `Array.multiply`."""
        check_inputs(codes, self.written.integers.shape[:2], self.input_bits)
        rows = codes.swapaxes(0, 1)
        sums = (
            (block, np.matmul(rows[:, :, part].astype(matrix.dtype), matrix).astype(np.float64))
            for block, (part, matrix) in enumerate(
                zip(self.written.blocks, self.blocks, strict=True)
            )
        )
        result = digital(self.written, sums, zero_point).swapaxes(0, 1)
        return np.ascontiguousarray(result, dtype=np.float32)


def is_lossless(model: Periphery) -> bool:
    """Whether the converter passes on every whole count that the rows can give."""
    if model.adc_bits is None:
        return True
    if model.adc_range not in {FRACTION, LOSSLESS}:
        return False
    chain = converter(model.full_scale * model.most_counts, model.adc_bits, 0.0)
    assert chain.top_code is not None, "there is a converter"
    return chain.step_counts <= 1 and chain.top_code * chain.step_counts >= model.most_counts


def lossless_array(held: Written, input_bits: int) -> LosslessArray:
    """The array of a lossless converter without analog effects."""
    blocks = (held.integers[:, part] for part in held.blocks)
    exact = tuple(block.astype(exact_dtype(block, input_bits)) for block in blocks)
    return LosslessArray(held, exact, input_bits)


@dataclass(frozen=True)
class LinearArray:
    """No converter: a product with the weights that the chip effectively has."""

    matrix: NDArray[np.float32]
    """[groups, d, m]"""

    constant: NDArray[np.float32]
    """[groups, m]: what the column offsets add up to."""

    nominal_sums: NDArray[np.float32]
    """[groups, m]: what one step of the zero point takes off."""

    noise: NDArray[np.float32]
    """[groups, m]: standard deviation of the read noise of all conversions together."""

    input_bits: int

    def multiply(
        self, codes: NDArray[np.uint8], zero_point: int, generator: np.random.Generator
    ) -> NDArray[np.float32]:
        """See `Array.multiply`."""
        check_inputs(codes, self.matrix.shape[:2], self.input_bits)
        product = np.matmul(codes.swapaxes(0, 1).astype(np.float32), self.matrix)
        result = np.ascontiguousarray(product.swapaxes(0, 1))
        result += self.constant - np.float32(zero_point) * self.nominal_sums
        if self.noise.any():
            result += self.noise * generator.standard_normal(result.shape, dtype=np.float32)
        return result


def linear_array(
    held: Written,
    cells: Iterable[TileCells],
    read_noise_counts: float,
    input_bits: int,
    dac_bits: int,
) -> LinearArray:
    """The array without a converter.

    Each of a result's conversions adds its column's offset, the same for every input, and an
    independent normal noise; both weighted by 2^(p+q) and the tile's scale. Their sums are one
    constant and one normal noise of the summed variance: exact in value, and in distribution.
    """
    groups, inputs, outputs = held.integers.shape
    values = plane_values(held.bits)
    cut = slices(input_bits, dac_bits)
    input_values = cut.worth(cut.all).astype(np.float64)
    matrix = np.empty((groups, inputs, outputs), np.float32)
    constant = np.zeros((groups, outputs))
    variance = np.zeros((groups, outputs))
    for part in cells:
        scale = held.scales[:, part.tile.block]
        matrix[:, part.tile.rows] = np.einsum("grqm,q->grm", part.counts, values) * scale[:, None]
        constant += np.einsum("gqm,q->gm", part.offsets, values) * scale * input_values.sum()
        variance += scale.astype(np.float64) ** 2
    variance *= (values**2).sum() * (input_values**2).sum()
    return LinearArray(
        matrix=matrix,
        constant=constant.astype(np.float32),
        nominal_sums=nominal_sums(held).astype(np.float32),
        noise=(read_noise_counts * np.sqrt(variance)).astype(np.float32),
        input_bits=input_bits,
    )


def nominal_sums(held: Written) -> NDArray[np.float64]:
    """Each column's sum of nominal weights [groups, m]."""
    blocks = (held.integers[:, part].sum(axis=1, dtype=np.int64) for part in held.blocks)
    worth = (block * held.scales[:, b].astype(np.float64) for b, block in enumerate(blocks))
    total: NDArray[np.float64] = np.sum(list(worth), axis=0)
    return total

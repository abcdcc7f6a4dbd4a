"""Static errors of the converters at the foot of the columns, each column's own.

*Bow*: a sum S of a range up to T is seen as S + a · 4 u (1 - u), u = S / T: the lowest order of an
integral non-linearity, zero at both ends and a steps in the middle.

*Capacitors* of a successive-approximation converter: bit b weighs 2^b + sigma ε 2^(b/2) unit
capacitors instead of 2^b, as in CrossSim. From the top bit down, a bit is set where the sum still
reaches what is set with it; codes count as if the weights were right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.contract import Placement
from device_models.sram.periphery import Periphery
from device_models.streams import normals


@dataclass(frozen=True)
class ColumnErrors:
    """What is wrong with the converters of one row tile."""

    bow: NDArray[np.float32] | None = None
    """[groups, 1, columns]: a, in steps."""

    capacitors: NDArray[np.float32] | None = None
    """[bits, groups, 1, columns]: the weight of each bit, in steps, the lowest first."""

    def bend(self, sums: NDArray[np.float32], top_code: int) -> None:
        """Add the bow to sums [groups, n, columns], in place; none outside the range."""
        assert self.bow is not None, "there is no bow"
        share = np.clip(sums * np.float32(1 / top_code), 0, 1)
        share *= np.float32(1) - share
        share *= np.float32(4) * self.bow
        sums += share

    def approximated(self, sums: NDArray[np.float32]) -> NDArray[np.float32]:
        """The codes that a successive approximation finds for sums [groups, n, columns]."""
        assert self.capacitors is not None, "there are no capacitors"
        left = sums + np.float32(0.5)
        codes = np.zeros_like(sums)
        for bit in range(len(self.capacitors) - 1, -1, -1):
            weight = self.capacitors[bit]
            kept = left >= weight
            np.subtract(left, weight, out=left, where=kept)
            codes += kept * np.float32(1 << bit)
        return codes


NO_ERRORS = ColumnErrors()


@dataclass(frozen=True)
class ErrorSizes:
    """How large the errors of converters of so many bits are."""

    bits: int
    inl_steps: float
    """Standard deviation of a, in steps."""

    sar_sigma: float
    """Sigma, in unit capacitors."""


def column_errors(
    model: Periphery, placement: Placement, tiles: int, shape: tuple[int, int, int]
) -> tuple[ColumnErrors, ...]:
    """The converters of a layer, tile by tile.

    Args:
        model: How large the errors are.
        placement: Whose they are.
        tiles: How many row tiles the layer has.
        shape: [groups, planes, m] of a tile's columns.
    """
    if model.adc_bits is None:
        return (NO_ERRORS,) * tiles
    columns = (shape[0], shape[1] * shape[2])
    sizes = ErrorSizes(model.adc_bits, model.inl_steps, model.sar_sigma)
    return drawn_errors(sizes, placement, tiles, columns)


def drawn_errors(
    sizes: ErrorSizes, placement: Placement, tiles: int, shape: tuple[int, int]
) -> tuple[ColumnErrors, ...]:
    """The converters of a layer, tile by tile.

    Args:
        sizes: How large the errors are.
        placement: Whose they are.
        tiles: How many row tiles the layer has.
        shape: [groups, columns] of a tile.
    """
    if not (sizes.inl_steps or sizes.sar_sigma):
        return (NO_ERRORS,) * tiles
    groups, columns = shape
    bows = _drawn(placement, "converter bow", (tiles, groups, 1, columns))
    bows *= np.float32(sizes.inl_steps)
    bits = np.arange(sizes.bits, dtype=np.float32)[:, None, None, None]
    weights = _drawn(placement, "SAR capacitors", (tiles, sizes.bits, groups, 1, columns))
    weights *= np.float32(sizes.sar_sigma) * np.exp2(bits / 2)
    weights += np.exp2(bits)
    return tuple(
        ColumnErrors(
            bows[tile] if sizes.inl_steps else None,
            weights[tile] if sizes.sar_sigma else None,
        )
        for tile in range(tiles)
    )


def _drawn(placement: Placement, effect: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return normals(placement.seed, placement.layer, effect, shape)

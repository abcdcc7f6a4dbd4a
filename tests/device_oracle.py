"""A bit-plane array computed bit by bit in plain loops: slow, and written from the formula alone.

Only the random figures themselves come from the code under test (`normals`): what is checked is
everything that is made of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.array import ArrayWeights, Chip, State
from device_models.bitplane_model import BitPlaneSram
from device_models.streams import normals

NEAR_TIE_STEPS = 1e-3


@dataclass(frozen=True)
class Answer:
    """What the oracle computed."""

    result: NDArray[np.float64]
    """[n, groups, m]"""

    slack: NDArray[np.float64]
    """How much of it hangs on a sum so near to a rounding limit that float32 may differ."""


def integers_of(weights: ArrayWeights) -> tuple[NDArray[np.int64], int, NDArray[np.float64]]:
    """Whole numbers, their bits, their scales."""
    if weights.codebook is None:
        return weights.codes.astype(np.int64), weights.bits, weights.scales.astype(float)
    reach = float(np.abs(weights.codebook).max())
    book = np.array([round(127 * float(value) / reach) for value in weights.codebook])
    return book[weights.codes], 8, weights.scales.astype(float) * reach / 127


def tile_starts(rows: int, height: int, block_rows: int) -> list[int]:
    """First row of each tile, found by walking down the rows."""
    starts = []
    for row in range(rows):
        if row % block_rows == 0 or row - starts[-1] == height:
            starts.append(row)
    return starts


def bitplane(
    chip: Chip,
    state: State,
    layer: str,
    weights: ArrayWeights,
    codes: NDArray[np.uint8],
    zero_point: int,
    input_bits: int,
) -> Answer:
    """The noiseless array of the formula."""
    model = chip.model
    assert isinstance(model, BitPlaneSram)
    integers, bits, scales = integers_of(weights)
    groups, inputs, outputs = integers.shape
    starts = tile_starts(inputs, model.rows, weights.block_rows)
    heat = state.temperature_c - 25.0

    def drawn(effect: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return normals(chip.seed, layer, effect, shape).astype(float)

    own = model.cell_sigma * drawn("cell current", (groups, inputs, bits, outputs))
    warm = drawn("cell temperature", (groups, inputs, bits, outputs))
    own += model.temperature_spread_per_k * heat * warm
    currents = np.maximum(1 + own, 0) * max(0.0, 1 + model.temperature_gain_per_k * heat)
    columns = (groups, len(starts), bits, outputs)
    gains = np.maximum(1 + model.column_gain_sigma * drawn("column gain", columns), 0)
    offsets = model.column_offset_counts * drawn("column offset", columns)

    result = np.zeros((len(codes), groups, outputs))
    slack = np.zeros_like(result)
    for g, t, j, n in np.ndindex(groups, len(starts), outputs, len(codes)):
        stop = starts[t + 1] if t + 1 < len(starts) else inputs
        scale = scales[g, starts[t] // weights.block_rows, j]
        for p, q in np.ndindex(input_bits, bits):
            total = 0.0
            for i in range(starts[t], stop):
                if (int(codes[n, g, i]) >> p) & 1 and (int(integers[g, i, j]) >> q) & 1:
                    total += currents[g, i, q, j]
            total = total * gains[g, t, q, j] + offsets[g, t, q, j]
            worth = scale * 2.0 ** (p + q) * (-1 if q == bits - 1 else 1)
            converted, doubt = convert(model, total)
            result[n, g, j] += worth * converted
            slack[n, g, j] += abs(worth) * doubt
        column = sum(int(integers[g, i, j]) for i in range(starts[t], stop))
        result[n, g, j] -= scale * zero_point * column
    return Answer(result, slack)


def convert(model: BitPlaneSram, total: float) -> tuple[float, float]:
    """The converted sum in counts, and the step if the sum lies near a rounding limit."""
    if model.adc_bits is None:
        return total, 0.0
    span = model.full_scale * model.rows
    step = span / (2**model.adc_bits - 1)
    if step <= 1:
        step = 2.0 ** math.ceil(math.log2(step))
    top = math.floor(span / step + 1e-9)
    code = min(max(round(total / step), 0), top)
    near = abs(total / step - math.floor(total / step) - 0.5) < NEAR_TIE_STEPS
    return code * step, step if near else 0.0

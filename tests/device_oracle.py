"""A bit-plane array computed bit by bit in plain loops: slow, and written from the formula alone.

Only the random figures themselves come from the code under test (`normals`): what is checked is
everything that is made of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.array import ArrayWeights, Chip, State
from device_models.sram.bitplane_model import BitPlaneSram
from device_models.sram.periphery import Periphery
from device_models.streams import normals, stream

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
    assert isinstance(model, Periphery)
    integers, bits, scales = integers_of(weights)
    groups, inputs, outputs = integers.shape
    starts = tile_starts(inputs, model.rows, weights.block_rows)
    drawn = Drawn(chip.seed, layer)
    cells = drawn.cells(model, state, (groups, inputs, bits, outputs))
    stored = drawn.stored(model, integers, bits)
    columns = (groups, len(starts), bits, outputs)
    gains = np.maximum(1 + model.column_gain_sigma * drawn("column gain", columns), 0)
    offsets = model.column_offset_counts * drawn("column offset", columns)
    chain = drawn.converters(model, len(starts), (groups, bits, outputs))

    result = np.zeros((len(codes), groups, outputs))
    slack = np.zeros_like(result)
    slices = math.ceil(input_bits / model.dac_bits)
    for g, t, j, n in np.ndindex(groups, len(starts), outputs, len(codes)):
        stop = starts[t + 1] if t + 1 < len(starts) else inputs
        scale = scales[g, starts[t] // weights.block_rows, j]
        for p, q in np.ndindex(slices, bits):
            total = far = 0.0
            for i in range(starts[t], stop):
                driven = (int(codes[n, g, i]) >> (p * model.dac_bits)) % 2**model.dac_bits
                adds = driven * stored[g, i, q, j] * cells[g, i, q, j] * gains[g, t, q, j]
                total += adds
                far += adds * (i - starts[t] + 0.5) / model.rows
            total += offsets[g, t, q, j]
            total -= model.ir_drop * total / model.most_counts * far
            worth = scale * 2.0 ** (p * model.dac_bits + q) * (-1 if q == bits - 1 else 1)
            converted, doubt = chain(total, (t, g, q * outputs + j))
            result[n, g, j] += worth * converted
            slack[n, g, j] += abs(worth) * doubt
        column = sum(int(integers[g, i, j]) for i in range(starts[t], stop))
        result[n, g, j] -= scale * zero_point * column
    return Answer(result, slack)


@dataclass(frozen=True)
class Drawn:
    """The random figures of one layer of one chip."""

    seed: int
    layer: str

    def __call__(self, effect: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return normals(self.seed, self.layer, effect, shape).astype(float)

    def cells(self, model: Periphery, state: State, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """What each cell adds, of plain cells."""
        assert isinstance(model, BitPlaneSram)
        heat = state.temperature_c - 25.0
        own = model.cell_sigma * self("cell current", shape)
        own += model.temperature_spread_per_k * heat * self("cell temperature", shape)
        return np.maximum(1 + own, 0) * max(0.0, 1 + model.temperature_gain_per_k * heat)

    def stored(self, model: Periphery, integers: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
        """The bits that the cells hold: what was written, or what they are stuck at."""
        planes = np.stack([(integers >> q) & 1 for q in range(bits)], axis=2)
        lot = stream(self.seed, self.layer, "stuck cells").random(planes.shape, np.float32)
        planes[lot < model.stuck_at_zero] = 0
        planes[lot >= 1 - model.stuck_at_one] = 1
        return planes

    def converters(
        self, model: Periphery, tiles: int, shape: tuple[int, int, int]
    ) -> Callable[[float, tuple[int, int, int]], tuple[float, float]]:
        """The converters of all columns, numbered by tile, group and column."""
        groups, columns = shape[0], shape[1] * shape[2]
        bows = model.inl_steps * self("converter bow", (tiles, groups, 1, columns))
        count = model.adc_bits or 1
        weights = self("SAR capacitors", (tiles, count, groups, 1, columns))

        def convert_at(total: float, at: tuple[int, int, int]) -> tuple[float, float]:
            tile, group, column = at
            own = weights[tile, :, group, 0, column] * model.sar_sigma
            capacitors = [2**b + own[b] * 2 ** (b / 2) for b in range(count)]
            return convert(model, total, bows[tile, group, 0, column], capacitors)

        return convert_at


def convert(
    model: Periphery, total: float, bow: float, capacitors: list[float]
) -> tuple[float, float]:
    """The converted sum in counts, and the step if the sum lies near a rounding limit."""
    if model.adc_bits is None:
        return total, 0.0
    span = model.full_scale * model.most_counts
    step = span / (2**model.adc_bits - 1)
    if step <= 1:
        step = 2.0 ** math.ceil(math.log2(step))
    top = math.floor(span / step + 1e-9)
    seen = total / step
    if 0 < seen < top:
        seen += bow * 4 * (seen / top) * (1 - seen / top)
    code = approximated(seen, capacitors)
    doubtful = {
        approximated(seen + change, capacitors) for change in (-NEAR_TIE_STEPS, NEAR_TIE_STEPS)
    }
    return min(max(code, 0), top) * step, max(abs(code - other) for other in doubtful) * step


def approximated(seen: float, capacitors: list[float]) -> int:
    """The code of a sum: bits set from the top as long as the sum reaches them."""
    code, weight = 0, 0.0
    for bit in reversed(range(len(capacitors))):
        if seen + 0.5 >= weight + capacitors[bit]:
            code, weight = code + 2**bit, weight + capacitors[bit]
    return code

"""Tiles of analog memory computed cell by cell in plain loops, from the formulas alone.

Only the random figures and what the cells hold come from the code under test: what is checked is
everything that the periphery makes of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from device_models.array_weights import ArrayWeights
from device_models.memories.analog_periphery import AnalogPeriphery
from device_models.streams import normals, stream
from tests.device_oracle import NEAR_TIE_STEPS, Answer, tile_starts


@dataclass(frozen=True)
class Bench:
    """One layer in one chip, and what its cells hold."""

    periphery: AnalogPeriphery
    weights: ArrayWeights
    conductances: NDArray[np.float32]
    """[2, groups, d, m]"""

    low: float
    high: float
    seed: int
    layer: str

    def drawn(self, effect: str, *shape: int) -> NDArray[np.float64]:
        return normals(self.seed, self.layer, effect, shape).astype(float)

    def cells(self) -> NDArray[np.float64]:
        """Conductances with faults, in parts of G_max - G_min."""
        held = self.conductances.astype(float)
        lot = stream(self.seed, self.layer, "stuck cells").random(held.shape, np.float32)
        for at in np.ndindex(*held.shape):
            if lot[at] < self.periphery.stuck_at_off:
                held[at] = self.low
            elif lot[at] >= 1 - self.periphery.stuck_at_on:
                held[at] = self.high
        return held / (self.high - self.low)

    def largest_weight(self) -> float:
        """Of the codes: the largest one, of a codebook the largest entry."""
        book = self.weights.codebook
        return float(np.abs(self.weights.codes.astype(int) if book is None else book).max()) or 1.0

    def starts(self) -> list[int]:
        inputs = self.weights.codes.shape[1]
        return [*tile_starts(inputs, self.periphery.rows, self.weights.block_rows), inputs]


def slices_of(value: int, dac_bits: int, input_bits: int) -> list[int]:
    """The slices of a signed input, the lowest first."""
    sign = -1 if value < 0 else 1
    mask = 2**dac_bits - 1
    count = math.ceil(input_bits / dac_bits)
    return [sign * ((abs(value) >> (p * dac_bits)) & mask) for p in range(count)]


def analog(
    bench: Bench,
    codes: NDArray[np.uint8],
    zero_point: int,
    input_bits: int,
    typical: NDArray[np.uint8],
) -> Answer:
    """The noiseless array; typical inputs have the same zero point."""
    model, cells, starts = bench.periphery, bench.cells(), bench.starts()
    groups, _, outputs = bench.weights.codes.shape
    tiles = len(starts) - 1
    gains = np.maximum(1 + model.column_gain_sigma * bench.drawn(
        "column gain", tiles, groups, 1, outputs), 0)  # fmt: skip
    largest_input = 2 ** min(model.dac_bits, input_bits) - 1

    def column(x: NDArray[np.uint8], p: int, g: int, t: int, j: int, drop: float) -> float:
        """A column sum in counts, its gain included."""
        driven = {
            i: slices_of(int(x[g, i]) - zero_point, model.dac_bits, input_bits)[p]
            for i in range(starts[t], starts[t + 1])
        }
        sums = []
        for line in (0, 1):
            current = sum(value * cells[line, g, i, j] for i, value in driven.items())
            full = model.rows * largest_input * bench.high / (bench.high - bench.low)
            sums.append(0.0)
            for i, value in driven.items():
                distance = (i - starts[t] + 0.5) / model.rows
                lost = drop * distance * abs(current) / full
                sums[-1] += value * cells[line, g, i, j] * (1 - lost)
        return float((sums[0] - sums[1]) * gains[t, g, 0, j])

    count = math.ceil(input_bits / model.dac_bits)
    places = [*np.ndindex(count, groups, tiles, outputs)]
    full = full_scale(bench, largest_input)
    if model.adc_range == "calibrated":
        reach = max(abs(column(x, *place, 0.0)) for x in typical for place in places)
        full = model.full_scale * (reach or model.rows * largest_input)
    step = full / (2 ** (model.adc_bits - 1) - 1) if model.adc_bits else 1.0
    if model.adc_range == "lossless":
        step = 1 / bench.largest_weight()
    offsets = model.column_offset * bench.drawn("column offset", tiles, groups, 1, outputs)

    result = np.zeros((len(codes), groups, outputs))
    slack = np.zeros_like(result)
    for n, (p, g, t, j) in ((n, place) for n in range(len(codes)) for place in places):
        total = column(codes[n], p, g, t, j, model.ir_drop) + offsets[t, g, 0, j] * full
        code, doubt = converted(bench, total / step, (t, g, j))
        scale = bench.weights.scales[g, starts[t] // bench.weights.block_rows, j]
        worth = step * float(scale) * bench.largest_weight() * 2.0 ** (p * model.dac_bits)
        result[n, g, j] += worth * code
        slack[n, g, j] += abs(worth) * doubt
    return Answer(result, slack)


def full_scale(bench: Bench, largest_input: int) -> float:
    """Of the ranges that need no inputs, in counts."""
    model, starts = bench.periphery, bench.starts()
    if model.adc_range == "lossless":
        return float(max(b - a for a, b in pairwise(starts)) * largest_input)
    return model.full_scale * model.rows * largest_input


def converted(bench: Bench, steps: float, at: tuple[int, int, int]) -> tuple[float, float]:
    """The code of a sum, and by how much it may be off if the sum lies near a limit."""
    model, (t, g, j) = bench.periphery, at
    if model.adc_bits is None or steps == 0:
        return steps, 0.0
    bits = model.adc_bits - 1
    top = 2**bits - 1
    groups, _, outputs = bench.weights.codes.shape
    tiles = len(bench.starts()) - 1
    size = abs(steps)
    share = min(size / top, 1.0)
    bow = bench.drawn("converter bow", tiles, groups, 1, outputs)[t, g, 0, j]
    size += model.inl_steps * bow * 4 * share * (1 - share)
    if model.sar_sigma:
        errors = bench.drawn("SAR capacitors", tiles, bits, groups, 1, outputs)[t, :, g, 0, j]
        code, near = 0, False
        left = size + 0.5
        for bit in reversed(range(bits)):
            weight = 2**bit + model.sar_sigma * errors[bit] * 2 ** (bit / 2)
            near |= abs(left - weight) < NEAR_TIE_STEPS
            if left >= weight:
                left -= weight
                code += 2**bit
        return math.copysign(code, steps), 2.0 * top if near else 0.0
    near = abs(size - math.floor(size) - 0.5) < NEAR_TIE_STEPS
    code = min(max(round(size), 0), top)
    return math.copysign(code, steps), 1.0 if near else 0.0

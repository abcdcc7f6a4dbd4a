"""Networks and arrays whose energy `bench_energy` estimates: counted from shapes alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agent.energy import surrogate_counts
from calib.graph.linear import LinearLayer
from device_models.array_weights import ArrayWeights
from device_models.energy.constants import FLOAT32, EnergyConstants
from device_models.energy.counts import Counts, SurrogateCounts, counts, total
from device_models.energy.estimate import Energy, estimate, total_energy
from device_models.sram.current_model import CurrentSram
from device_models.sram.periphery import Periphery

RANKS = (0, 1, 2, 4, 8, 16, 32)
ADC_BITS = (4, 5, 6, 7, 8)
ROWS = (64, 128, 256)
COLUMNS = 64
"""Outputs of a layer that fills an array; the figures do not depend on it."""


@dataclass(frozen=True)
class Setting:
    """An array, the widths of what it computes, and the surrogates beside it."""

    rows: int = 256
    adc_bits: int = 8
    weight_bits: int = 8
    input_bits: int = 8
    rank: int | None = 8
    """None: no surrogate at all, not even gain and offset."""

    arithmetic: str = FLOAT32

    @property
    def device(self) -> Periphery:
        """The preset `sram-bitplane` with these rows and converters."""
        return CurrentSram(rows=self.rows, adc_bits=self.adc_bits)

    @property
    def constants(self) -> EnergyConstants:
        """The named ones."""
        return EnergyConstants(surrogate_arithmetic=self.arithmetic)


def grid(arithmetic: str) -> Iterator[Setting]:
    """All rows, converters and ranks, the ranks last."""
    for rows, bits, rank in itertools.product(ROWS, ADC_BITS, RANKS):
        yield Setting(rows=rows, adc_bits=bits, rank=rank, arithmetic=arithmetic)


def rank_of(layer: LinearLayer, rank: int) -> int:
    """The same everywhere, as far as a layer goes; a grouped one has gain and offset alone."""
    return 0 if layer.groups > 1 else min(rank, layer.inputs, layer.outputs)


def uses_of(layers: Iterable[LinearLayer], setting: Setting) -> Counts:
    """What the main path does for one sample."""
    return total(
        counts(
            setting.device,
            blank(layer.weight.shape, setting.weight_bits),
            setting.input_bits,
            layer.positions,
        )
        for layer in layers
    )


def energy_of(layers: Sequence[LinearLayer], setting: Setting) -> Energy:
    """One inference."""
    found = []
    for layer in layers:
        path = SurrogateCounts()
        if setting.rank is not None:
            path = surrogate_counts(layer, rank_of(layer, setting.rank))
        uses = uses_of([layer], setting)
        found.append(estimate(setting.device, uses, path, setting.constants))
    return total_energy(found)


def square_layer(size: int, setting: Setting) -> Energy:
    """A fully connected layer of size x size, with its surrogate."""
    uses = counts(
        setting.device, blank((1, size, size), setting.weight_bits), setting.input_bits, 1
    )
    rank = setting.rank or 0
    path = SurrogateCounts(low_rank=2 * size * rank, gains=size, offsets=size)
    return estimate(setting.device, uses, path, setting.constants)


def array_alone(device: Periphery, weight_bits: int, input_bits: int) -> Energy:
    """An array all of whose rows are used, without surrogates."""
    weights = blank((1, device.rows, COLUMNS), weight_bits)
    return estimate(device, counts(device, weights, input_bits, 1))


def full_array(setting: Setting) -> Energy:
    """The same of a setting."""
    return array_alone(setting.device, setting.weight_bits, setting.input_bits)


def blank(shape: Sequence[int], bits: int) -> ArrayWeights:
    """Weights of a shape; their values are of no matter to counts."""
    groups, inputs, outputs = shape
    return ArrayWeights(
        np.zeros((groups, inputs, outputs), np.int8),
        np.ones((groups, 1, outputs), np.float32),
        inputs,
        bits,
    )


def steps() -> list[tuple[str, Setting, bool]]:
    """From the preset towards the published figure: what is changed, and whether rows are full."""
    first = Setting()
    narrow = replace(first, arithmetic="int8")
    gains, bare = replace(narrow, rank=0), replace(narrow, rank=None)
    coarse = replace(bare, adc_bits=5)
    four = replace(coarse, weight_bits=4, input_bits=4)
    return [
        (
            "`sram-bitplane`: 256 rows, 8-bit converters, 8-bit codes; rank 8 in float32",
            first,
            False,
        ),
        ("surrogates in int8", narrow, False),
        ("gain and offset alone", gains, False),
        ("no surrogate", bare, False),
        ("converters of 5 bits", coarse, False),
        ("weights and inputs of 4 bits", four, False),
        ("layers that fill all 256 rows", four, True),
    ]

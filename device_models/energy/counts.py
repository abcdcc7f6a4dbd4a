"""How often a layer uses the parts of a bit-plane array: what an energy estimate counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from device_models.array_weights import ArrayWeights
from device_models.sram.periphery import Periphery
from device_models.sram.planes import CODEBOOK_BITS, row_tiles, slices


@dataclass(frozen=True)
class Counts:
    """Uses for one sample."""

    multiply_accumulates: int = 0
    """What a digital processor would have to do."""

    row_drives: int = 0
    """Rows driven: each for every input slice and every repeated read, for all columns at once."""

    driven_cells: int = 0
    """Cells on the word lines of those rows: each drive times the columns it passes."""

    array_reads: int = 0
    """(row tile, input slice, weight plane): each reads as many columns as there are outputs."""

    conversions: int = 0
    """Column sums converted; as many columns are charged."""

    sums: int = 0
    """Codes shifted and added: one of each column sum, however often it was read for a vote."""


@dataclass(frozen=True)
class SurrogateCounts:
    """What the high-precision path does for one sample, y = g main(x) + B (A x) + c."""

    low_rank: int = 0
    """Multiply-accumulates of A and B."""

    gains: int = 0
    """Multiplications by a gain, each with an addition to the sum."""

    offsets: int = 0
    """Additions of an offset."""


def counts(model: Periphery, weights: ArrayWeights, input_bits: int, positions: int) -> Counts:
    """Uses of one linear layer for one sample.

    Every input slice is counted, slices without a one as well. Groups stand in columns of their
    own, driven by rows of their own. Where a sum is read several times for a vote, the array is
    driven, read and converted anew each time, as its noise is new each time.

    Args:
        model: The array: its rows, the bits of its drivers, how often it reads a sum.
        weights: The layer.
        input_bits: Width of the activations.
        positions: Output positions of one sample.
    """
    groups, inputs, outputs = (int(size) for size in weights.codes.shape)
    planes = weights.bits if weights.codebook is None else CODEBOOK_BITS
    tiles = len(row_tiles(inputs, model.rows, weights.block_rows))
    steps = positions * groups * slices(input_bits, model.dac_bits).count
    sums = steps * tiles * planes * outputs
    drives = steps * inputs * model.reads
    return Counts(
        multiply_accumulates=positions * groups * inputs * outputs,
        row_drives=drives,
        driven_cells=drives * planes * outputs,
        array_reads=steps * tiles * planes * model.reads,
        conversions=sums * model.reads,
        sums=sums,
    )


def total(parts: Iterable[Counts]) -> Counts:
    """The sum over layers."""
    parts = tuple(parts)
    names = [spec.name for spec in fields(Counts)]
    return Counts(**{name: sum(getattr(part, name) for part in parts) for name in names})

"""How often a layer uses the parts of a bit-plane array: what an energy estimate counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from device_models.array_weights import ArrayWeights
from device_models.bitplane_model import BitPlaneSram
from device_models.planes import CODEBOOK_BITS, row_tiles


@dataclass(frozen=True)
class Counts:
    """Uses for one sample."""

    multiply_accumulates: int = 0
    """What a digital processor would have to do."""

    row_drives: int = 0
    """Word lines charged: one for each row and input plane, for all columns of an array."""

    driven_cells: int = 0
    """Cells on those word lines: each drive times the columns it passes."""

    array_reads: int = 0
    """(row tile, input plane, weight plane): each reads as many columns as there are outputs."""

    conversions: int = 0
    """Column sums converted; as many bit lines discharge, as many codes are shifted and added."""


def counts(model: BitPlaneSram, weights: ArrayWeights, input_bits: int, positions: int) -> Counts:
    """Uses of one linear layer for one sample.

    Every input plane is counted, planes without a one as well. Groups stand in columns of their
    own, driven by rows of their own.

    Args:
        model: The array: how many rows it has.
        weights: The layer.
        input_bits: Width of the activations.
        positions: Output positions of one sample.
    """
    groups, inputs, outputs = weights.codes.shape
    planes = weights.bits if weights.codebook is None else CODEBOOK_BITS
    tiles = len(row_tiles(inputs, model.rows, weights.block_rows))
    reads = positions * groups * tiles * input_bits * planes
    drives = positions * groups * inputs * input_bits
    return Counts(
        multiply_accumulates=positions * int(weights.codes.size),
        row_drives=drives,
        driven_cells=drives * planes * outputs,
        array_reads=reads,
        conversions=reads * outputs,
    )


def total(parts: Iterable[Counts]) -> Counts:
    """The sum over layers."""
    parts = tuple(parts)
    names = [spec.name for spec in fields(Counts)]
    return Counts(**{name: sum(getattr(part, name) for part in parts) for name in names})

"""What a method makes of a chip, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from calib.factors import Factors
from calib.graph.linear import LinearLayer
from recovery.samples import Float32

HALF_BYTES = 2
"""Rivals are counted with 16 bits a number."""


@dataclass(frozen=True)
class Price:
    """What a correction takes."""

    bytes: float
    mac_share: float
    """Multiply-accumulates beside the main path, as a share of the network's."""


@dataclass(frozen=True)
class Outcome:
    """A corrected chip."""

    factors: Factors | None
    """None where `answers` alone says what the corrected network gives."""

    price: Price
    answers: Callable[[Float32], Float32] | None = None
    details: Mapping[str, float | int | str | bool] = field(default_factory=dict)


def priced(
    layers: Sequence[LinearLayer], numbers: Callable[[LinearLayer], tuple[int, int]]
) -> Price:
    """Add up, over the layers, how many numbers and multiplications a position takes."""
    found = [(layer, *numbers(layer)) for layer in layers]
    stored = sum(HALF_BYTES * count for _, count, _ in found)
    macs = sum(layer.positions * each for layer, _, each in found)
    return Price(stored, macs / sum(layer.multiply_accumulates for layer in layers))


def branch_numbers(layer: LinearLayer, rank: int) -> int:
    """How many numbers A and B have, which is also what they multiply at each position."""
    return rank * (layer.inputs + layer.outputs) if layer.groups == 1 else 0

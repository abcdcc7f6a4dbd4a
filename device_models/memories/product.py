"""Arrays that compute one matrix product: the ideal one, and static mismatch of the weights.

Neither knows bit planes, so a layer is one product. Age and temperature change neither: there is
nothing in these models that could age. With a periphery their weights stand in pairs of cells, as
those of other memories do, and both cells of a pair have the same factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from device_models.array_weights import ArrayWeights
from device_models.contract import Array, Placement
from device_models.memories.analog_periphery import Memory
from device_models.memories.differential_pair import differential_pairs
from device_models.memories.pair_array import pair_array
from device_models.memories.pairs import Pairs
from device_models.memories.product_array import ProductArray
from device_models.parameters import check, parameter
from device_models.registry import register
from device_models.streams import normals

EXACT_FLOAT32 = 1 << 24
"""float32 holds every whole number up to this one."""


@dataclass(frozen=True)
class Ideal(Memory):
    """Computes what the codes say: with integer codes and one block, the exact integer product."""

    kind: ClassVar[str] = "ideal"


@dataclass(frozen=True)
class Mismatch(Memory):
    """Every weight is off by its own factor: w · (1 + percent/100 · ε), ε standard normal."""

    kind: ClassVar[str] = "mismatch"

    percent: float = parameter(
        10.0,
        unit="%",
        meaning="standard deviation of each weight, relative to itself",
        source="multiplicative normal model, e.g. CrossSim generic_device (normal, proportional)",
        low=0.0,
        high=1000.0,
    )

    def __post_init__(self) -> None:
        """Check the parameter."""
        check(self)


def exact_dtype(codes: NDArray[np.int8], input_bits: int) -> type[np.floating[Any]]:
    """The narrowest type in which the product with integer codes [groups, d, m] is exact."""
    sums = np.abs(codes.astype(np.int64)).sum(axis=1)
    largest = int(sums.max()) * ((1 << input_bits) - 1)
    return np.float32 if largest < EXACT_FLOAT32 else np.float64


@register(Ideal)
def program_ideal(model: Ideal, placement: Placement) -> Array:
    """Keep integers where there are some, so that nothing is rounded before the scale."""
    weights = placement.weights
    if model.periphery is not None:
        cells = differential_pairs(placement)
        pairs = Pairs(cells, cells.spread(cells.targets), 0.0, 1.0)
        return pair_array(pairs, model.periphery, placement)
    if weights.codebook is not None or weights.blocks > 1:
        return ProductArray(weights.values(), None, placement.input_bits)
    matrix = weights.codes.astype(exact_dtype(weights.codes, placement.input_bits))
    return ProductArray(matrix, weights.scales, placement.input_bits)


@register(Mismatch)
def program_mismatch(model: Mismatch, placement: Placement) -> Array:
    """Give each weight its factor."""
    seed, layer = placement.seed, placement.layer
    if model.periphery is not None:
        cells = differential_pairs(placement)
        held = cells.spread(cells.targets)
        held *= _factors(model, placement.weights, seed, layer)
        return pair_array(Pairs(cells, held, 0.0, 1.0), model.periphery, placement)
    matrix = effective(model, placement.weights, seed, layer)
    return ProductArray(matrix, None, placement.input_bits)


def effective(model: Mismatch, weights: ArrayWeights, seed: int, layer: str) -> NDArray[np.float32]:
    """The weights [groups, d, m] that this chip really has."""
    return weights.values() * _factors(model, weights, seed, layer)


def _factors(model: Mismatch, weights: ArrayWeights, seed: int, layer: str) -> NDArray[np.float32]:
    factors = normals(seed, layer, "weight mismatch", weights.codes.shape)
    factors *= np.float32(model.percent / 100)
    factors += np.float32(1)
    return factors

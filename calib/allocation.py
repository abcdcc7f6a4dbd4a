"""Where rank goes: a budget of bytes spread over the layers' components by their worth.

A component's worth is the error it takes away as the layer's metric weighs it, so that components
of different layers compare by what they do to the network's answer; its price is its bytes. Each
layer gets a few components first, then the best worth for its price goes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST = 4
"""Components of each layer, if they fit: what a layer's own error will be tomorrow is not known."""


@dataclass(frozen=True)
class LayerOffer:
    """What a layer's components are worth, largest first, and the price of each."""

    worth: NDArray[np.float64]
    price_bytes: float


def allocate(offers: Mapping[str, LayerOffer], budget_bytes: float) -> dict[str, int]:
    """The rank of each layer; what it costs in all is within the budget."""
    ranks = dict.fromkeys(offers, 0)
    left = budget_bytes
    for name, index in _order(offers):
        if ranks[name] == index and offers[name].price_bytes <= left:
            ranks[name] += 1
            left -= offers[name].price_bytes
    return ranks


def _order(offers: Mapping[str, LayerOffer]) -> list[tuple[str, int]]:
    """All components: each layer's first few, then the rest, the best bargains first."""

    def rank_of(entry: tuple[str, int]) -> tuple[bool, float, int]:
        name, index = entry
        offer = offers[name]
        return index >= FEWEST, -float(offer.worth[index]) / offer.price_bytes, index

    every = [(name, index) for name, offer in offers.items() for index in range(len(offer.worth))]
    return sorted(every, key=rank_of)

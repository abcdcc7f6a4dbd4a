"""Where rank goes: a budget of bytes and operations spread over the layers' components.

A component's worth is the error it takes away as the layer's metric weighs it, so that components
of different layers compare by what they do to the network's answer. Its price is in bytes and in
multiply-accumulates. The best worth for its price goes first, the price being

    bytes / bytes allowed · mix + operations / operations allowed · (1 − mix),

the prices of the Lagrangian relaxation with multipliers in this proportion. What is bought is tried
with several mixes, and the most worth is kept. With one limit the worth lacks at most one component
of the best there is; with two it reaches half of it less one component, and mostly all but one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.costs import Cost

FEWEST = 4
"""Components of each layer that go first: what a layer's own error will be tomorrow is not known.

Only where those of all layers take no more than half of what may be spent.
"""

MIXES = (0.5, 0.0, 0.1, 0.25, 0.75, 0.9, 1.0)
"""How much the bytes count in a price, beside the operations."""


@dataclass(frozen=True)
class LayerOffer:
    """What a layer's components are worth, largest first, and the price of each."""

    worth: NDArray[np.float64]
    price: Cost


Offers = Mapping[str, LayerOffer]


def allocate(offers: Offers, purse: Cost, fewest: int = FEWEST) -> dict[str, int]:
    """The rank of each layer; what all cost together is within both limits of the purse.

    Args:
        offers: by layer. What is worth nothing is not bought.
        purse: the limits; infinite where there is none.
        fewest: components of each layer that go first, where there is room.
    """
    needed = [_part(offers, fewest, purse, which) for which in ("bytes", "macs")]
    first = fewest if max(needed) <= 0.5 else 0
    tries = [_bought(offers, purse, mix, first) for mix in MIXES]
    return max(tries, key=lambda ranks: worth_of(offers, ranks))


def worth_of(offers: Offers, ranks: Mapping[str, int]) -> float:
    """What the first components of each layer are worth together."""
    return float(sum(offers[name].worth[:rank].sum() for name, rank in ranks.items()))


def _part(offers: Offers, each: int, purse: Cost, which: str) -> float:
    """What `each` components of all layers take of one limit."""
    limit = getattr(purse, which)
    needed = sum(
        min(each, int((offer.worth > 0).sum())) * getattr(offer.price, which)
        for offer in offers.values()
    )
    return float(needed / limit) if limit > 0 else float(needed > 0)


def _bought(offers: Offers, purse: Cost, mix: float, first: int) -> dict[str, int]:
    ranks = dict.fromkeys(offers, 0)
    left_bytes, left_macs = purse.bytes, purse.macs
    for name, index in _order(offers, purse, mix, first):
        price = offers[name].price
        if ranks[name] == index and price.bytes <= left_bytes and price.macs <= left_macs:
            ranks[name] += 1
            left_bytes -= price.bytes
            left_macs -= price.macs
    return ranks


def _order(offers: Offers, purse: Cost, mix: float, first: int) -> list[tuple[str, int]]:
    """All components worth something: each layer's first few, then the best bargains."""
    prices = {name: _mixed(offer.price, purse, mix) for name, offer in offers.items()}

    def rank_of(entry: tuple[str, int]) -> tuple[bool, float, int]:
        name, index = entry
        return index >= first, -float(offers[name].worth[index]) / prices[name], index

    every = [
        (name, index)
        for name, offer in offers.items()
        for index in range(len(offer.worth))
        if offer.worth[index] > 0
    ]
    return sorted(every, key=rank_of)


def _mixed(price: Cost, purse: Cost, mix: float) -> float:
    """One price of two, relative to what there is; never zero, so that bargains compare."""
    by_bytes = price.bytes / purse.bytes if purse.bytes > 0 else 0.0
    by_macs = price.macs / purse.macs if purse.macs > 0 else 0.0
    return max(by_bytes * mix + by_macs * (1 - mix), np.finfo(np.float64).tiny ** 0.5)

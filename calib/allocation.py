"""Where rank and precision go: a budget of bytes and operations spread over the layers' components.

A component's worth is the error it takes away as the layer's metric weighs it, so that components
of different layers compare by what they do to the network's answer. It can be had at several
precisions: each rung of the ladder costs more bytes and keeps more of the worth from being lost to
rounding, and only the first rung costs operations. Large components thus get many bits, small ones
few, as in the reverse water-filling of rate-distortion theory (Cover & Thomas, Elements of
Information Theory, sec. 10.3.3). The best worth for its price goes first, the price being

    bytes / bytes allowed · mix + operations / operations allowed · (1 − mix),

the prices of the Lagrangian relaxation with multipliers in this proportion. What is bought is tried
with several mixes, and the most worth is kept. With one limit the worth lacks at most one step of
the best there is; with two it reaches half of it less one step, and mostly all but one.
"""

from __future__ import annotations

import heapq
import math
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

Bits = tuple[int, ...]
"""Of the components that a layer gets."""


@dataclass(frozen=True)
class Rung:
    """One precision in which a layer's components can be had."""

    bits: int
    price: Cost
    kept: float
    """The share of a component's worth that rounding leaves."""


@dataclass(frozen=True)
class LayerOffer:
    """What a layer's components are worth, largest first, and the precisions of each."""

    worth: NDArray[np.float64]
    rungs: tuple[Rung, ...]
    """From the cheapest to the dearest."""


Offers = Mapping[str, LayerOffer]


@dataclass(frozen=True)
class _Step:
    """From one rung that is worth its price to the next."""

    bits: int
    bytes: float
    macs: float
    kept: float
    bargain: float
    """What is kept for the price."""


def allocate(offers: Offers, purse: Cost, fewest: int = FEWEST) -> dict[str, Bits]:
    """The bits of each layer's components; what all cost together is within both limits.

    Args:
        offers: by layer. What is worth nothing is not bought.
        purse: the limits; infinite where there is none.
        fewest: components of each layer that go first, where there is room.
    """
    tries = [_bought(offers, purse, mix, fewest) for mix in _mixes(purse)]
    return max(tries, key=lambda bits: worth_of(offers, bits))


def _mixes(purse: Cost) -> tuple[float, ...]:
    """With one limit there is one price."""
    if math.isinf(purse.macs):
        return (1.0,)
    return (0.0,) if math.isinf(purse.bytes) else MIXES


def worth_of(offers: Offers, bits: Mapping[str, Bits]) -> float:
    """What components of these precisions are worth together."""
    return float(sum(_worth_of_layer(offers[name], chosen) for name, chosen in bits.items()))


def _worth_of_layer(offer: LayerOffer, bits: Bits) -> float:
    kept = {rung.bits: rung.kept for rung in offer.rungs}
    return sum(float(offer.worth[k]) * kept[one] for k, one in enumerate(bits))


def _ladder(offer: LayerOffer, purse: Cost, mix: float) -> list[_Step]:
    """The steps of falling bargains: rungs that never pay are left out."""
    steps: list[_Step] = []
    here, above = Rung(0, Cost(0, 0), 0.0), list(offer.rungs)
    while above:
        ways = [_step(here, rung, purse, mix) for rung in above]
        best = max(range(len(ways)), key=lambda i: (ways[i].bargain, i))
        if ways[best].kept <= 0:
            break
        steps.append(ways[best])
        here, above = above[best], above[best + 1 :]
    return steps


def _step(here: Rung, there: Rung, purse: Cost, mix: float) -> _Step:
    stored, macs = there.price.bytes - here.price.bytes, there.price.macs - here.price.macs
    kept = there.kept - here.kept
    return _Step(there.bits, stored, macs, kept, kept / _mixed(stored, macs, purse, mix))


class _Basket:
    """What has been bought, and what is left to spend."""

    def __init__(self, purse: Cost, offers: Offers) -> None:
        self.left_bytes, self.left_macs = purse.bytes, purse.macs
        self.bits: dict[str, list[int]] = {name: [] for name in offers}

    def buy(self, name: str, index: int, step: _Step) -> bool:
        """Whether there is enough left; if so, it is spent."""
        if step.bytes > self.left_bytes or step.macs > self.left_macs:
            return False
        self.left_bytes -= step.bytes
        self.left_macs -= step.macs
        chosen = self.bits[name]
        chosen[index : index + 1] = [step.bits]
        return True


def _bought(offers: Offers, purse: Cost, mix: float, fewest: int) -> dict[str, Bits]:
    ladders = {name: _ladder(offer, purse, mix) for name, offer in offers.items()}
    worths = {name: int((offer.worth > 0).sum()) for name, offer in offers.items()}
    first = fewest if _fit_in_half(ladders, worths, fewest, purse) else 0
    basket = _Basket(purse, offers)
    waiting: list[tuple[bool, float, str, int, int]] = []

    def wait(name: str, index: int, rung: int) -> None:
        if index < worths[name] and rung < len(ladders[name]):
            bargain = float(offers[name].worth[index]) * ladders[name][rung].bargain
            heapq.heappush(waiting, (index >= first or rung > 0, -bargain, name, index, rung))

    for name in offers:
        wait(name, 0, 0)
    while waiting:
        _, _, name, index, rung = heapq.heappop(waiting)
        if basket.buy(name, index, ladders[name][rung]):
            wait(name, index, rung + 1)
            if not rung:
                wait(name, index + 1, 0)
    return {name: tuple(bits) for name, bits in basket.bits.items()}


def _fit_in_half(
    ladders: Mapping[str, list[_Step]], worths: Mapping[str, int], each: int, purse: Cost
) -> bool:
    """Whether `each` components of all layers take no more than half of both limits."""
    firsts = [(min(each, worths[name]), steps[0]) for name, steps in ladders.items() if steps]
    return (
        sum(count * step.bytes for count, step in firsts) <= purse.bytes / 2
        and sum(count * step.macs for count, step in firsts) <= purse.macs / 2
    )


def _mixed(stored: float, macs: float, purse: Cost, mix: float) -> float:
    """One price of two, relative to what there is; never zero, so that bargains compare."""
    by_bytes = stored / purse.bytes if purse.bytes > 0 else 0.0
    by_macs = macs / purse.macs if purse.macs > 0 else 0.0
    return max(by_bytes * mix + by_macs * (1 - mix), np.finfo(np.float64).tiny ** 0.5)

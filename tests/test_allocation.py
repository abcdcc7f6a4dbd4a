"""Sharing a budget: never above either limit, near the best there is, nothing for nothing."""

from __future__ import annotations

import math
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.allocation import Bits, LayerOffer, Rung, allocate, worth_of
from calib.costs import Cost

Array = np.ndarray[Any, Any]
INFINITE = math.inf
FREE = Cost(INFINITE, INFINITE)
PRECISIONS = (3, 4, 6)
LIMIT = st.integers(0, 300)
WORTHS = st.lists(st.just(0.0) | st.floats(1e-9, 100), max_size=2).map(
    lambda w: np.sort(np.array(w))[::-1]
)


@st.composite
def ladders(draw: st.DrawFn) -> tuple[Rung, ...]:
    """One to three rungs, each dearer in bytes; some keep no more than a cheaper one."""
    macs, count = draw(st.integers(1, 40)), draw(st.integers(1, 3))
    sizes = np.cumsum(draw(st.lists(st.integers(1, 20), min_size=count, max_size=count)))
    kept = draw(st.lists(st.floats(0.01, 1), min_size=count, max_size=count))
    return tuple(
        Rung(bits, Cost(int(size), macs), share)
        for bits, size, share in zip(PRECISIONS, sizes, kept, strict=False)
    )


OFFERS = st.lists(st.builds(LayerOffer, WORTHS, ladders()), min_size=1, max_size=3).map(
    lambda offers: {str(i): offer for i, offer in enumerate(offers)}
)


def only(worth: Array, price: Cost) -> LayerOffer:
    """Components that can be had in one precision alone, and lose nothing."""
    return LayerOffer(worth, (Rung(4, price, 1.0),))


def cost_of(offers: dict[str, LayerOffer], bits: dict[str, Bits]) -> Cost:
    prices = [
        rung.price
        for name, chosen in bits.items()
        for one in chosen
        for rung in offers[name].rungs
        if rung.bits == one
    ]
    return Cost(sum(price.bytes for price in prices), sum(price.macs for price in prices))


def every_choice(offers: dict[str, LayerOffer]) -> Array:
    """Bytes, operations and worth of all that can be bought, each component by itself: [3, n]."""
    choices = [
        np.array(
            [
                (0.0, 0.0, 0.0),
                *((rung.price.bytes, rung.price.macs, worth * rung.kept) for rung in offer.rungs),
            ]
        ).T
        for offer in offers.values()
        for worth in offer.worth
    ]
    return reduce(_with_another, choices, np.zeros((3, 1)))


def _with_another(all_before: Array, one: Array) -> Array:
    return np.asarray((all_before[:, :, None] + one[:, None, :]).reshape(3, -1))


def best(choices: Array, purse: Cost) -> float:
    """The most worth that both limits allow, by trying everything."""
    within = (choices[0] <= purse.bytes) & (choices[1] <= purse.macs)
    return float(choices[2][within].max())


def envelope(rungs: tuple[Rung, ...], *, by_bytes: bool) -> dict[int, float]:
    """Rungs that no mixture of others and of nothing undercuts: bits, and what each step keeps.

    Found from the definition, pair by pair; rungs that cost no more than one that keeps as much are
    left out first.
    """
    points = [(0.0, 0.0, 0)] + [
        (rung.price.bytes if by_bytes else rung.price.macs, rung.kept, rung.bits) for rung in rungs
    ]
    points = [
        one
        for one in points
        if not any(o[0] <= one[0] and o[1] >= one[1] and o[:2] != one[:2] for o in points)
    ]
    above = [
        one
        for one in points
        if not any(
            left[0] < one[0] < right[0]
            and one[1] * (right[0] - left[0])
            <= (left[1] * (right[0] - one[0]) + right[1] * (one[0] - left[0])) * (1 - 1e-12)
            for left in points
            for right in points
        )
    ]
    above.sort()
    return {b[2]: b[1] - a[1] for a, b in pairwise(above)}


def largest_step(offers: dict[str, LayerOffer], *, by_bytes: bool) -> float:
    """The most worth that one step of a ladder adds to one component."""
    return max(
        float(one.worth.max(initial=0)) * max(envelope(one.rungs, by_bytes=by_bytes).values())
        for one in offers.values()
    )


@given(offers=OFFERS, size=LIMIT, macs=LIMIT, fewest=st.integers(0, 4))
def test_never_above_either_limit(
    offers: dict[str, LayerOffer], size: int, macs: int, fewest: int
) -> None:
    bits = allocate(offers, Cost(size, macs), fewest)
    cost = cost_of(offers, bits)
    assert cost.bytes <= size
    assert cost.macs <= macs
    for name, chosen in bits.items():
        assert len(chosen) <= (offers[name].worth > 0).sum()
        assert set(chosen) <= {rung.bits for rung in offers[name].rungs}


@given(offers=OFFERS, limit=LIMIT, by_bytes=st.booleans())
def test_one_limit_lacks_at_most_one_step_of_the_best(
    offers: dict[str, LayerOffer], limit: int, *, by_bytes: bool
) -> None:
    purse = Cost(limit, INFINITE) if by_bytes else Cost(INFINITE, limit)
    found, most = worth_of(offers, allocate(offers, purse, 0)), best(every_choice(offers), purse)
    assert found <= most * (1 + 1e-12)
    assert found + largest_step(offers, by_bytes=by_bytes) >= most * (1 - 1e-12)


@given(offers=OFFERS, size=LIMIT, macs=LIMIT)
def test_two_limits_reach_half_of_the_best_less_one_component(
    offers: dict[str, LayerOffer], size: int, macs: int
) -> None:
    purse = Cost(size, macs)
    found, most = worth_of(offers, allocate(offers, purse, 0)), best(every_choice(offers), purse)
    largest = max(
        float(one.worth.max(initial=0)) * max(rung.kept for rung in one.rungs)
        for one in offers.values()
    )
    assert found <= most * (1 + 1e-12)
    assert found + largest >= most / 2 * (1 - 1e-12)


def _random_offer(generator: np.random.Generator) -> LayerOffer:
    """Three components at two precisions, of which the dearer loses less."""
    size, macs = (int(price) for price in generator.integers(1, 40, 2))
    worth = np.sort(generator.exponential(size=3))[::-1]
    cheap, dear = Rung(4, Cost(size, macs), 0.87), Rung(8, Cost(2 * size, macs), 1.0)
    return LayerOffer(worth, (cheap, dear))


def test_two_limits_mostly_lack_less_than_half_a_component() -> None:
    generator = np.random.default_rng(0)
    short = 0
    for _ in range(200):
        offers = {str(i): _random_offer(generator) for i in range(3)}
        purse = Cost(*(int(limit) for limit in generator.integers(20, 200, 2)))
        found = worth_of(offers, allocate(offers, purse, 0))
        largest = max(float(one.worth[0]) for one in offers.values())
        short += found + 0.5 * largest < best(every_choice(offers), purse)
    assert short <= 2


@given(offers=OFFERS, limit=LIMIT, more=LIMIT, by_bytes=st.booleans())
def test_more_of_one_limit_never_buys_less_worth(
    offers: dict[str, LayerOffer], limit: int, more: int, *, by_bytes: bool
) -> None:
    def found(size: int) -> float:
        purse = Cost(size, INFINITE) if by_bytes else Cost(INFINITE, size)
        return worth_of(offers, allocate(offers, purse, 0))

    assert found(limit + more) >= found(limit) * (1 - 1e-12)


@given(offers=OFFERS, limit=LIMIT, by_bytes=st.booleans())
def test_rungs_that_never_pay_are_never_bought(
    offers: dict[str, LayerOffer], limit: int, *, by_bytes: bool
) -> None:
    purse = Cost(limit, INFINITE) if by_bytes else Cost(INFINITE, limit)
    for name, chosen in allocate(offers, purse).items():
        assert set(chosen) <= set(envelope(offers[name].rungs, by_bytes=by_bytes))


@given(offers=OFFERS, limit=LIMIT, fewest=st.integers(0, 4))
def test_a_component_never_has_fewer_bits_than_a_smaller_one_where_there_is_room(
    offers: dict[str, LayerOffer], limit: int, fewest: int
) -> None:
    """Bits may rise along a layer only where what was left did not hold the step of a larger."""
    bits = allocate(offers, Cost(limit, INFINITE), fewest)
    left = limit - cost_of(offers, bits).bytes
    for name, chosen in bits.items():
        price = {rung.bits: rung.price.bytes for rung in offers[name].rungs}
        for larger, smaller in pairwise(chosen):
            assert larger >= smaller or price[smaller] - price[larger] > left


@given(offers=OFFERS)
def test_without_limits_all_that_is_worth_something_is_bought_at_its_best(
    offers: dict[str, LayerOffer],
) -> None:
    bits = allocate(offers, FREE)
    assert {name: len(chosen) for name, chosen in bits.items()} == {
        name: int((one.worth > 0).sum()) for name, one in offers.items()
    }
    most = sum(one.worth.sum() * max(rung.kept for rung in one.rungs) for one in offers.values())
    assert worth_of(offers, bits) == pytest.approx(most, rel=1e-12)


def test_what_is_worth_nothing_is_not_bought_even_where_it_is_cheap() -> None:
    offers = {
        "dead": only(np.zeros(5), Cost(1, 1)),
        "alive": only(np.array([3.0, 2.0, 1.0]), Cost(10, 10)),
    }
    assert allocate(offers, Cost(1000, 1000)) == {"dead": (), "alive": (4, 4, 4)}


@pytest.mark.parametrize("size", [16, 15])
def test_each_layer_gets_a_few_first_where_half_the_budget_holds_them(size: int) -> None:
    """Of 16 bytes 8 go to the first four of each; of 15, all to the layer that is worth more."""
    offers = {
        "much": only(np.full(20, 9.0), Cost(1, 1)),
        "little": only(np.full(20, 1.0), Cost(1, 1)),
    }
    few = {"much": 12, "little": 4}
    bits = allocate(offers, Cost(size, INFINITE))
    assert {name: len(chosen) for name, chosen in bits.items()} == (
        few if size == 16 else {"much": 15, "little": 0}
    )


def test_the_first_of_each_layer_go_before_finer_bits() -> None:
    """What two layers' first four take in the coarsest bits, 8 bytes, is half of 16, not of 15."""
    rungs = (Rung(4, Cost(1, 1), 0.6), Rung(8, Cost(2, 1), 1.0))
    offers = {
        "much": LayerOffer(np.full(8, 9.0), rungs),
        "little": LayerOffer(np.full(4, 1.0), rungs),
    }
    with_room = allocate(offers, Cost(16, INFINITE))
    assert len(with_room["little"]) == 4
    assert set(with_room["little"]) == {4}
    assert allocate(offers, Cost(15, INFINITE))["little"] == ()


def test_large_components_get_many_bits_and_small_ones_few() -> None:
    """Shares that noise of so many bits leaves: each bit more quarters the noise."""
    rungs = tuple(Rung(bits, Cost(bits, 1), 1 - 4.0**-bits) for bits in (2, 3, 4, 5, 6))
    worth = 4.0 ** -np.arange(6.0)
    chosen = allocate({"one": LayerOffer(worth, rungs)}, Cost(21, INFINITE), 0)["one"]
    assert chosen[0] > chosen[-1]
    assert list(chosen) == sorted(chosen, reverse=True)
    assert sum(chosen) <= 21


def test_a_rung_between_two_that_pays_less_than_both_is_left_out() -> None:
    """Three bytes for next to nothing: to go on from there is dearer than to leap over it."""
    rungs = (Rung(3, Cost(2, 1), 0.5), Rung(4, Cost(5, 1), 0.51), Rung(6, Cost(6, 1), 1.0))
    offers = {"one": LayerOffer(np.array([1.0]), rungs)}
    bought = [allocate(offers, Cost(size, INFINITE), 0)["one"] for size in range(1, 8)]
    assert bought == [(), (3,), (3,), (3,), (3,), (6,), (6,)]


def test_where_only_operations_count_every_component_has_the_finest_bits() -> None:
    rungs = (Rung(3, Cost(2, 10), 0.5), Rung(4, Cost(5, 10), 0.8), Rung(6, Cost(6, 10), 0.9))
    offers = {"one": LayerOffer(np.array([3.0, 2.0, 1.0]), rungs)}
    assert allocate(offers, Cost(INFINITE, 25), 0) == {"one": (6, 6)}


def test_operations_move_rank_from_many_positions_to_few() -> None:
    """The same bytes and worth, but one layer is computed at a hundred times as many positions."""
    worth = np.array([4.0, 3.0, 2.0, 1.0])
    offers = {"wide": only(worth, Cost(10, 1000)), "narrow": only(worth, Cost(10, 10))}
    assert allocate(offers, Cost(40, INFINITE), 0) == {"wide": (4, 4), "narrow": (4, 4)}
    assert allocate(offers, Cost(40, 100), 0) == {"wide": (), "narrow": (4, 4, 4, 4)}

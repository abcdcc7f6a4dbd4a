"""Sharing a budget: never above either limit, near the best there is, nothing for nothing."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.allocation import LayerOffer, allocate, worth_of
from calib.costs import Cost

INFINITE = math.inf
WORTHS = st.lists(st.floats(0, 100), max_size=4).map(lambda w: np.sort(np.array(w))[::-1])
PRICES = st.builds(Cost, st.integers(1, 40), st.integers(1, 40))
OFFERS = st.lists(st.builds(LayerOffer, WORTHS, PRICES), min_size=1, max_size=4).map(
    lambda offers: {str(i): offer for i, offer in enumerate(offers)}
)
LIMIT = st.integers(0, 300)


def cost_of(offers: dict[str, LayerOffer], ranks: dict[str, int]) -> Cost:
    return Cost(
        sum(offers[name].price.bytes * rank for name, rank in ranks.items()),
        sum(offers[name].price.macs * rank for name, rank in ranks.items()),
    )


def best(offers: dict[str, LayerOffer], purse: Cost) -> float:
    """The most worth that both limits allow, by trying everything."""
    worth = 0.0
    for ranks in itertools.product(*(range(len(one.worth) + 1) for one in offers.values())):
        chosen = dict(zip(offers, ranks, strict=True))
        cost = cost_of(offers, chosen)
        if cost.bytes <= purse.bytes and cost.macs <= purse.macs:
            worth = max(worth, worth_of(offers, chosen))
    return worth


def largest(offers: dict[str, LayerOffer]) -> float:
    return max((float(one.worth.max(initial=0)) for one in offers.values()), default=0.0)


@given(offers=OFFERS, size=LIMIT, macs=LIMIT, fewest=st.integers(0, 4))
def test_never_above_either_limit(
    offers: dict[str, LayerOffer], size: int, macs: int, fewest: int
) -> None:
    ranks = allocate(offers, Cost(size, macs), fewest)
    cost = cost_of(offers, ranks)
    assert cost.bytes <= size
    assert cost.macs <= macs
    assert all(0 <= rank <= len(offers[name].worth) for name, rank in ranks.items())


@given(offers=OFFERS, limit=LIMIT, by_bytes=st.booleans())
def test_one_limit_lacks_at_most_one_component_of_the_best(
    offers: dict[str, LayerOffer], limit: int, *, by_bytes: bool
) -> None:
    purse = Cost(limit, INFINITE) if by_bytes else Cost(INFINITE, limit)
    found = worth_of(offers, allocate(offers, purse, 0))
    assert found <= best(offers, purse) * (1 + 1e-12)
    assert found + largest(offers) >= best(offers, purse) * (1 - 1e-12)


@given(offers=OFFERS, size=LIMIT, macs=LIMIT)
def test_two_limits_reach_half_of_the_best_less_one_component(
    offers: dict[str, LayerOffer], size: int, macs: int
) -> None:
    purse = Cost(size, macs)
    found = worth_of(offers, allocate(offers, purse, 0))
    assert found <= best(offers, purse) * (1 + 1e-12)
    assert found + largest(offers) >= best(offers, purse) / 2 * (1 - 1e-12)


def test_two_limits_mostly_lack_less_than_one_component() -> None:
    generator = np.random.default_rng(0)
    short = 0
    for _ in range(200):
        offers = {
            str(i): LayerOffer(
                np.sort(generator.exponential(size=4))[::-1],
                Cost(generator.integers(1, 40), generator.integers(1, 40)),
            )
            for i in range(4)
        }
        purse = Cost(generator.integers(20, 200), generator.integers(20, 200))
        found = worth_of(offers, allocate(offers, purse, 0))
        short += found + 0.5 * largest(offers) < best(offers, purse)
    assert short <= 2


@given(offers=OFFERS, limit=LIMIT, more=LIMIT, by_bytes=st.booleans())
def test_more_of_one_limit_never_buys_less_worth(
    offers: dict[str, LayerOffer], limit: int, more: int, *, by_bytes: bool
) -> None:
    def found(size: int) -> float:
        purse = Cost(size, INFINITE) if by_bytes else Cost(INFINITE, size)
        return worth_of(offers, allocate(offers, purse, 0))

    assert found(limit + more) >= found(limit) * (1 - 1e-12)


@given(offers=OFFERS)
def test_without_limits_all_that_is_worth_something_is_bought(
    offers: dict[str, LayerOffer],
) -> None:
    ranks = allocate(offers, Cost(INFINITE, INFINITE))
    assert ranks == {name: int((one.worth > 0).sum()) for name, one in offers.items()}


def test_what_is_worth_nothing_is_not_bought_even_where_it_is_cheap() -> None:
    offers = {
        "dead": LayerOffer(np.zeros(5), Cost(1, 1)),
        "alive": LayerOffer(np.array([3.0, 2.0, 1.0]), Cost(10, 10)),
    }
    assert allocate(offers, Cost(1000, 1000)) == {"dead": 0, "alive": 3}


@pytest.mark.parametrize("size", [16, 15])
def test_each_layer_gets_a_few_first_where_half_the_budget_holds_them(size: int) -> None:
    """Of 16 bytes 8 go to the first four of each; of 15, all to the layer that is worth more."""
    offers = {
        "much": LayerOffer(np.full(20, 9.0), Cost(1, 1)),
        "little": LayerOffer(np.full(20, 1.0), Cost(1, 1)),
    }
    few = {"much": 12, "little": 4}
    assert allocate(offers, Cost(size, INFINITE)) == (
        few if size == 16 else {"much": 15, "little": 0}
    )


def test_operations_move_rank_from_many_positions_to_few() -> None:
    """The same bytes and worth, but one layer is computed at a hundred times as many positions."""
    worth = np.array([4.0, 3.0, 2.0, 1.0])
    offers = {"wide": LayerOffer(worth, Cost(10, 1000)), "narrow": LayerOffer(worth, Cost(10, 10))}
    assert allocate(offers, Cost(40, INFINITE), 0) == {"wide": 2, "narrow": 2}
    assert allocate(offers, Cost(40, 100), 0) == {"wide": 0, "narrow": 4}

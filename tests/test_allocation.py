"""Allocation: within the budget, in order, and the best bargains that the budget buys."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from calib.allocation import FEWEST, LayerOffer, allocate

WORTHS = st.lists(st.floats(0, 1e6), max_size=6).map(lambda w: np.array(sorted(w, reverse=True)))
OFFERS = st.dictionaries(
    st.sampled_from("abcd"), st.builds(LayerOffer, WORTHS, st.floats(0.5, 100)), max_size=4
)
BUDGETS = st.floats(0, 1000)


def cost(offers: dict[str, LayerOffer], ranks: dict[str, int]) -> float:
    return sum(offers[name].price_bytes * rank for name, rank in ranks.items())


def worth(offers: dict[str, LayerOffer], ranks: dict[str, int]) -> float:
    return sum(float(offers[name].worth[:rank].sum()) for name, rank in ranks.items())


@given(offers=OFFERS, budget=BUDGETS)
def test_the_budget_holds_and_nothing_that_fits_is_left_over(
    offers: dict[str, LayerOffer], budget: float
) -> None:
    ranks = allocate(offers, budget)
    assert ranks.keys() == offers.keys()
    assert all(0 <= ranks[name] <= len(offer.worth) for name, offer in offers.items())
    left = budget - cost(offers, ranks)
    assert left >= -1e-9 * budget
    for name, offer in offers.items():
        assert ranks[name] == len(offer.worth) or offer.price_bytes > left - 1e-9 * budget


@given(offers=OFFERS, budget=BUDGETS)
def test_every_layer_gets_its_fewest_before_any_gets_more(
    offers: dict[str, LayerOffer], budget: float
) -> None:
    needed = {name: min(FEWEST, len(offer.worth)) for name, offer in offers.items()}
    ranks = allocate(offers, budget)
    if cost(offers, needed) <= budget:
        assert all(ranks[name] >= few for name, few in needed.items())
    elif offers and len({offer.price_bytes for offer in offers.values()}) == 1:
        assert all(ranks[name] <= few for name, few in needed.items())


@given(
    worths=st.lists(st.lists(st.integers(0, 1000), min_size=5, max_size=8), min_size=1, max_size=3),
    more=st.integers(0, 12),
)
def test_at_equal_prices_no_other_choice_is_worth_more(worths: list[list[int]], more: int) -> None:
    offers = {
        str(i): LayerOffer(np.array(sorted(each, reverse=True), float), 10.0)
        for i, each in enumerate(worths)
    }
    affordable = FEWEST * len(offers) + more
    ranks = allocate(offers, 10.0 * affordable)
    choices = product(*(range(FEWEST, len(offer.worth) + 1) for offer in offers.values()))
    best = max(
        worth(offers, dict(zip(offers, choice, strict=True)))
        for choice in choices
        if sum(choice) <= affordable
    )
    np.testing.assert_allclose(worth(offers, ranks), best, rtol=1e-9)


def test_the_same_worth_at_a_lower_price_goes_first() -> None:
    steady = np.full(FEWEST + 2, 5.0)
    offers = {"dear": LayerOffer(steady, 20.0), "cheap": LayerOffer(steady, 10.0)}
    assert allocate(offers, FEWEST * 30.0 + 20) == {"dear": FEWEST, "cheap": FEWEST + 2}


def test_layers_that_do_not_matter_come_last_where_the_budget_is_short() -> None:
    offers = {
        "idle": LayerOffer(np.zeros(FEWEST), 1.0),
        "grouped": LayerOffer(np.zeros(0), 1.0),
        "head": LayerOffer(np.full(FEWEST, 1e-9), 8.0),
    }
    assert allocate(offers, 8.0 * FEWEST) == {"idle": 0, "grouped": 0, "head": FEWEST}


def test_no_budget_buys_nothing() -> None:
    assert allocate({"a": LayerOffer(np.ones(3), 1.0)}, 0.0) == {"a": 0}
    assert allocate({}, 10.0) == {}

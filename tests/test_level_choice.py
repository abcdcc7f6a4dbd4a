"""Which channel gets which level: against the exhaustive optimum, and what cannot be met."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calib.errors import CalibError
from calib.schemes.level_choice import Choice, choose_levels

Array = np.ndarray[Any, Any]
LEVELS = (1, 2, 4)


def spent_and_lost(choice: Choice, taken: Array, levels: tuple[int, ...]) -> tuple[int, float]:
    every = np.arange(len(taken))
    bits = np.asarray(levels)[taken]
    return int(choice.weights @ bits), float(choice.losses[every, taken].sum())


def exhaustive(choice: Choice, levels: tuple[int, ...], bits_mean: float) -> float:
    budget = bits_mean * choice.weights.sum() + 1e-6
    every = itertools.product(range(len(levels)), repeat=len(choice.weights))
    found = (spent_and_lost(choice, np.array(taken), levels) for taken in every)
    return min(lost for spent, lost in found if spent <= budget)


def random_choice(channels: int, seed: int, *, equal: bool) -> Choice:
    generator = np.random.default_rng(seed)
    weights = np.full(channels, 9) if equal else generator.integers(1, 12, channels)
    losses = generator.exponential(size=(channels, 1)) * generator.random((channels, 3))
    return Choice(weights.astype(np.int64), np.sort(losses, axis=1)[:, ::-1])


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.integers(1, 7),
    bits_mean=st.floats(1, 4),
    equal=st.booleans(),
)
def test_within_one_step_of_the_exhaustive_optimum(
    seed: int,
    channels: int,
    bits_mean: float,
    equal: bool,  # noqa: FBT001 -- drawn
) -> None:
    choice = random_choice(channels, seed, equal=equal)
    taken = choose_levels(choice, LEVELS, bits_mean)
    spent, lost = spent_and_lost(choice, taken, LEVELS)
    assert spent <= bits_mean * choice.weights.sum() + 1e-6
    best = exhaustive(choice, LEVELS, bits_mean)
    largest_step = float((choice.losses[:, 0] - choice.losses[:, -1]).max())
    assert best <= lost + 1e-12
    assert lost <= best + largest_step + 1e-12


def test_the_exhaustive_optimum_is_mostly_met() -> None:
    """Eight channels, the budgets of a real network: mean loss within 2 % of the optimum's."""
    lost, best = [], []
    for seed in range(40):
        choice = random_choice(8, seed, equal=True)
        bits_mean = (2.0, 2.5, 3.0)[seed % 3]
        lost.append(spent_and_lost(choice, choose_levels(choice, LEVELS, bits_mean), LEVELS)[1])
        best.append(exhaustive(choice, LEVELS, bits_mean))
    assert sum(lost) <= 1.02 * sum(best)
    assert sum(mine <= least + 1e-12 for mine, least in zip(lost, best, strict=True)) >= 25


def test_a_budget_that_is_large_enough_takes_the_best_of_every_channel() -> None:
    choice = random_choice(6, 0, equal=False)
    taken = choose_levels(choice, LEVELS, 8.0)
    np.testing.assert_array_equal(taken, choice.losses.argmin(axis=1))


def test_no_bits_are_spent_where_nothing_is_won() -> None:
    losses = np.array([[1.0, 1.0, 1.0], [5.0, 3.0, 3.0]])
    taken = choose_levels(Choice(np.array([9, 9]), losses), LEVELS, 4.0)
    np.testing.assert_array_equal(taken, [0, 1])


def test_sensitive_channels_get_the_bits() -> None:
    losses = np.outer([1.0, 100.0, 1.0], [1.0, 0.3, 0.05])
    taken = choose_levels(Choice(np.array([10, 10, 10]), losses), LEVELS, 2.0)
    assert taken[1] == 2


def test_the_smallest_budget_gives_the_smallest_level() -> None:
    choice = random_choice(5, 1, equal=False)
    np.testing.assert_array_equal(choose_levels(choice, LEVELS, 1.0), np.zeros(5))


def test_a_budget_below_the_smallest_level_is_refused() -> None:
    with pytest.raises(CalibError, match=r"1.9 mean bits cannot .* smallest possible is 2"):
        choose_levels(random_choice(3, 0, equal=True), (2, 4, 8), 1.9)

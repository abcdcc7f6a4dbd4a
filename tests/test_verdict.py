"""The choice of samples, and the verdict on new factors."""

from __future__ import annotations

import numpy as np
import pytest

from calib.errors import CalibError
from calib.layer_error import LayerError
from calib.selection import Chosen, select
from calib.verify import Judgement, Verdict, judge

RISES = np.array([0.1, 3.0, -0.5, 2.0, 2.0])
INDICES = np.array([10, 11, 12, 13, 14])


def chosen(rule: str, count: int, seed: int = 0) -> tuple[Chosen, ...]:
    return select(rule, INDICES, RISES, count, np.random.default_rng(seed))


def test_sensitivity_takes_the_highest_first_and_says_the_rank() -> None:
    found = chosen("sensitivity", 3)
    assert [one.index for one in found] == [11, 13, 14]
    assert [one.sensitivity for one in found] == [3, 2, 2]
    assert [one.reason for one in found] == [f"sensitivity rank {k} of 5" for k in (1, 2, 3)]


def test_a_sensitivity_that_is_no_number_comes_last() -> None:
    rises = np.array([np.nan, 1.0, 2.0])
    found = select("sensitivity", np.arange(3), rises, 2, np.random.default_rng(0))
    assert [one.index for one in found] == [2, 1]


def test_random_draws_without_repeats_and_the_seed_decides() -> None:
    found = [one.index for one in chosen("random", 4, seed=1)]
    assert len(set(found)) == 4
    assert set(found) <= set(INDICES)
    assert found == [one.index for one in chosen("random", 4, seed=1)]
    assert len({tuple(one.index for one in chosen("random", 4, seed=s)) for s in range(9)}) > 1


def test_all_takes_all_whatever_the_number() -> None:
    assert [one.index for one in chosen("all", 1)] == list(INDICES)


@pytest.mark.parametrize("rule", ["sensitivity", "random"])
def test_fewer_than_asked_are_all_used(rule: str) -> None:
    assert sorted(one.index for one in chosen(rule, 99)) == list(INDICES)


def test_what_cannot_be_chosen_is_refused() -> None:
    with pytest.raises(CalibError, match="no selection 'best'; choose one of sensitivity, random"):
        chosen("best", 2)
    with pytest.raises(CalibError, match="0 samples are to be chosen from 5"):
        chosen("random", 0)
    with pytest.raises(CalibError, match="2 samples are to be chosen from 0"):
        select("all", INDICES[:0], RISES[:0], 2, np.random.default_rng(0))


def judgement(loss: float, *errors: float) -> Judgement:
    layers = {str(i): LayerError(error, 0.0, 0.0, 1.0) for i, error in enumerate(errors)}
    return Judgement(loss, layers)


def verdict(after: Judgement) -> Verdict:
    return judge(judgement(0.5, 0.2, 0.4), after)


def test_better_in_both_is_accepted_with_the_figures() -> None:
    found = verdict(judgement(0.25, 0.1, 0.2))
    assert found.accepted
    assert found.reason == (
        "the loss on held-back samples falls from 0.5 to 0.25 and the mean layer error "
        "falls from 0.3 to 0.15"
    )
    assert (found.before.loss, found.after.mean_error) == (0.5, pytest.approx(0.15))


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (
            judgement(0.6, 0.1, 0.1),
            "the loss on held-back samples rises from 0.5 to 0.6: old factors kept",
        ),
        (
            judgement(0.5, 0.1, 0.1),
            "the loss on held-back samples stays at 0.5: old factors kept",
        ),
        (
            judgement(0.4, 0.5, 0.5),
            "the mean layer error rises from 0.3 to 0.5: old factors kept",
        ),
        (
            judgement(0.4, 0.299, 0.299),
            "the mean layer error falls from 0.3 to 0.299, less than 1% better: old factors kept",
        ),
        (
            judgement(np.nan, 0.1, 0.1),
            "the chip's answers with new factors are not finite: old factors kept",
        ),
        (
            judgement(0.1, 0.1, np.inf),
            "the chip's answers with new factors are not finite: old factors kept",
        ),
    ],
)
def test_worse_or_no_better_in_one_is_refused(after: Judgement, reason: str) -> None:
    found = verdict(after)
    assert not found.accepted
    assert found.reason == reason


def test_anything_finite_is_better_than_a_chip_that_gives_no_numbers() -> None:
    found = judge(judgement(np.nan, np.nan), judgement(0.7, 0.3))
    assert found.accepted
    assert "goes from nan to 0.7" in found.reason

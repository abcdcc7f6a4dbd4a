"""The verdict on new factors."""

from __future__ import annotations

import numpy as np
import pytest

from calib.layer_error import LayerError
from calib.verify import Judgement, Verdict, judge


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

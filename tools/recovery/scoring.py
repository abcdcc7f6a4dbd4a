"""How good a corrected chip is, on test samples that took no part."""

from __future__ import annotations

from dataclasses import dataclass

from recovery.outcome import Outcome
from recovery.subject import CLASSES, Subject


@dataclass(frozen=True)
class Score:
    """Figures of one corrected chip."""

    accuracy: float
    recovery: float
    """Accuracy over the float network's, on the same samples."""

    agreement: float
    """Share of samples with the float network's answer."""

    divergence: float
    """Of the class probabilities from the float network's, in nats: mean Kullback-Leibler."""


def score(subject: Subject, outcome: Outcome) -> Score:
    """Run the test samples through the corrected chip."""
    given = subject.shared.material
    if outcome.factors is not None:
        found = subject.runtime().run(given.test.x, outcome.factors, {}).answers
    else:
        assert outcome.answers is not None, "an outcome has factors, or says what it answers"
        found = outcome.answers(given.test.x)
    answer = found.argmax(axis=1)
    accuracy = float((answer == given.test.y).mean())
    return Score(
        accuracy=accuracy,
        recovery=accuracy / given.accuracy,
        agreement=float((answer == given.clean.argmax(axis=1)).mean()),
        divergence=float(CLASSES.losses(given.clean, found).mean()),
    )

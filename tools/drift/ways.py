"""Accuracy of one chip at every age, for each way to correct it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from recovery.cases import CASES, Case
from recovery.closed_forms import nothing, with_scalar
from recovery.ours import Ours
from recovery.outcome import Outcome
from recovery.scoring import score
from recovery.subject import Buffered, Material, Subject

HOUR_S, DAY_S, YEAR_S = 3600.0, 86_400.0, 365 * 86_400.0
AGES = {
    "1 s": 1.0,
    "1 hour": HOUR_S,
    "1 day": DAY_S,
    "1 month": 30 * DAY_S,
    "1 year": YEAR_S,
    "10 years": 10 * YEAR_S,
}

CHIPS = range(1500, 1505)
"""Used for nothing but these figures, as chips of ours and as the seeds of aihwkit's."""

CASE: Case = next(case for case in CASES if case.device == "pcm")
"""ResNet-8, `int8`, on the PCM model; its age is replaced."""

OURS = "ours, calibrated at this age"
ONCE = "ours, calibrated after 1 s and never again"
UNCORRECTED, SCALAR = "uncorrected", "one scalar a layer"


@dataclass(frozen=True)
class Accuracy:
    """What one chip reached at one age."""

    way: str
    chip: int
    age_s: float
    accuracy: float
    images: int


def at_age(shared: Buffered, age_s: float) -> Buffered:
    """The same packed network and samples on chips of another age."""
    case = replace(shared.material.case, age_s=age_s)
    given = shared.material
    return replace(shared, material=Material(case, given.graph, given.pool, given.test), kept={})


def through_time(
    shared: Buffered, chip: int, ages_s: Sequence[float], samples: int
) -> Iterator[Accuracy]:
    """One chip at all ages, the youngest first.

    Args:
        shared: the packed network with the samples to calibrate with.
        chip: its seed.
        ages_s: in order.
        samples: how many a calibration takes.
    """
    first: Outcome | None = None
    for age_s in ages_s:
        subject = Subject(at_age(shared, age_s), chip)
        ours = Ours("probe", samples)(subject)
        first = first or ours
        outcomes = {
            UNCORRECTED: nothing(subject),
            SCALAR: with_scalar(subject),
            ONCE: first,
            OURS: ours,
        }
        for way, outcome in outcomes.items():
            found = score(subject, outcome)
            yield Accuracy(way, chip, age_s, found.accuracy, len(shared.material.test))

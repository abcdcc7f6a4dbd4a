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

from drift.names import ONCE, OUR_WAYS, OURS, PEER_WAYS, SCALAR, UNCORRECTED

CHIPS = range(1500, 1505)
"""Used for nothing but these figures, as chips of ours and as the seeds of aihwkit's."""

CASE: Case = next(case for case in CASES if case.device == "pcm")
"""ResNet-8, `int8`, on the PCM model; its age is replaced."""


@dataclass(frozen=True)
class Accuracy:
    """What one chip reached at one age."""

    way: str
    chip: int
    age_s: float
    accuracy: float
    images: int


def complete(
    found: Sequence[Accuracy], chips: Sequence[int], ages_s: Sequence[float]
) -> list[Accuracy]:
    """The records of chips that were measured to the end, ours and aihwkit's each by themselves."""
    known = {(one.way, one.chip, one.age_s) for one in found}
    kept = []
    for ways in (OUR_WAYS, PEER_WAYS):
        done = {
            chip
            for chip in chips
            if all((way, chip, age_s) in known for way in ways for age_s in ages_s)
        }
        kept += [one for one in found if one.way in ways and one.chip in done]
    return kept


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

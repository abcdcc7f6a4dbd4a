"""Choosing the samples of a calibration from those that the buffer holds.

No rule needs more than one run of the chip for each sample that may be chosen, which is what
sensitivities take where layers can only be tapped. What each is worth is measured in
docs/benchmarks/selection.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.candidates import Candidates
from calib.coverage import farthest_first
from calib.errors import CalibError
from calib.representatives import appearance, herded

Floats = NDArray[np.floating]
Picks = list[tuple[int, str]]
"""Places among the candidates, best first, and why."""


@dataclass(frozen=True)
class Chosen:
    """A sample that a calibration uses, and why."""

    index: int
    sensitivity: float
    reason: str


@dataclass(frozen=True)
class Rule:
    """A way to choose."""

    pick: Callable[[Candidates, int, np.random.Generator], Picks]
    needs_answers: bool = False
    """Whether the chip has to run the whole network for each candidate."""


def _by_sensitivity(candidates: Candidates, count: int, _: np.random.Generator) -> Picks:
    rises = candidates.rises
    order = np.argsort(-rises, kind="stable")[:count]  # what could not be valued comes last
    return [(int(i), f"sensitivity rank {rank} of {len(rises)}") for rank, i in enumerate(order, 1)]


def _at_random(candidates: Candidates, count: int, generator: np.random.Generator) -> Picks:
    order = generator.permutation(len(candidates.indices))[:count]
    return [(int(i), "drawn at random") for i in order]


def _all(candidates: Candidates, _count: int, _: np.random.Generator) -> Picks:
    return [(i, "all are used") for i in range(len(candidates.indices))]


def _by_loss(candidates: Candidates, count: int, _: np.random.Generator) -> Picks:
    losses = _finite(candidates.losses, "losses")
    return [(i, f"loss {losses[i]:.3g}") for i in _highest(losses, count)]


def _by_entropy(candidates: Candidates, count: int, _: np.random.Generator) -> Picks:
    entropies = _finite(candidates.entropies, "entropies")
    return [(i, f"entropy {entropies[i]:.3g}") for i in _highest(entropies, count)]


def _by_margin(candidates: Candidates, count: int, _: np.random.Generator) -> Picks:
    margins = _finite(candidates.margins, "margins")
    return [(i, f"clean margin {margins[i]:.3g}") for i in _highest(-margins, count)]


def _by_error_norm(candidates: Candidates, count: int, _: np.random.Generator) -> Picks:
    norms = _finite(candidates.error_norms, "layer errors")
    return [(i, f"layer error {norms[i]:.3g}") for i in _highest(norms, count)]


def _by_coverage(candidates: Candidates, count: int, _: np.random.Generator) -> Picks:
    found = farthest_first(_finite(candidates.features, "features"), count)
    return [(i, f"distance {distance:.3g} from those before") for i, distance in found]


def _by_both(candidates: Candidates, count: int, _: np.random.Generator) -> Picks:
    rises = np.maximum(_finite(candidates.rises, "sensitivities"), 0)
    found = farthest_first(_finite(candidates.features, "features"), count, rises)
    return [
        (i, f"sensitivity {rises[i]:.3g} at distance {distance:.3g} from those before")
        for i, distance in found
    ]


def _by_likeness(candidates: Candidates, count: int, _: np.random.Generator) -> Picks:
    views = {name: _finite(seen, "clean rows") for name, seen in candidates.views.items()}
    return [
        (i, f"with those before at {distance:.3g} from the mean of all")
        for i, distance in herded(appearance(views), count)
    ]


RULES: Mapping[str, Rule] = {
    "sensitivity": Rule(_by_sensitivity),
    "random": Rule(_at_random),
    "all": Rule(_all),
    "loss": Rule(_by_loss, needs_answers=True),
    "margin": Rule(_by_margin),
    "entropy": Rule(_by_entropy, needs_answers=True),
    "error-norm": Rule(_by_error_norm),
    "coverage": Rule(_by_coverage),
    "sensitivity-coverage": Rule(_by_both),
    "representative": Rule(_by_likeness),
}


def rule_named(name: str) -> Rule:
    """The rule of that name.

    Raises:
        CalibError: there is none.
    """
    if name not in RULES:
        raise CalibError(f"there is no selection {name!r}; choose one of {', '.join(RULES)}")
    return RULES[name]


def select(
    rule: str, candidates: Candidates, count: int, generator: np.random.Generator
) -> tuple[Chosen, ...]:
    """Choose `count` of the samples; their order does not matter, ties go to the lower number.

    Args:
        rule: a name in `RULES`.
        candidates: what is known of the samples that may be chosen.
        count: how many to choose; all, if there are fewer.
        generator: for rules that draw.

    Raises:
        CalibError: no such rule, nothing to choose from, or no numbers to choose by.
    """
    pick = rule_named(rule).pick
    if not len(candidates.indices) or count < 1:
        raise CalibError(
            f"{count} samples are to be chosen from {len(candidates.indices)}; at least one of one "
            "is needed"
        )
    ordered = candidates.of(candidates.indices)
    return tuple(
        Chosen(int(ordered.indices[i]), float(ordered.rises[i]), reason)
        for i, reason in pick(ordered, count, generator)
    )


def first_draws(rule: str, draws: NDArray[np.integer], count: int) -> tuple[Chosen, ...]:
    """The first of draws from moments, where no rule has anything to go by; all, if all are wanted.

    Args:
        rule: a name in `RULES`.
        draws: their numbers.
        count: how many.

    Raises:
        CalibError: no such rule, or none is wanted.
    """
    rule_named(rule)
    if count < 1:
        raise CalibError(f"{count} draws are to be used; at least one is needed")
    some = draws if rule == "all" else draws[:count]
    return tuple(Chosen(int(one), float("nan"), "draws are all alike") for one in some)


def _highest(scores: Floats, count: int) -> list[int]:
    return [int(i) for i in np.argsort(-scores, kind="stable")[:count]]


def _finite(values: Floats | None, what: str) -> Floats:
    """Values [n, ...] that samples can be chosen by.

    Raises:
        CalibError: there are none, or some are not finite.
    """
    if values is None:
        raise CalibError(
            f"this network has no {what} to choose samples by: its outputs are no classes; choose "
            "--select sensitivity, coverage or random"
        )
    bad = int((~np.isfinite(values)).reshape(len(values), -1).any(axis=1).sum())
    if bad:
        raise CalibError(
            f"the {what} of {bad} of {len(values)} samples are not finite, so they cannot be "
            "chosen by; measure the chip, or choose --select random"
        )
    return values

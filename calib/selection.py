"""Choosing the samples of a calibration from those that the buffer holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.errors import CalibError

Float32 = NDArray[np.floating]


@dataclass(frozen=True)
class Chosen:
    """A sample that a calibration uses, and why."""

    index: int
    sensitivity: float
    reason: str


def _by_sensitivity(rises: Float32, count: int, _: np.random.Generator) -> list[tuple[int, str]]:
    order = np.argsort(-rises, kind="stable")[:count]
    return [(int(i), f"sensitivity rank {rank} of {len(rises)}") for rank, i in enumerate(order, 1)]


def _at_random(rises: Float32, count: int, generator: np.random.Generator) -> list[tuple[int, str]]:
    order = generator.permutation(len(rises))[:count]
    return [(int(i), "drawn at random") for i in order]


def _all(rises: Float32, _count: int, _: np.random.Generator) -> list[tuple[int, str]]:
    return [(i, "all are used") for i in range(len(rises))]


RULES: Mapping[str, Callable[[Float32, int, np.random.Generator], list[tuple[int, str]]]] = {
    "sensitivity": _by_sensitivity,
    "random": _at_random,
    "all": _all,
}


def select(
    rule: str,
    indices: NDArray[np.integer],
    rises: Float32,
    count: int,
    generator: np.random.Generator,
) -> tuple[Chosen, ...]:
    """Choose `count` of the samples.

    Args:
        rule: a name in `RULES`.
        indices: the samples' numbers in the bundle, [n].
        rises: their sensitivities, [n].
        count: how many to choose; all, if there are fewer.
        generator: for rules that draw.

    Raises:
        CalibError: no such rule, or nothing to choose from.
    """
    if rule not in RULES:
        raise CalibError(f"there is no selection {rule!r}; choose one of {', '.join(RULES)}")
    if not len(indices) or count < 1:
        raise CalibError(
            f"{count} samples are to be chosen from {len(indices)}; at least one of one is needed"
        )
    picked = RULES[rule](rises, count, generator)
    return tuple(Chosen(int(indices[i]), float(rises[i]), reason) for i, reason in picked)

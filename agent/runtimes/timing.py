"""How much longer one thing takes than another, on a machine that does others besides.

Both take turns, so that what disturbs one disturbs the other. In a turn each is done a few times,
of which the shortest counts: what comes in between makes things longer and never shorter. The
ratio is that of the medians over the turns.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Clock = Callable[[], float]
"""Seconds; only differences matter."""

Work = Callable[[], object]

TIMES = 4
"""How often a thing is done in a turn."""

MOST_TURNS = 30
FEWEST_TURNS = 5
ENOUGH_S = 0.3
"""When there are no more turns than the fewest, so that slow networks take seconds."""


def slowdown(work: Work, plain: Work, clock: Clock) -> float:
    """How many times as long `work` takes as `plain`.

    Args:
        work: what is judged.
        plain: what it is compared with.
        clock: tells the time.
    """
    began = clock()
    of_work: list[float] = []
    of_plain: list[float] = []
    while len(of_work) < MOST_TURNS:
        of_plain.append(_shortest_s(plain, clock))
        of_work.append(_shortest_s(work, clock))
        if len(of_work) >= FEWEST_TURNS and clock() - began > ENOUGH_S:
            break
    usual = float(np.median(of_plain))
    return float(np.median(of_work)) / usual if usual > 0 else 1.0


def _shortest_s(work: Work, clock: Clock) -> float:
    """The first time only warms up: the other one has been in the caches since."""
    found: list[float] = []
    for _ in range(1 + TIMES):
        start = clock()
        work()
        found.append(clock() - start)
    return min(found[1:])

"""Times of single samples: all variants take turns in every round, so that ratios hold.

Milliseconds are those of a machine that does other work as well; of what is said here only the
ratios to the plain variant in the same round carry over.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from agent.runtimes.onnx_session import OnnxSession

WARM_UP = 5


@dataclass(frozen=True)
class Times:
    """Of one variant."""

    median_ms: float
    p95_ms: float
    ratio: float
    """To the plain variant: the median over the rounds."""

    ratio_low: float
    ratio_high: float
    """What 10 % and 90 % of the rounds are below."""


def latencies(
    sessions: Mapping[str, OnnxSession], sample: np.ndarray, plain: str, rounds: int, runs: int
) -> dict[str, Times]:
    """By variant.

    Args:
        sessions: by variant.
        sample: one, [1, ...].
        plain: the variant that the others are compared with.
        rounds: in each, every variant takes its turn.
        runs: of one variant in its turn.
    """
    seen = {name: np.empty((rounds, runs)) for name in sessions}
    for turn in range(rounds):
        for name, session in sessions.items():
            for _ in range(WARM_UP):
                session.run(sample)
            seen[name][turn] = [_run_ms(session, sample) for _ in range(runs)]
    usual = np.median(seen[plain], axis=1)
    return {name: _times(times, np.median(times, axis=1) / usual) for name, times in seen.items()}


def _times(each: np.ndarray, ratios: np.ndarray) -> Times:
    median, p95 = np.percentile(each, [50, 95])
    low, middle, high = np.percentile(ratios, [10, 50, 90])
    return Times(float(median), float(p95), float(middle), float(low), float(high))


def _run_ms(session: OnnxSession, sample: np.ndarray) -> float:
    start = time.perf_counter()
    session.run(sample)
    return (time.perf_counter() - start) * 1e3

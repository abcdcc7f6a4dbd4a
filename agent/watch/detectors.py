"""The detectors that there are. Scores are standard normal where nothing has changed."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from agent.watch import run_length
from agent.watch.chi_square import chi_square_limit
from agent.watch.detector import Detector

Float64 = NDArray[np.float64]

REFERENCE = 0.5
"""k of CUSUM, δ of Page and Hinkley: half the shift that is found fastest, one deviation."""

WEIGHT = 0.1
"""λ of EWMA and MEWMA, of the newest round: best for shifts of about one deviation."""

_LONG_RUN = math.sqrt(WEIGHT / (2 - WEIGHT))
"""Deviation of an EWMA."""


def _cusum_step(memory: Float64, scores: Float64) -> Float64:
    return np.maximum(memory + scores - REFERENCE, 0.0)


@lru_cache(maxsize=64)
def _cusum_limit(wanted: float, _size: int) -> float:
    return run_length.limit_for(lambda limit: run_length.cusum(REFERENCE, limit), wanted, 4.0)


CUSUM = Detector(
    name="cusum",
    several=False,
    start=lambda _size: np.zeros(1),
    step=_cusum_step,
    statistic=lambda memory: float(memory[0]),
    held=np.minimum,
    limit=_cusum_limit,
    source="Page, Biometrika 41, 1954; limit: Brook and Evans, Biometrika 59, 1972",
)


def _ewma_step(memory: Float64, scores: Float64) -> Float64:
    return (1 - WEIGHT) * memory + WEIGHT * scores


@lru_cache(maxsize=64)
def _ewma_limit(wanted: float, _size: int) -> float:
    return run_length.limit_for(lambda limit: run_length.ewma(WEIGHT, limit), wanted, 2.0)


EWMA = Detector(
    name="ewma",
    several=False,
    start=lambda _size: np.zeros(1),
    step=_ewma_step,
    statistic=lambda memory: abs(float(memory[0])) / _LONG_RUN,
    held=lambda memory, most: np.clip(memory, -most * _LONG_RUN, most * _LONG_RUN),
    limit=_ewma_limit,
    source="Roberts, Technometrics 1, 1959; limit: Lucas and Saccucci, Technometrics 32, 1990",
)


def _page_hinkley_step(memory: Float64, scores: Float64) -> Float64:
    """Memory: rounds, mean score, sum of what is above the mean and δ, lowest sum."""
    rounds, mean, total, lowest = memory
    mean = (mean * rounds + scores[0]) / (rounds + 1)
    total += scores[0] - mean - REFERENCE
    return np.array([rounds + 1, mean, total, min(lowest, total)])


def _page_hinkley_held(memory: Float64, most: float) -> Float64:
    rounds, mean, total, lowest = memory
    return np.array([rounds, mean, min(total, lowest + most), lowest])


PAGE_HINKLEY = Detector(
    name="page-hinkley",
    several=False,
    start=lambda _size: np.zeros(4),
    step=_page_hinkley_step,
    statistic=lambda memory: float(memory[2] - memory[3]),
    held=_page_hinkley_held,
    # With the mean known it is CUSUM, and the mean of the scores soon is.
    limit=_cusum_limit,
    source="Hinkley, Biometrika 58, 1971, section 2: the mean is estimated on the way",
)


def _t_squared(memory: Float64) -> float:
    return float(memory @ memory) / _LONG_RUN**2


def _shortened(memory: Float64, most: float) -> Float64:
    """The vector, no longer than its limit allows."""
    over = _t_squared(memory) / most
    return memory / math.sqrt(over) if over > 1 else memory


@lru_cache(maxsize=64)
def _mewma_limit(wanted: float, size: int) -> float:
    return run_length.limit_for(lambda h: run_length.mewma(WEIGHT, h, size), wanted, float(size))


MEWMA = Detector(
    name="mewma",
    several=True,
    start=np.zeros,
    step=_ewma_step,
    statistic=_t_squared,
    held=_shortened,
    limit=_mewma_limit,
    source="Lowry et al., Technometrics 34, 1992; limit: Runger and Prabhu, JASA 91, 1996",
)

HOTELLING = Detector(
    name="hotelling",
    several=True,
    start=np.zeros,
    step=lambda _memory, scores: scores,
    statistic=lambda memory: float(memory @ memory),
    held=lambda memory, _most: memory,  # it remembers one round
    limit=lru_cache(maxsize=64)(lambda wanted, size: chi_square_limit(1 / wanted, size)),
    source="Hotelling, 1947: one round's T², chi-squared where the covariance is known",
)

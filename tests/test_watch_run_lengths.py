"""Run lengths of charts: published tables, and simulated series in and out of control."""

from __future__ import annotations

import numpy as np
import pytest

from agent.watch.chi_square import chi_square_below, chi_square_limit, noncentral_below
from agent.watch.detector import Detector
from agent.watch.detectors import CUSUM, EWMA, HOTELLING, MEWMA, PAGE_HINKLEY, WEIGHT
from agent.watch.registry import DETECTORS
from agent.watch.run_length import cusum, ewma, limit_for, mewma, siegmund_cusum

# Montgomery, Introduction to Statistical Quality Control, table 9.3: two-sided, k = 1/2.
TWO_SIDED_CUSUM = {
    4.0: {0.0: 168, 0.5: 26.6, 1.0: 8.38, 1.5: 4.75, 2.0: 3.34, 3.0: 2.19},
    5.0: {0.0: 465, 0.5: 38.0, 1.0: 10.4, 1.5: 5.75, 2.0: 4.01, 3.0: 2.57},
}

# Lucas and Saccucci, Technometrics 32, 1990, table 3: λ, L and run lengths by shift.
EWMA_TABLE = {
    (0.40, 3.054): {0.0: 500, 0.25: 224, 0.5: 71.2, 1.0: 14.3, 2.0: 3.5},
    (0.25, 2.998): {0.0: 500, 0.25: 170, 0.5: 48.2, 1.0: 11.1, 2.0: 3.6},
    (0.20, 2.962): {0.0: 500, 0.25: 150, 0.5: 41.8, 1.0: 10.5, 2.0: 3.7},
    (0.10, 2.814): {0.0: 500, 0.25: 106, 0.5: 31.3, 1.0: 10.3, 2.0: 4.4},
    (0.05, 2.615): {0.0: 500, 0.25: 84.1, 0.5: 28.8, 1.0: 11.4, 2.0: 5.2},
}


@pytest.mark.parametrize("limit", TWO_SIDED_CUSUM)
def test_cusum_is_as_in_the_table(limit: float) -> None:
    for shift, published in TWO_SIDED_CUSUM[limit].items():
        sides = (cusum(0.5, limit, shift), cusum(0.5, limit, -shift))
        both = 1 / sum(1 / side for side in sides)  # Van Dobben de Bruyn 1968
        assert both == pytest.approx(published, rel=0.012), shift


@pytest.mark.parametrize(("weight", "limit"), EWMA_TABLE)
def test_ewma_is_as_in_the_table(weight: float, limit: float) -> None:
    for shift, published in EWMA_TABLE[weight, limit].items():
        assert ewma(weight, limit, shift) == pytest.approx(published, rel=0.012), shift


@pytest.mark.parametrize(("size", "limit"), [(2, 8.64), (4, 12.73), (10, 22.67)])
def test_mewma_is_as_in_the_table(size: int, limit: float) -> None:
    # Prabhu and Runger, Journal of Quality Technology 29, 1997: λ = 0.1, ARL0 = 200.
    assert mewma(0.1, limit, size) == pytest.approx(200, rel=0.01)


@pytest.mark.parametrize(
    ("reference", "limit"), [(0.25, 8.01), (0.5, 4.77), (0.75, 3.34), (1, 2.52)]
)
def test_the_limit_of_a_wanted_run_length_is_as_in_the_table(
    reference: float, limit: float
) -> None:
    # Hawkins 1993, in Montgomery, table 9.4: two-sided, ARL0 = 370.
    found = limit_for(lambda height: cusum(reference, height), 740)
    assert found == pytest.approx(limit, abs=0.02)


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0, 2.0])
def test_siegmunds_approximation_is_near_the_chain(shift: float) -> None:
    assert siegmund_cusum(0.5, 5, shift) == pytest.approx(cusum(0.5, 5, shift), rel=0.04)


def test_chi_squared_is_as_in_tables_and_as_drawn() -> None:
    assert chi_square_below(18.307, 10) == pytest.approx(0.95, abs=1e-5)
    assert chi_square_limit(0.05, 2) == pytest.approx(5.991, abs=1e-3)
    draws = np.random.default_rng(0).normal(size=(200_000, 3))
    draws[:, 0] += 2.0
    found = noncentral_below(np.array([3.0, 9.0]), 3, np.array([4.0]))
    drawn = [((draws**2).sum(axis=1) <= limit).mean() for limit in (3.0, 9.0)]
    assert found[0] == pytest.approx(drawn, abs=0.005)


def run_length(detector: Detector, size: int, limit: float, shift: float, seed: int) -> int:
    """Rounds until a chart alarms on independent normal scores."""
    generator, memory = np.random.default_rng([seed, size]), detector.start(size)
    for count in range(1, 10_000):
        memory = detector.step(memory, shift + generator.normal(size=size))
        if detector.statistic(memory) > limit:
            return count
    return 10_000


@pytest.mark.parametrize("name", DETECTORS)
def test_known_scores_alarm_as_seldom_as_wanted(name: str) -> None:
    detector = DETECTORS[name]
    size = 4 if detector.several else 1
    limit = detector.limit(100.0, size)
    lengths = [run_length(detector, size, limit, 0.0, seed) for seed in range(600)]
    # Deviation of a mean of 600: 4 %. Page and Hinkley's is a little more careful than its limit.
    slack = 0.35 if detector is PAGE_HINKLEY else 0.13
    assert np.mean(lengths) == pytest.approx(100, rel=slack)


@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_shifts_are_found_as_soon_as_published(shift: float) -> None:
    for detector, limit, published in (
        (CUSUM, 5.0, {1.0: 10.4, 2.0: 4.01}),
        (EWMA, 2.814, {1.0: 10.3, 2.0: 4.4}),
    ):
        lengths = [run_length(detector, 1, limit, shift, seed) for seed in range(800)]
        assert np.mean(lengths) == pytest.approx(published[shift], rel=0.08)


def test_several_layers_are_found_sooner_together_than_one_round_alone_finds_them() -> None:
    delays = {
        one.name: np.mean([run_length(one, 5, one.limit(200, 5), 0.5, seed) for seed in range(200)])
        for one in (MEWMA, HOTELLING)
    }
    assert delays["mewma"] < 0.5 * delays["hotelling"]
    assert WEIGHT == 0.1

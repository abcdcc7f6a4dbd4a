"""The watch as a whole: false alarms with a baseline of few rounds, and how soon drift is seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import InputError
from agent.watch.detectors import REFERENCE
from agent.watch.normal import Normal, normal_scores
from agent.watch.registry import chart_named
from agent.watch.rounds import CanaryRound
from agent.watch.run_length import cusum
from agent.watch.settings import WatchSettings
from agent.watch.watching import Watch, begin, limits, look

MOST = 1_000
NAMES = ("a", "b", "c", "d")


def series(generator: np.random.Generator, shift: float = 0.0) -> CanaryRound:
    """A round: layers with a correlation of 0.6, a shift in deviations of their mean."""
    own = np.sqrt(0.6) * generator.normal() + np.sqrt(0.4) * generator.normal(size=len(NAMES))
    errors = np.exp(np.log(0.1) + 0.03 * (own + shift))
    loss = float(np.exp(-3 + 0.3 * generator.normal()))
    return CanaryRound(dict(zip(NAMES, errors.tolist(), strict=True)), loss)


def run_length(settings: WatchSettings, seed: int, shift: float = 0.0, learn: int = 0) -> int:
    """Rounds that are judged until an alarm, the shift there after so many more to learn from."""
    generator, watch = np.random.default_rng(seed), begin(settings, NAMES)
    for _ in range(settings.least_rounds + learn):
        watch = look(watch, series(generator))
    for count in range(1, MOST):
        watch = look(watch, series(generator, shift))
        if watch.alarms:
            return count
    return MOST


@pytest.mark.slow
@pytest.mark.parametrize(
    "chart",
    ["cusum:layers", "cusum:loss", "ewma:layers", "mewma:each-layer", "hotelling:each-layer"],
)
def test_five_rounds_of_baseline_alarm_as_seldom_as_wanted(chart: str) -> None:
    settings = WatchSettings(
        rounds_between_false_alarms=60, charts=(chart,), tolerated_growth=0, most_rounds=1000
    )
    lengths = [run_length(settings, seed) for seed in range(250)]
    assert np.mean(lengths) == pytest.approx(60, rel=0.25)


@pytest.mark.slow
def test_three_charts_together_alarm_no_more_often_than_wanted() -> None:
    settings = WatchSettings(rounds_between_false_alarms=60, tolerated_growth=0, most_rounds=1000)
    lengths = [run_length(settings, seed) for seed in range(200)]
    assert 50 < np.mean(lengths) < 120


def test_what_is_tolerated_hardly_ever_alarms() -> None:
    settings = WatchSettings(rounds_between_false_alarms=20, charts=("cusum:layers",))
    assert min(run_length(settings, seed) for seed in range(3)) == MOST


@pytest.mark.slow
def test_a_shift_after_a_long_baseline_is_found_as_soon_as_computed() -> None:
    settings = WatchSettings(
        rounds_between_false_alarms=400, charts=("cusum:layers",), tolerated_growth=0
    )
    mean_spread = np.sqrt(0.6 + 0.4 / len(NAMES))
    delays = [run_length(settings, seed, 2 * mean_spread, learn=95) for seed in range(150)]
    alarm, _ = limits(settings, chart_named("cusum:layers"), len(NAMES))
    # What is learnt until the alarm, and the estimate, cost a little.
    assert np.mean(delays) == pytest.approx(cusum(REFERENCE, alarm, 2.0), rel=0.2)


def test_the_self_starting_scores_are_normal_and_independent_in_time_and_over_layers() -> None:
    generator = np.random.default_rng(3)
    mixing = generator.normal(size=(3, 3))
    found = []
    for _ in range(400):
        normal = Normal.unknown(3)
        for _ in range(7):
            normal = normal.learn(1 + mixing @ generator.normal(size=3))
        values = 1 + mixing @ generator.normal(size=3)
        scores = [*normal.joint_scores(normal.off(values, 0.0))]
        normal = normal.learn(values)
        again = 1 + mixing @ generator.normal(size=3)
        found.append([*scores, *normal.joint_scores(normal.off(again, 0.0))])
    covariance = np.cov(np.array(found).T)
    assert np.abs(covariance - np.eye(6)).max() < 0.22
    assert np.abs(np.mean(found, axis=0)).max() < 0.15


@given(st.floats(-30, 30), st.integers(3, 200))
def test_normal_scores_are_odd_and_smaller_than_what_they_come_from(
    value: float, freedom: int
) -> None:
    there, mirrored = normal_scores(np.array([value, -value]), np.array([freedom, freedom]))
    assert there == -mirrored
    assert abs(there) <= abs(value) * 1.001


def test_a_normal_score_is_that_of_the_same_probability() -> None:
    # Student's 97.5 % points, and the normal one.
    for freedom, point in ((4, 2.776), (10, 2.228), (30, 2.042)):
        found = normal_scores(np.array([point]), np.array([freedom]))
        assert found[0] == pytest.approx(1.960, abs=0.025)


def test_a_chip_without_any_noise_is_judged_by_what_is_tolerated_alone() -> None:
    def state_after(growth: float) -> Watch:
        watch = begin(WatchSettings(), NAMES)
        for _ in range(30):
            watch = look(watch, CanaryRound(dict.fromkeys(NAMES, 0.1), 1e-4))
        for _ in range(30):
            watch = look(watch, CanaryRound(dict.fromkeys(NAMES, 0.1 * growth), 1e-4))
        return watch

    assert state_after(1.0).state == "healthy"
    assert state_after(1.09).state == "healthy"
    assert state_after(1.2).state == "drifted"
    assert state_after(1.2).score == pytest.approx(1.2, rel=0.01)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cusum", "there is no chart 'cusum'"),
        ("shewhart:loss", "a detector of cusum, ewma, page-hinkley, mewma, hotelling"),
        ("mewma:loss", "mewma takes each-layer"),
        ("ewma:each-layer", "ewma takes layers or loss"),
    ],
)
def test_charts_that_cannot_be_are_named(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        begin(WatchSettings(charts=(name,)), NAMES)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rounds_between_false_alarms": 1},
        {"rounds_between_false_alarms": float("nan")},
        {"least_rounds": 2},
        {"most_rounds": 3},
        {"loss_unit": 0.0},
        {"charts": ()},
    ],
)
def test_settings_that_no_chart_can_be_made_of_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="watch: "):
        WatchSettings(**wrong)  # type: ignore[arg-type]  # wrong on purpose

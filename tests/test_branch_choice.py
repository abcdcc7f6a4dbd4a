"""Which layers get a branch where time is short: against all choices, and as it was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.buffer import SampleBuffer
from agent.errors import RuntimeUnavailableError
from agent.gathering import planned
from agent.loop import Calibration, CalibrationRequest, ClosedLoop
from agent.runtimes.cim import CimRuntime
from agent.runtimes.timing import slowdown
from calib.branch_choice import STEPS, branch_worths, choose, knapsack, plan_within_time
from calib.budget import Budget
from calib.errors import CalibError
from calib.factor_codes import encode_factors
from calib.factors import no_factors
from calib.layer_fit import Plan
from calib.packed import PackedNetwork
from calib.references import fit_indices
from device_models.array import Chip, State
from device_models.presets import preset
from tests.fakes import MemoryStore, RuntimeWithTimes
from tests.small_networks import classifier, packed

NAMES = "abcdef"
COSTS = {"first": 0.3, "depthwise": 0.2, "strided": 0.15, "head": 0.01}
"""By layer of the classifier, what its branch costs in times of the network's time."""


def best_worth(worths: Mapping[str, float], prices: Mapping[str, float], room: float) -> float:
    """Of all sets that fit."""
    sets = (some for count in range(len(worths) + 1) for some in combinations(worths, count))
    fitting = (some for some in sets if sum(prices[name] for name in some) <= room)
    return max(sum(worths[name] for name in some) for some in fitting)


@settings(max_examples=200)
@given(
    worths=st.lists(st.floats(0, 10), min_size=6, max_size=6),
    prices=st.lists(st.integers(0, STEPS), min_size=6, max_size=6),
)
def test_whole_steps_are_chosen_as_well_as_by_trying_all(
    worths: list[float], prices: list[int]
) -> None:
    by_name = dict(zip(NAMES, worths, strict=True))
    priced = {name: price / STEPS for name, price in zip(NAMES, prices, strict=True)}
    chosen = knapsack(by_name, priced, 1.0)
    assert sum(priced[name] for name in chosen) <= 1 + 1e-9
    found = sum(by_name[name] for name in chosen)
    assert found >= best_worth(by_name, priced, 1 - 1e-9) * (1 - 1e-9)


@settings(max_examples=200)
@given(
    worths=st.lists(st.floats(0, 10), min_size=6, max_size=6),
    prices=st.lists(st.floats(0, 1), min_size=6, max_size=6),
    room=st.floats(0, 3),
)
def test_any_prices_are_chosen_nearly_as_well(
    worths: list[float], prices: list[float], room: float
) -> None:
    by_name = dict(zip(NAMES, worths, strict=True))
    priced = dict(zip(NAMES, prices, strict=True))
    chosen = knapsack(by_name, priced, room)
    assert math.fsum(priced[name] for name in chosen) <= room * (1 + 1e-9)
    found = sum(by_name[name] for name in chosen)
    assert found >= best_worth(by_name, priced, room * (1 - len(NAMES) / STEPS)) * (1 - 1e-9)


def adding_up(factor: float = 1.0) -> RuntimeWithTimes:
    """Branches side by side take `factor` times what each takes alone."""
    return RuntimeWithTimes(None, dict.fromkeys(NAMES, 0.25), factor)


WORTHS = {name: float(i + 1) for i, name in enumerate(NAMES)}
RANKS = dict.fromkeys(NAMES, 4)


def test_what_is_worth_most_is_chosen() -> None:
    found = choose(WORTHS, RANKS, adding_up().slowdowns, 1.5)
    assert found.layers == {"e", "f"}
    assert found.slowdown == 1.5


def test_branches_that_share_costs_make_room_for_more() -> None:
    found = choose(WORTHS, RANKS, adding_up(0.5).slowdowns, 1.5)
    assert found.layers == {"c", "d", "e", "f"}
    assert found.slowdown == 1.5


def test_branches_that_take_more_side_by_side_are_left_out() -> None:
    found = choose(WORTHS, RANKS, adding_up(1.5).slowdowns, 1.5)
    assert found.layers == {"f"}
    assert found.slowdown <= 1.5


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5])
def test_without_room_only_what_costs_nothing_is_left(factor: float) -> None:
    costs = {**dict.fromkeys(NAMES, 0.1), "a": 0.0}
    free = RuntimeWithTimes(None, costs, factor)
    assert choose(WORTHS, RANKS, free.slowdowns, 1.0).layers == {"a"}
    assert choose(WORTHS, RANKS, free.slowdowns, math.inf).layers == set(NAMES)
    assert choose({}, {}, free.slowdowns, 1.5).layers == set()


def network() -> PackedNetwork:
    return packed(classifier(), count=48, scheme="int4", rank=3)


def chip_of(one: PackedNetwork) -> CimRuntime:
    return CimRuntime(one, Chip(preset("mismatch-20"), 1), State(), np.random.default_rng(0))


def plan_of(one: PackedNetwork, budget: Budget) -> Plan:
    return planned(chip_of(one), one, fit_indices(one.references), budget)


def test_layers_without_a_branch_leave_their_bytes_and_keep_gain_and_offset() -> None:
    one, budget = network(), Budget(bytes=1200)
    plan = plan_of(one, budget)
    worths = branch_worths(plan)
    assert set(worths) == {name for name, bits in plan.bits.items() if bits} == set(COSTS)
    assert all(worth > 0 for worth in worths.values())
    reached = []
    for limit in (1.0, 1.2, 1.4, 2.0):
        times = RuntimeWithTimes(None, COSTS)
        within = Budget(bytes=1200, slowdown=limit)
        found = plan_within_time(one, plan, within, times.slowdowns)
        branches = {name for name, bits in found.plan.bits.items() if bits}
        assert found.slowdown == pytest.approx(1 + sum(COSTS[name] for name in branches))
        assert found.slowdown <= limit
        factors = found.plan.factors()
        assert len(encode_factors(factors, one.layers)) <= 1200
        for name, surrogate in factors.surrogates.items():
            assert surrogate.rank <= len(plan.bits[name])
            assert not np.array_equal(surrogate.gain, np.ones_like(surrogate.gain))
        reached.append(sum(worths[name] for name in branches))
    assert reached == sorted(reached)
    assert reached[0] == 0
    assert found.plan is plan


def loop_of(one: PackedNetwork, costs: Mapping[str, float] | None) -> ClosedLoop:
    chip = chip_of(one)
    return ClosedLoop(
        one,
        chip if costs is None else RuntimeWithTimes(chip, costs),
        no_factors(one.layers),
        SampleBuffer(),
        lambda: 0.0,
        np.random.default_rng(0),
    )


def calibrated(loop: ClosedLoop, budget: Budget, method: str = "auto") -> Calibration:
    request = CalibrationRequest(samples=24, budget=budget, method=method)
    return loop.calibrate(request, MemoryStore(lambda: loop.factors))


@pytest.mark.parametrize("method", ["probe", "sequential"])
def test_a_calibration_keeps_the_limit_and_says_what_it_took(method: str) -> None:
    loop = loop_of(network(), COSTS)
    done = calibrated(loop, Budget(slowdown=1.25), method)
    assert done.verdict.accepted
    assert done.spending.slowdown_allowed == 1.25
    branches = {name for name, one in loop.factors.surrogates.items() if one.rank}
    assert branches
    took = done.spending.slowdown
    assert took is not None
    assert took <= 1.25
    assert took == pytest.approx(1 + sum(COSTS[name] for name in branches))


def test_nothing_is_measured_without_a_limit() -> None:
    loop = loop_of(network(), COSTS)
    done = calibrated(loop, Budget())
    assert isinstance(loop.runtime, RuntimeWithTimes)
    assert not loop.runtime.asked
    assert (done.spending.slowdown, done.spending.slowdown_allowed) == (None, math.inf)


def test_a_runtime_without_times_is_refused_before_any_work() -> None:
    with pytest.raises(RuntimeUnavailableError, match="leave --budget-slowdown out"):
        calibrated(loop_of(network(), None), Budget(slowdown=1.5))


@pytest.mark.parametrize("slowdown", [0.99, -1.0, math.nan, math.inf])
def test_what_is_no_slowdown_is_refused(slowdown: float) -> None:
    with pytest.raises(CalibError, match="give a number from 1 on"):
        Budget(slowdown=slowdown)


class FakeClock:
    """A clock that is moved by the works themselves, and by what comes in between."""

    def __init__(self, disturbances: Sequence[float] = (0.0,)) -> None:
        self.now_s, self.disturbances, self.works = 0.0, disturbances, 0

    def __call__(self) -> float:
        return self.now_s

    def work(self, seconds: float) -> None:
        self.works += 1
        self.now_s += seconds + self.disturbances[self.works % len(self.disturbances)]


@pytest.mark.parametrize("unit_s", [1e-4, 1e-2, 10.0])
@pytest.mark.parametrize("disturbances", [(0.0,), (0.0, 0.0, 5.0), (0.0, 1.0)])
def test_a_ratio_survives_what_comes_in_between(
    unit_s: float, disturbances: tuple[float, ...]
) -> None:
    clock = FakeClock([unit_s * one for one in disturbances])
    found = slowdown(lambda: clock.work(1.5 * unit_s), lambda: clock.work(unit_s), clock)
    assert found == pytest.approx(1.5)
    assert clock.works < 1000


def test_a_clock_that_stands_still_tells_no_difference() -> None:
    assert slowdown(lambda: None, lambda: None, lambda: 0.0) == 1.0

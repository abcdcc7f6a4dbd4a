"""Generic memories fitted to cells that are made by formulas written down apart."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_cells import measured

from device_models.contract import DeviceModel
from device_models.errors import DeviceModelError
from device_models.fitting.cells import CellMeasurements
from device_models.fitting.curves import change, quantiles
from device_models.fitting.drift import folded
from device_models.fitting.generic_fit import GenericFit, fit_generic
from device_models.fitting.golden import lowest
from device_models.memories.generic import DEPENDENCES, DISTRIBUTIONS, GenericMemory
from device_models.memories.pcm import PhaseChangeMemory
from tests.cell_data import Truth, measure

DEVIATIONS = {"independent": 0.02, "proportional": 0.05, "inverse-proportional": 0.004}
KINDS = [(one, other) for one in DISTRIBUTIONS for other in DEPENDENCES]


def truth(distribution: str, dependence: str, **others: float) -> Truth:
    return Truth(distribution, dependence, DEVIATIONS[dependence], **others)


def near(fit: GenericFit, name: str, value: float, errors: float = 4.0) -> bool:
    """Whether a parameter is its truth, within some standard errors."""
    error = fit.errors[name]
    assert error is not None
    return abs(getattr(fit.model, name) - value) <= errors * error


@pytest.mark.parametrize("g_min", [0.0, 0.05])
@pytest.mark.parametrize(("distribution", "dependence"), KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_every_kind_is_found_with_its_deviation(
    distribution: str, dependence: str, g_min: float, seed: int
) -> None:
    real = truth(distribution, dependence, g_min=g_min)
    fit = fit_generic(measure(real, seed=seed))
    assert (fit.model.distribution, fit.model.dependence) == (distribution, dependence)
    # the largest of n uniform errors is no normal figure: its tail is that of an exponential one
    assert near(fit, "deviation", real.deviation, 4 if distribution == "normal" else 7)
    assert fit.model.g_min == g_min
    assert fit.warnings == ()
    assert fit.drift is None
    assert fit.model.drift_mean == fit.model.read_noise == 0
    assert any("drift cannot be told" in sentence for sentence in fit.untold)


@given(
    st.sampled_from(KINDS),
    st.floats(0.005, 0.2),
    st.sampled_from([0.02, 0.3]),
    st.integers(0, 2**31),
)
@settings(max_examples=30)
def test_the_deviation_of_any_device_is_found(
    kind: tuple[str, str], deviation: float, g_min: float, seed: int
) -> None:
    real = Truth(*kind, deviation=deviation, g_min=g_min)
    fit = fit_generic(measure(real, cells=400, seed=seed))
    found = next(one for one in fit.candidates if one.name == "-".join(kind))
    assert found.deviation == pytest.approx(deviation, abs=6 * found.standard_error + 1e-9) or (
        kind[0] == "uniform" and found.deviation == pytest.approx(deviation, rel=0.04)
    )


@pytest.mark.parametrize(("distribution", "dependence"), KINDS)
def test_noise_of_reading_is_told_from_errors_of_programming(
    distribution: str, dependence: str
) -> None:
    real = truth(distribution, dependence, noise=0.006, g_min=0.1)
    fit = fit_generic(measure(real, cells=900, reads=3))
    assert (fit.model.distribution, fit.model.dependence) == (distribution, dependence)
    assert near(fit, "deviation", real.deviation)
    # a weight is the difference of two cells, over the range from G_min to G_max
    assert near(fit, "read_noise", 0.006 * math.sqrt(2) / 0.9)
    assert fit.warnings == ()


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_drift_is_found(*, named: bool, seed: int) -> None:
    real = Truth(mean=0.06, spread=0.02)
    data = measure(real, (0.0, 10.0, 1e3, 1e5), named=named, seed=seed)
    fit = fit_generic(data, start_s=20.0)
    assert near(fit, "drift_mean", real.mean)
    assert near(fit, "drift_deviation", real.spread)
    assert fit.model.drift_start_s == 20
    free = fit_generic(data)
    assert free.model.drift_start_s == pytest.approx(20, rel=0.5)
    assert any("t0 was fitted" in sentence for sentence in free.untold)
    assert any("no cell is named" in sentence for sentence in fit.untold) is not named


def test_exponents_near_0_are_those_of_a_folded_distribution() -> None:
    real = Truth(mean=0.01, spread=0.03)
    fit = fit_generic(measure(real, (0.0, 10.0, 1e3, 1e5), cells=4000), start_s=20.0)
    assert near(fit, "drift_mean", real.mean, 6)
    assert near(fit, "drift_deviation", real.spread, 6)
    assert any("near 0" in sentence for sentence in fit.untold)


@pytest.mark.parametrize(("distribution", "dependence"), KINDS)
def test_cells_first_read_late_are_taken_back_where_the_start_is_known(
    distribution: str, dependence: str
) -> None:
    real = truth(distribution, dependence, mean=0.06, spread=0.02, g_min=0.04)
    data = measure(real, (30.0, 300.0, 1e5))
    fit = fit_generic(data, start_s=20.0)
    assert (fit.model.distribution, fit.model.dependence) == (distribution, dependence)
    assert near(fit, "deviation", real.deviation, 7)
    assert fit.age_zero_s == 0
    assert fit.model.drift_start_s == 20
    assert fit.model.g_min == pytest.approx(0.04)
    blind = fit_generic(data)
    assert blind.age_zero_s == 30
    assert blind.model.drift_start_s == 30
    assert any("miss their targets" in sentence for sentence in blind.warnings)


@pytest.mark.parametrize("named", [True, False])
def test_cells_may_be_read_one_after_another(*, named: bool) -> None:
    scanned = measure(Truth(mean=0.05, spread=0.01), cells=500)
    generator = np.random.default_rng(1)
    exponents = np.abs(0.05 + 0.01 * generator.standard_normal(500))
    times = np.concatenate([start + 0.01 * np.arange(500) for start in (30.0, 300.0, 1e5)])
    data = CellMeasurements(
        np.tile(scanned.targets, 3),
        np.tile(scanned.measured, 3) * ((times + 20) / 20) ** -np.tile(exponents, 3),
        times,
        np.tile(np.arange(500), 3) if named else None,
    )
    fit = fit_generic(data, start_s=20.0)
    assert fit.model.deviation == pytest.approx(0.02, rel=0.2)
    assert near(fit, "drift_mean", 0.05, 5)
    assert near(fit, "drift_deviation", 0.01, 5)
    assert fit_generic(data).model.drift_start_s == pytest.approx(32, abs=1)


def test_two_ages_cannot_tell_the_start() -> None:
    fit = fit_generic(measure(Truth(mean=0.06, spread=0.02), (0.0, 1e4)))
    assert fit.model.drift_start_s == 1
    assert any("t0 = 1 s is assumed" in sentence for sentence in fit.untold)
    assert any("cannot tell noise from drift" in sentence for sentence in fit.untold)


def test_no_drift_is_none_and_growth_is_told() -> None:
    still = fit_generic(measure(Truth(noise=0.003), (1.0, 100.0, 1e4), reads=2))
    assert still.model.drift_mean == 0
    assert any("no drift can be told" in sentence for sentence in still.untold)
    fading = measure(Truth(mean=0.05), (1.0, 100.0, 1e4))
    grown = replace(fading, measured=fading.measured * (1 + fading.time_s) ** 0.1)
    found = fit_generic(grown)
    assert found.model.drift_mean == found.model.drift_deviation == 0
    assert any("grow with time" in sentence for sentence in found.warnings)


def cells_of(model: DeviceModel, ages_s: list[float], seed: int = 0) -> CellMeasurements:
    targets, held = measured(model, 800, ages_s, seed)
    count = len(ages_s)
    return CellMeasurements(
        np.tile(targets, count),
        held.ravel(),
        np.repeat(np.array(ages_s), len(targets)),
        np.tile(np.arange(len(targets)), count),
    )


def test_phase_change_memory_is_more_than_the_family_has() -> None:
    fit = fit_generic(cells_of(PhaseChangeMemory(), [0.0, 100.0, 3600.0, 86_400.0]))
    assert fit.model.dependence == "independent"
    # 0.26 to 1.1 uS of 25 uS, and reading them adds 1/f noise
    assert 0.03 < fit.model.deviation < 0.06
    assert 0.04 < fit.model.drift_mean < 0.06
    assert fit.model.drift_start_s == pytest.approx(20, rel=0.1)
    assert any("another way than any generic kind" in sentence for sentence in fit.warnings)
    assert any("exponents depend on the target" in sentence for sentence in fit.warnings)


def test_the_emulated_generic_memory_is_found_again() -> None:
    model = GenericMemory("uniform", "proportional", 0.08, 0.02, 5.0, 0.03, 0.01)
    fit = fit_generic(cells_of(model, [0.0, 10.0, 1e3, 1e5]), start_s=5.0)
    assert (fit.model.distribution, fit.model.dependence) == ("uniform", "proportional")
    assert fit.model.deviation == pytest.approx(0.08, rel=0.02)
    assert near(fit, "drift_mean", 0.03)
    assert near(fit, "drift_deviation", 0.01)
    assert fit.warnings == ()


def test_a_bias_and_another_distribution_are_told() -> None:
    data = measure(Truth())
    biased = fit_generic(replace(data, measured=data.measured + 0.02))
    assert any("miss their targets on average" in sentence for sentence in biased.warnings)
    heavy = np.random.default_rng(0).standard_cauchy(500) * 0.001
    odd = fit_generic(replace(data, measured=data.targets + heavy))
    assert any("not distributed as" in sentence for sentence in odd.warnings)


def test_cells_asked_for_nothing_rule_kinds_out() -> None:
    exact = fit_generic(measure(Truth("normal", "proportional", 0.05)))
    possible = {one.name: one.possible for one in exact.candidates}
    assert not possible["normal-independent"]
    assert possible["normal-inverse-proportional"]
    loose = fit_generic(measure(Truth("normal", "independent", 0.05)))
    possible = {one.name: one.possible for one in loose.candidates}
    assert possible == {name: "-independent" in name for name in possible}


@pytest.mark.parametrize(
    ("change_of", "words"),
    [
        ({"targets": np.full(500, 0.5)}, "target 0.5 of G_max; from one target"),
        ({"measured": None}, "equals its target"),
        ({"targets": np.linspace(0, 2, 500)}, "targets from 0 to 2"),
        ({"time_s": np.full(500, -1.0)}, "a time of -1 s"),
        ({"time_s": np.arange(500.0) ** 2, "cells": None}, "1 rows at the first age"),
        ({"measured": np.full(500, np.nan)}, "one finite number"),
    ],
)
def test_what_is_no_measurement_is_refused(change_of: dict[str, object], words: str) -> None:
    data = measure(Truth())
    if change_of.get("measured", 0) is None:
        change_of = {"measured": data.targets}
    with pytest.raises(DeviceModelError, match=words):
        fit_generic(replace(data, **change_of))  # type: ignore[arg-type]  # of several types


@given(
    seed=st.integers(0, 2**31),
    cells=st.integers(20, 60),
    size=st.floats(1e-7, 3.0),
    named=st.booleans(),
)
@settings(max_examples=40)
def test_anything_measured_gives_a_model_or_a_reason(
    *, seed: int, cells: int, size: float, named: bool
) -> None:
    generator = np.random.default_rng(seed)
    count = 3 * cells
    targets = np.tile(generator.integers(0, 4, cells) / 3, 3)
    data = CellMeasurements(
        targets,
        targets + size * generator.standard_normal(count),
        np.repeat(np.sort(generator.uniform(0, 1e6, 3)), cells),
        np.tile(np.arange(cells), 3) if named else None,
    )
    try:
        fit = fit_generic(data)
    except DeviceModelError:
        return
    expected, seen = quantiles(fit)
    assert np.isfinite(expected).all()
    assert np.isfinite(seen).all()
    course = change(fit)
    assert course is None or np.isfinite(course.curve_mean).all()


def test_the_curve_of_time_is_that_of_the_cells() -> None:
    for named in (True, False):
        data = measure(Truth(mean=0.06, spread=0.02), (0.0, 10.0, 1e3, 1e5), named=named)
        course = change(fit_generic(data, start_s=20.0))
        assert course is not None
        at = np.interp(course.age_s, course.curve_age_s, course.curve_mean)
        assert course.mean == pytest.approx(at, abs=0.01)
        spread = np.interp(course.age_s, course.curve_age_s, course.curve_spread)
        assert course.spread == pytest.approx(spread, abs=0.015 if named else 0.03)


@given(st.just(0.0) | st.floats(0.001, 5), st.floats(0.01, 5))
def test_the_folded_moments_are_turned_back(mean: float, deviation: float) -> None:
    drawn = np.abs(mean + deviation * np.linspace(-8, 8, 160_001))
    weight = np.exp(-np.square(np.linspace(-8, 8, 160_001)) / 2)
    weight /= weight.sum()
    again = folded(float(drawn @ weight), float(np.square(drawn) @ weight))
    assert folded_mean(*again) == pytest.approx(float(drawn @ weight), rel=1e-4)
    # where nearly all lies on one side, mean and deviation are plain; at 0 they are ill-determined
    if mean > 0.5 * deviation:
        assert again == pytest.approx((mean, deviation), rel=0.02)


def folded_mean(mean: float, deviation: float) -> float:
    grid = np.linspace(-8, 8, 160_001)
    weight = np.exp(-np.square(grid) / 2)
    return float(np.abs(mean + deviation * grid) @ weight / weight.sum())


@given(st.floats(-5, 5))
def test_the_lowest_point_is_found(place: float) -> None:
    assert lowest(lambda x: (x - place) ** 2, -5, 5) == pytest.approx(place, abs=1e-5)

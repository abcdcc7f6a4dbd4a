"""Analog memories but phase change, against their published formulas."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from device_models.array import Chip, State, program
from device_models.errors import DeviceModelError
from device_models.memories.cmo import MetalOxideMemory, conductances_us
from device_models.memories.generic import DEPENDENCES, DISTRIBUTIONS, GenericMemory, conductances
from device_models.memories.pcm import PhaseChangeMemory
from device_models.memories.programmed import ProgrammedMemory
from device_models.memories.retention import RetentionMemory
from device_models.memories.sonos import SonosMemory
from device_models.presets import preset
from tests.memory_layers import (
    ROWS,
    asked,
    check_moments,
    held_weights,
    level_cells,
    level_weights,
)

DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("name", "code", "deviation_us", "span_us"),
    [
        # At 25 uS: 0.28638599 + 25 · 0.07585724 - 625 · 0.00178767
        ("pcm-joshi", 127, 1.065523, 24.75),
        # At 225 uS, and at 50 + 64 / 127 · 175 uS
        ("rram-milo", 127, 2.733246, 175.0),
        ("rram-milo", 64, 3.523800, 175.0),
    ],
)
def test_programming_errors_have_their_moments(
    name: str, code: int, deviation_us: float, span_us: float
) -> None:
    """The pair: the cell that holds the weight and the idle one, each with its own error."""
    model = preset(name)
    assert isinstance(model, ProgrammedMemory)
    array = program(Chip(model, 3), State(), "layer", level_weights(code), 8)
    held = held_weights(array, ROWS)[0, :-1].ravel() / 127 * span_us
    least = model.g_min_us
    c = (*model.programming_noise_us, 0.0)
    idle_us = c[0] + c[1] * least + c[2] * least**2
    if least < 5 * idle_us:  # clipping at 0 moves the idle cell: a bound instead of a moment
        assert deviation_us < held.std() < math.hypot(deviation_us, idle_us)
    else:
        check_moments(held, code / 127 * span_us, math.hypot(deviation_us, idle_us))


def test_retention_is_as_measured_and_between() -> None:
    model = preset("rram-wan")
    assert isinstance(model, RetentionMemory)
    g = np.array([0.0, 0.25, 0.5, 1.0])
    at = {
        0.0: [0.348, 2.258, 2.023, 1.103],
        1.0: [0.348, 2.258, 2.023, 1.103],
        DAY_S: [0.701, 3.721, 3.909, 2.651],
        2 * DAY_S: [0.782, 3.664, 3.929, 2.677],
        1e9: [0.782, 3.664, 3.929, 2.677],
    }
    for age_s, expected in at.items():
        np.testing.assert_allclose(model.deviation_us(g, age_s), expected, atol=1e-3)
    half = model.deviation_us(g, math.sqrt(DAY_S))  # half-way in ln t
    middle = (model.deviation_us(g, 1.0) + model.deviation_us(g, DAY_S)) / 2
    np.testing.assert_allclose(half, middle, rtol=1e-9)


@pytest.mark.parametrize(("age_s", "deviation"), [(0.0, 1.103), (DAY_S, 2.651), (3e8, 2.677)])
def test_retention_spreads_with_its_moments(age_s: float, deviation: float) -> None:
    model = replace(RetentionMemory(), read_noise=0.0)
    array = program(Chip(model), State(age_s), "layer", level_weights(127), 8)
    held = held_weights(array, ROWS)[0].ravel() / 127 * 40
    idle = 0.348 if age_s == 0 else 0.701 if age_s == DAY_S else 0.782
    mean, variance = 40 - idle / math.sqrt(2 * math.pi), deviation**2
    variance += idle**2 * (0.5 - 1 / (2 * math.pi))  # half a normal
    assert held.mean() == pytest.approx(mean, abs=0.05)
    assert held.std() == pytest.approx(math.sqrt(variance), rel=0.02)


@pytest.mark.parametrize("age_s", [0.0, 3600.0, 3e7])
def test_metal_oxide_relaxes_as_published(age_s: float) -> None:
    held = asked(conductances_us(MetalOxideMemory(), level_cells(64), age_s)) - 9
    target = 64 / 127 * 79.2
    time = math.log(max(age_s, 1.0))
    relaxation = 0.41183342 + 0.04201137 * time
    programming = 0.00081107 + 0.00106879 * (target + 9)
    gathered = math.sqrt(math.log((max(age_s, 1.0) + 1e-6) / 2e-6))
    noise = 0.0277316483 * math.log10(target + 9) * gathered
    mean = target - 0.08900206 * time
    # The factor log10(R) of the noise hardly varies within a relaxation.
    check_moments(held, mean, math.sqrt(relaxation**2 + programming**2 + noise**2))


@pytest.mark.parametrize(
    ("days", "amplitude", "knee"),
    [(0, 19.88665, 176.3115), (1, 25.59102, 186.85544), (1.5, 27.159275, 190.211890),
     (5, 34.57909, 207.34309), (100, 34.57909, 207.34309)],
)  # fmt: skip
def test_charge_traps_spread_as_measured(days: float, amplitude: float, knee: float) -> None:
    model = SonosMemory(read_spread_na=0.0)
    current = 64 / 127 * 1600
    expected = amplitude * (1 - math.exp(-current / knee))
    array = program(Chip(model), State(days * DAY_S), "layer", level_weights(64), 8)
    check_moments(held_weights(array, ROWS)[0, :-1].ravel() / 127 * 1600, current, expected)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("dependence", DEPENDENCES)
def test_generic_errors_have_their_shape(distribution: str, dependence: str) -> None:
    model = preset(f"generic-{distribution}-{dependence}")
    assert isinstance(model, GenericMemory)
    held = asked(conductances(model, level_cells(64), 0.0))
    g = 64 / 127
    deviation = {
        "independent": model.deviation,
        "proportional": model.deviation * g,
        "inverse-proportional": model.deviation / g,
    }[dependence]
    check_moments(held, g, deviation)
    fourth = (((held - g) / deviation) ** 4).mean()
    assert fourth == pytest.approx(3.0 if distribution == "normal" else 1.8, rel=0.05)


def test_generic_drift_is_the_power_law() -> None:
    model = GenericMemory(deviation=0.0, drift_mean=0.06, drift_deviation=0.01, drift_start_s=10.0)
    held = asked(conductances(model, level_cells(64), 990.0))
    exponents = -np.log(held / (64 / 127)) / math.log(100)
    check_moments(exponents, 0.06, 0.01)
    assert (asked(conductances(model, level_cells(64), 0.0)) == np.float32(64 / 127)).all()


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ProgrammedMemory(g_min_us=30.0), "g_min_us is 30.0 and g_max_us is 25.0"),
        (lambda: MetalOxideMemory(g_max_us=9.0), "give a g_min_us below g_max_us"),
        (lambda: PhaseChangeMemory(drift_mean=(1.0,)), "drift_mean is .* list of 4 numbers"),
        (lambda: PhaseChangeMemory(programming_noise_us=()), "list of 1 to 8 numbers"),
        (lambda: PhaseChangeMemory(fluctuation=(math.nan, 1.0, 1.0)), "fluctuation is"),
        (lambda: PhaseChangeMemory(read_noise=-0.1), "read_noise is -0.1; give a number from 0"),
        (lambda: SonosMemory(spread_na=(-1.0,) * 6), "6 numbers from 0 to 1e"),
        (lambda: GenericMemory(distribution="cauchy"), "'cauchy'; give one of 'normal', 'uniform'"),
    ],
)
def test_descriptions_that_cannot_be_are_refused(build: Any, words: str) -> None:
    with pytest.raises(DeviceModelError, match=words) as caught:
        build()
    assert "\n" not in str(caught.value)

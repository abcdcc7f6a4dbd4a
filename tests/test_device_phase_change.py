"""Phase-change memory against its published formulas, and its life as a function of age."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from device_models.array import Chip, State, program
from device_models.memories.pcm import PhaseChangeMemory
from device_models.memories.pcm_hermes import HermesMemory
from device_models.memories.phase_change import PhaseChange, conductances
from tests.memory_layers import asked, check_moments, level_cells, level_weights

Formulas = Callable[[float], tuple[float, float, float]]

PCM, HERMES = PhaseChangeMemory(), HermesMemory()
HOUR_S, MONTH_S, YEAR_S = 3600.0, 2_592_000.0, 31_536_000.0
AGES_S = (0.0, 1.0, HOUR_S, MONTH_S, 10 * YEAR_S)
LEVELS = (127, 90, 40, 13, 3)


def still_pcm(**changes: object) -> PhaseChangeMemory:
    """Without 1/f noise."""
    return replace(PCM, fluctuation=(0.0, 0.65, 0.2), **changes)  # type: ignore[arg-type]  # by name


def pcm_formulas(g: float) -> tuple[float, float, float]:
    """Programming deviation in parts of G_max, mean and deviation of nu: Nandakumar et al."""
    sigma = (0.26348 + 1.9650 * g - 1.1731 * g**2) / 25
    mean = min(max(-0.0155 * math.log(g) + 0.0244, 0.049), 0.1)
    deviation = min(max(-0.0125 * math.log(g) - 0.0059, 0.008), 0.045)
    return sigma, mean, deviation


def hermes_formulas(g: float) -> tuple[float, float, float]:
    """The same of the HERMES chip."""
    sigma = (0.16603222 + 4.71806468 * g - 8.48101252 * g**2 + 4.68961419 * g**3) / 20.7
    if g < 0.0945:
        mean = min(max(-0.0387 * math.log(g) - 0.0182, 0.072), 0.13)
    else:
        mean = -0.0436 * g**2 - 0.0126 * g + 0.0736
    if g < 0.3055:
        deviation = min(max(-0.0117 * math.log(g) - 0.0057, 0.0091), 0.04)
    else:
        deviation = -0.0118 * g**2 + 0.0093 * g + 0.0073
    return sigma, mean, deviation


def pcm_fluctuation(g: float) -> float:
    return min(0.0088 / max(math.pow(g, 0.65), 1e-3), 0.2)


def hermes_fluctuation(g: float) -> float:
    if g < 0.16:
        return min(max(-0.0117 * math.log(max(g, 1e-7)) - 0.0069, 0.015), 0.04)
    return 0.0069 * g**3 - 0.028 * g**2 + 0.0211 * g + 0.0123


@pytest.mark.parametrize(("model", "formulas"), [(PCM, pcm_formulas), (HERMES, hermes_formulas)])
@pytest.mark.parametrize("code", range(1, 128, 9))
def test_formulas_of_programming_and_drift(
    model: PhaseChange, formulas: Formulas, code: int
) -> None:
    g = code / 127
    sigma, mean, deviation = formulas(g)
    at = np.array([g])
    assert model.programming_deviation_us(at) / model.g_max_us == pytest.approx(sigma, rel=1e-9)
    found = model.drift_exponent(at)
    assert found[0] == pytest.approx(mean, rel=1e-9)
    assert found[1] == pytest.approx(deviation, rel=1e-9)


@pytest.mark.parametrize(
    ("model", "formula"), [(PCM, pcm_fluctuation), (HERMES, hermes_fluctuation)]
)
def test_formulas_of_the_fluctuation(model: PhaseChange, formula: Callable[[float], float]) -> None:
    g = np.array([0.0, 1e-8, 1e-3, 0.02, 0.1, 0.159, 0.161, 0.5, 1.0, 1.2], np.float32)
    expected = [formula(float(value)) for value in g]
    np.testing.assert_allclose(model.fluctuation_of(g), expected, rtol=2e-6)


@pytest.mark.parametrize("code", [127, 90, 40])
def test_programming_noise_has_its_moments(code: int) -> None:
    """Levels that the clipping at 0 does not reach: more than five deviations above it."""
    g = code / 127
    sigma, _, _ = pcm_formulas(g)
    assert g > 5 * sigma
    check_moments(asked(conductances(still_pcm(), level_cells(code), 0.0)), g, sigma)


def test_a_cell_without_a_weight_is_half_a_normal() -> None:
    """Clipped at 0: mean σ / sqrt(2 π), mean square σ² / 2."""
    sigma = 0.26348 / 25
    idle = conductances(still_pcm(), level_cells(90), 0.0)[1].ravel().astype(np.float64)
    assert idle.min() == 0
    assert idle.mean() == pytest.approx(sigma / math.sqrt(2 * math.pi), rel=0.02)
    assert np.square(idle).mean() == pytest.approx(sigma**2 / 2, rel=0.02)


@pytest.mark.parametrize("code", LEVELS)
@pytest.mark.parametrize(("model", "formulas"), [(PCM, pcm_formulas), (HERMES, hermes_formulas)])
def test_the_drift_exponent_is_found_by_a_fit_in_double_logarithms(
    model: PhaseChangeMemory | HermesMemory, formulas: Formulas, code: int
) -> None:
    g = code / 127
    _, mean, deviation = formulas(g)
    if isinstance(model, PhaseChangeMemory):
        quiet: PhaseChange = still_pcm(programming_noise_us=(0.0,))
    else:
        nothing, flat = (0.0, 0.0, 0.0, 0.0), (0.0,)
        quiet = replace(
            model,
            programming_noise_us=flat,
            fluctuation_below=nothing,
            fluctuation_above=flat,
        )
    cells = level_cells(code)
    ages_s = np.array([HOUR_S, MONTH_S, YEAR_S])
    held = [np.log(asked(conductances(quiet, cells, float(age)))) for age in ages_s]
    times = np.log((ages_s + quiet.drift_start_s) / quiet.drift_start_s)
    times -= times.mean()
    exponents = -np.einsum("a,an->n", times, np.array(held)) / np.square(times).sum()
    if mean > 5 * deviation:
        check_moments(exponents, mean, deviation)
    else:  # folded at 0, which keeps the mean square
        assert exponents.min() > -1e-5
        assert np.square(exponents).mean() == pytest.approx(mean**2 + deviation**2, rel=0.02)


@pytest.mark.parametrize("age_s", AGES_S)
@pytest.mark.parametrize("code", [127, 40, 13])
def test_the_noise_gathered_at_any_age_has_its_deviation(code: int, age_s: float) -> None:
    quiet = replace(PCM, programming_noise_us=(0.0,))
    frozen = replace(quiet, fluctuation=(0.0, 0.65, 0.2))
    cells = level_cells(code)
    noisy = asked(conductances(quiet, cells, age_s))
    relative = noisy / asked(conductances(frozen, cells, age_s)) - 1
    gathered = math.sqrt(math.log((age_s + 20 + 250e-9) / 500e-9))
    expected = pcm_fluctuation(code / 127) * gathered
    assert expected < 0.25, "clipping at 0 is not seen"
    check_moments(relative, 0.0, expected)


def test_the_pattern_of_the_noise_turns_slowly_with_the_logarithm_of_time() -> None:
    quiet = replace(PCM, programming_noise_us=(0.0,), drift_mean=(0.0,) * 4)
    quiet = replace(quiet, drift_deviation=(0.0,) * 4)
    cells = level_cells(127)
    fresh, later, day_later, old = (
        asked(conductances(quiet, cells, age_s))
        for age_s in (0.0, MONTH_S, MONTH_S + 86_400, 10 * YEAR_S)
    )

    def correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        return float(np.corrcoef(one, other)[0, 1])

    turned = math.cos(0.047 * math.log1p(10 * YEAR_S / 20))
    assert turned == pytest.approx(0.7, abs=0.02), "what the source of wander_rad says"
    assert correlation(fresh, old) == pytest.approx(turned, abs=0.01)
    assert correlation(later, day_later) > 0.99999


@pytest.mark.parametrize("model", [PCM, HERMES])
def test_age_is_a_pure_argument(model: PhaseChangeMemory | HermesMemory) -> None:
    chip, weights = Chip(model, 7), level_weights(40)
    eye = np.eye(201, dtype=np.uint8)[:, None]

    def held(age_s: float) -> bytes:
        array = program(chip, State(age_s), "conv", weights, 8)
        return array.multiply(eye, 0, np.random.default_rng(0)).tobytes()

    hour, year = held(HOUR_S), held(YEAR_S)
    assert hour != year
    assert held(HOUR_S) == hour
    assert held(YEAR_S) == year


def test_without_fluctuation_every_cell_only_fades() -> None:
    cells = level_cells(40)
    held = [conductances(still_pcm(), cells, age_s) for age_s in AGES_S]
    for younger, older in pairwise(held):
        assert (older <= younger).all()
    assert (held[-1][0] < held[0][0]).mean() > 0.99


def test_a_month_costs_what_the_mean_exponent_says() -> None:
    """E[G(t)/P] for a normal exponent is exp(-mean·L + deviation²·L²/2)."""
    cells = level_cells(127)
    elapsed = math.log1p(MONTH_S / 20)
    ratio = asked(conductances(still_pcm(), cells, MONTH_S)) / asked(
        conductances(still_pcm(), cells, 0.0)
    )
    expected = math.exp(-0.049 * elapsed + (0.008 * elapsed) ** 2 / 2)
    assert ratio.mean() == pytest.approx(expected, rel=2e-3)


@settings(max_examples=30)
@given(age_s=st.floats(0, 1e308), seed=st.integers(0, 2**63 - 1))
def test_any_age_gives_finite_conductances(age_s: float, seed: int) -> None:
    cells = level_cells(3, seed, rows=3)
    for model in (PCM, HERMES):
        held = conductances(model, cells, age_s)
        assert np.isfinite(held).all()
        assert held.min() >= 0

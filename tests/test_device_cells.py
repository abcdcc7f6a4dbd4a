"""The cells of SRAM arrays: Pelgrom, alpha-power law, subthreshold, ageing; capacitors, kT/C."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from device_models.array import ArrayWeights, Chip, State, cautions, program
from device_models.contract import Placement
from device_models.errors import DeviceModelError
from device_models.sram.charge_sram import ChargeSram, cell_charges, count_v, thermal_noise_counts
from device_models.sram.current_model import CurrentSram
from device_models.sram.current_sram import cell_currents
from device_models.streams import normals
from device_models.validity import YEAR_S

SHAPE = (1, 256, 8, 32)
FRESH = State()
STRONG = CurrentSram(reference="fixed")
WEAK = replace(STRONG, region="subthreshold", supply_v=0.3)
NO_SPREAD = replace(STRONG, a_vt_mv_um=0.0, threshold_spread_uv_per_k=0.0, ageing_spread=0.0)


def placed(state: State = FRESH, seed: int = 3) -> Placement:
    weights = ArrayWeights(np.ones((1, 256, 32), np.int8), np.ones((1, 1, 32), np.float32), 256, 8)
    return Placement(seed, state, "layer", weights, 8)


def currents(model: CurrentSram, state: State = FRESH) -> NDArray[np.float64]:
    return cell_currents(model, placed(state), SHAPE).astype(float)


def by_hand(model: CurrentSram, state: State) -> NDArray[np.float64]:
    """The formulas once more, in float64."""

    def drawn(effect: str) -> NDArray[np.float64]:
        return normals(3, "layer", effect, SHAPE).astype(float)

    heat = state.temperature_c - 25
    rise = model.ageing_mv / 1e3 * (state.age_s / (10 * YEAR_S)) ** model.ageing_exponent
    sigma = model.a_vt_mv_um / 1e3 / math.sqrt(2 * model.width_um * model.length_um)
    threshold = model.threshold_v - model.threshold_mv_per_k / 1e3 * heat
    threshold = threshold + sigma * drawn("cell threshold")
    threshold += model.threshold_spread_uv_per_k / 1e6 * heat * drawn("cell temperature")
    threshold += rise * np.maximum(1 + model.ageing_spread * drawn("cell ageing"), 0)
    over = (state.supply_v or model.supply_v) - threshold
    nominal = model.supply_v - model.threshold_v
    warmth = (state.temperature_c + 273.15) / 298.15
    if model.region == "strong":
        return warmth**-model.mobility_exponent * (np.maximum(over, 0) / nominal) ** model.alpha
    thermal = model.slope_factor * 8.617333e-5 * (state.temperature_c + 273.15)
    cold = model.slope_factor * 8.617333e-5 * 298.15
    return warmth ** (2 - model.mobility_exponent) * np.exp(over / thermal - nominal / cold)


@pytest.mark.parametrize("model", [STRONG, WEAK], ids=["strong", "subthreshold"])
@pytest.mark.parametrize(
    "state",
    [
        State(),
        State(temperature_c=85.0),
        State(temperature_c=-40.0),
        State(age_s=YEAR_S),
        State(age_s=10 * YEAR_S, temperature_c=60.0),
    ],
)
def test_currents_follow_the_formulas(model: CurrentSram, state: State) -> None:
    np.testing.assert_allclose(currents(model, state), by_hand(model, state), rtol=2e-4)


@pytest.mark.parametrize("supply_v", [0.8, 1.0])
def test_the_supply_drives_the_word_lines(supply_v: float) -> None:
    state = State(supply_v=supply_v)
    np.testing.assert_allclose(currents(STRONG, state), by_hand(STRONG, state), rtol=2e-4)
    mean = ((supply_v - 0.4) / 0.5) ** 1.3
    assert currents(NO_SPREAD, state) == pytest.approx(mean, rel=1e-5)


def test_mismatch_falls_with_the_square_root_of_the_area_and_with_overdrive() -> None:
    spread = currents(STRONG).std()
    assert spread == pytest.approx(1.3 * 0.00816 / 0.5, rel=0.02)
    larger = replace(STRONG, width_um=1.2)
    assert currents(larger).std() == pytest.approx(spread / 2, rel=0.02)
    low = currents(STRONG, State(supply_v=0.75))
    assert low.std() / low.mean() == pytest.approx(spread * 0.5 / 0.35, rel=0.02)


def test_below_the_threshold_currents_are_lognormal() -> None:
    logarithms = np.log(currents(WEAK))
    sigma = 0.002 / math.sqrt(2 * 0.03) / (1.3 * 8.617333e-5 * 298.15)
    assert logarithms.std() == pytest.approx(sigma, rel=0.02)
    skewness = ((logarithms - logarithms.mean()) ** 3).mean() / logarithms.std() ** 3
    assert abs(skewness) < 5 * math.sqrt(6 / logarithms.size)


def test_temperature_changes_the_pattern_by_each_cells_own_threshold() -> None:
    cool, warm = currents(STRONG), currents(STRONG, State(temperature_c=85.0))
    scaled = replace(STRONG, threshold_spread_uv_per_k=0.0)
    alike = np.corrcoef(cool.ravel(), currents(scaled, State(temperature_c=85.0)).ravel())[0, 1]
    own = np.corrcoef(cool.ravel(), warm.ravel())[0, 1]
    assert alike > 0.9999
    expected = 1 / math.hypot(1, 40e-6 * 60 / 0.00816)
    assert own == pytest.approx(expected, abs=0.003)


def test_ageing_rises_with_the_power_of_time() -> None:
    ages = np.array([1.0, 10.0, 100.0]) * YEAR_S / 100
    losses = [1 - currents(NO_SPREAD, State(age_s=age)).mean() ** (1 / 1.3) for age in ages]
    slope = np.polyfit(np.log(ages), np.log(losses), 1)[0]
    assert slope == pytest.approx(STRONG.ageing_exponent, rel=1e-3)
    assert losses[-1] * 0.5 == pytest.approx(0.020 * 0.1**0.2, rel=1e-3)


def test_a_replica_follows_what_all_cells_share() -> None:
    model = replace(STRONG, reference="replica")
    assert model == CurrentSram()
    for state in (State(YEAR_S, 85.0, 1.0), State(0.0, -40.0, 0.8)):
        assert currents(model, state).mean() == pytest.approx(1, abs=0.003)
        assert abs(currents(STRONG, state).mean() - 1) > 0.05


@given(
    supply_v=st.floats(0.05, 5),
    temperature_c=st.floats(-270, 1000),
    age_s=st.floats(0, 1e300),
    region=st.sampled_from([STRONG, WEAK]),
)
def test_no_condition_gives_anything_but_a_current(
    supply_v: float, temperature_c: float, age_s: float, region: CurrentSram
) -> None:
    state = State(age_s, temperature_c, supply_v)
    for model in (region, replace(region, reference="replica")):
        found = cell_currents(model, placed(state), (1, 4, 8, 2))
        assert np.isfinite(found).all()
        assert (found >= 0).all()


def test_an_age_a_temperature_and_a_supply_are_pure_arguments() -> None:
    weights = placed().weights
    codes = np.full((2, 1, 256), 77, np.uint8)

    def answer(state: State) -> NDArray[np.float32]:
        array = program(Chip(replace(STRONG, read_noise_counts=0.0), 5), state, "a", weights, 8)
        return array.multiply(codes, 3, np.random.default_rng(0))

    hour = State(3600.0, 40.0, 0.92)
    first = answer(hour)
    other = answer(State(YEAR_S, 40.0, 0.92))
    assert np.array_equal(answer(hour), first)
    assert not np.array_equal(other, first)


def test_conditions_beyond_the_model_are_told() -> None:
    assert cautions(Chip(STRONG), State(YEAR_S, 85.0, 0.9)) == ()
    said = cautions(Chip(STRONG), State(20 * YEAR_S, 150.0, 1.2))
    assert len(said) == 3
    assert "a supply of 1.2 V is outside the 0.765 to 1.035 V" in said[2]
    assert cautions(Chip(ChargeSram()), State(1e12)) == ()


def test_capacitors_vary_with_the_square_root_of_their_size() -> None:
    for capacitor_ff in (1.0, 4.0):
        model = ChargeSram(capacitor_ff=capacitor_ff)
        found = cell_charges(model, placed(), SHAPE)
        assert found is not None
        assert found.std() == pytest.approx(0.0066 / math.sqrt(capacitor_ff), rel=0.02)
    assert cell_charges(ChargeSram(mismatch_at_1ff=0.0), placed(), SHAPE) is None


def test_a_larger_sum_of_capacitors_divides_what_each_adds() -> None:
    model = ChargeSram(mismatch_at_1ff=0.3)
    found = cell_charges(model, placed(), SHAPE)
    assert found is not None
    raw = np.maximum(1 + 0.3 * normals(3, "layer", "cell capacitor", SHAPE), 0)
    total = 256 + 0.3 * 256 + 2.04
    expected = raw * total / (total + raw.sum(axis=1, keepdims=True) - 256)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_thermal_noise_is_that_of_the_column() -> None:
    model = ChargeSram()
    farads = (256 * 1.3 + 2.04) * 1e-15
    noise_v = math.sqrt(1.380649e-23 * 298.15 / farads)
    assert count_v(model, State()) == pytest.approx(0.9 / (256 * 1.3 + 2.04))
    assert thermal_noise_counts(model, State()) == pytest.approx(noise_v / count_v(model, State()))
    warm, low = State(temperature_c=125.0), State(supply_v=0.8)
    ratio = thermal_noise_counts(model, warm) / thermal_noise_counts(model, State())
    assert ratio == pytest.approx(math.sqrt(398.15 / 298.15))
    ratio = thermal_noise_counts(model, low) / thermal_noise_counts(model, State())
    assert ratio == pytest.approx(0.9 / 0.8)


def test_charge_does_not_drift() -> None:
    model = replace(ChargeSram(), read_noise_counts=0.0)
    weights = placed().weights
    codes = np.random.default_rng(1).integers(0, 256, (40, 1, 256)).astype(np.uint8)
    answers = [
        program(Chip(model), state, "a", weights, 8).multiply(codes, 0, np.random.default_rng(0))
        for state in (State(), State(10 * YEAR_S, 85.0, 0.8))
    ]
    assert np.corrcoef(answers[0].ravel(), answers[1].ravel())[0, 1] > 0.999


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"supply_v": 0.3}, "region strong with a supply_v of 0.3 .*give a supply above"),
        ({"region": "subthreshold"}, "region subthreshold .* at most the threshold"),
        ({"a_vt_mv_um": -1.0}, "a_vt_mv_um is -1.0; give a number from 0"),
        ({"rows": 0}, "rows is 0; give a whole number from 1 to 512"),
        ({"adc_bits": 0}, 'adc_bits is 0; give a whole number from 1 to 12 or "none"'),
        ({"reads": 2}, "reads is 2; a majority needs an odd number"),
        ({"stuck_at_zero": 0.6, "stuck_at_one": 0.6}, "together they are at most 1"),
        ({"adc_range": "lossless"}, "256 counts needs a full_scale of 1 and 9 adc_bits; .* 8"),
        ({"adc_range": "wide"}, "adc_range is 'wide'; give one of 'lossless', 'fraction'"),
        ({"rows": 4, "full_scale": 0.1}, "less than one count; give at least 0.25"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    change: dict[str, float | str], words: str
) -> None:
    with pytest.raises(DeviceModelError, match=words):
        replace(STRONG, **change)

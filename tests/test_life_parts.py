"""A life's parts: the scenario file, the weather, the damage, the account."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.data_file import Data
from agent.errors import InputError
from agent.life.damage import check_columns, dead_at, moved_at, moved_data, with_dead_columns
from agent.life.scenario import (
    DeadColumn,
    MovedInputs,
    Scenario,
    SupplyStep,
    parse_scenario,
    read_scenario,
)
from agent.life.summary import account
from agent.life.weather import HOUR_S, moments, state_at, temperature_range_k
from agent.runtimes.base import Trace
from agent.runtimes.cim import CimRuntime
from agent.store.bundle import open_bundle
from agent.store.package import read_package
from agent.watch.wear import Written
from calib.factors import no_factors
from calib.packed import PackedNetwork
from device_models.array import Chip, State
from device_models.presets import preset
from tests.agent_stores import ROOT, bundle, labelled

SCENARIOS = sorted((ROOT / "tools" / "scenarios").glob("*.toml"))

WHOLE = """
chip = "pcm"
days = 10
ageing = false

[[supply]]
day = 2
volts = 0.8

[[dead_column]]
day = 3.5
layer = "first"
column = 1

[[inputs]]
day = 4
until_day = 6
gain = 0.5

[watch]
charts = ["ewma:loss"]

[policy]
price = 0.1

[allowance]
bytes_per_day = 100
"""


def test_a_scenario_has_events_and_settings() -> None:
    found = parse_scenario(WHOLE, "it")
    assert (found.chip, found.days, found.ageing) == ("pcm", 10.0, False)
    assert found.supply == (SupplyStep(2.0, 0.8),)
    assert found.dead_column == (DeadColumn(3.5, "first", 1),)
    assert found.inputs == (MovedInputs(4.0, 6.0, 0.5),)
    assert found.watch.charts == ("ewma:loss",)
    assert (found.policy.price, found.policy.allowance.bytes_per_day) == (0.1, 100.0)
    assert parse_scenario("", "nothing") == Scenario()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("days = ", "it is no TOML"),
        ("dais = 3", "it has no entry 'dais'; did you mean days?"),
        ("days = 0", "it: days is 0.0; give a number from 0.01 to 3660"),
        ("days = true", "it: days is 'True'; give a float"),
        ("days = nan", "it: days is nan"),
        ("chip = 3", "it: chip is '3'; give a str"),
        ("chip_seed = 1.5", "it: chip_seed is '1.5'; give a int"),
        ("supply = 3", "it: supply is a list of tables, such as [[supply]]"),
        ("[[dead_column]]\nday = 3\ncolumn = 1", "it: dead_column: layer is missing"),
        ("[[dead_column]]\nday = -3\ncolumn = 1\nlayer = 'a'", "dead_column: day is -3"),
        ("[policy]\nprise = 1", "it: policy has no entry 'prise'; did you mean price?"),
        ("policy = 3", "watch, policy, allowance are tables"),
        ("[watch]\ncharts = [1]", "it: watch: charts is '[1]'"),
        ("[watch]\nleast_rounds = 1", "watch: least_rounds is 1"),
    ],
)
def test_what_is_wrong_with_a_scenario_is_said_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_scenario(text, "it")
    assert said in str(caught.value)


def test_files_that_are_no_scenario_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the scenario"):
        read_scenario(tmp_path / "no.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * 70_000)
    with pytest.raises(InputError, match="larger than"):
        read_scenario(tmp_path / "large.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is no text"):
        read_scenario(tmp_path / "binary.toml")


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_scenarios_of_the_project_can_be_read(path: Path) -> None:
    assert read_scenario(path).days > 0


def test_a_young_chip_is_looked_at_more_often_and_the_last_moment_is_the_end() -> None:
    scenario = Scenario(days=5, start_age_h=1, round_h=6, evaluate_h=12)
    found = moments(scenario)
    steps_h = np.diff([one.time_s for one in found]) / HOUR_S
    assert steps_h[0] == pytest.approx(0.1)
    assert steps_h.max() == pytest.approx(6)
    assert (np.diff(steps_h[:-1]) >= -1e-9).all()
    assert (found[0].time_s, found[-1].day) == (0.0, 5.0)
    assert found[0].evaluated
    assert found[-1].evaluated
    assert [one.state.age_s for one in found] == [3600 + one.time_s for one in found]


def test_the_weather_has_days_years_and_supply_steps() -> None:
    scenario = Scenario(
        day_swing_c=10, year_swing_c=5, temperature_c=20, supply=(SupplyStep(2, 0.8),)
    )
    assert state_at(scenario, 0.0) == State(3600.0, 20.0, None)
    assert state_at(scenario, 6 * HOUR_S).temperature_c == pytest.approx(30, abs=0.1)
    assert state_at(scenario, 18 * HOUR_S).temperature_c == pytest.approx(10, abs=0.1)
    assert state_at(scenario, 48 * HOUR_S).supply_v == 0.8
    noon, slope = (temperature_range_k(scenario, hours * HOUR_S, 900) for hours in (6, 24))
    assert noon < 0.05
    assert slope > 0.5
    assert state_at(Scenario(ageing=False), 1e6).age_s == 3600.0


@pytest.mark.parametrize("scheme", ["int8", "int4", "nf4"])
def test_a_dead_column_is_silent_on_the_chip_and_nothing_else_changes(
    scheme: str, tmp_path: Path
) -> None:
    network = _network(tmp_path, scheme)
    layer = network.layers[1]
    damaged = with_dead_columns(network, [DeadColumn(0.0, layer.name, 2)])
    samples, _ = labelled(4, 9)
    taps = {layer.name: np.tile(np.arange(3), (4, 1))}
    well, ill = (_run(one, samples, taps).layers[layer.name].main for one in (network, damaged))
    assert np.allclose(ill[..., 2], layer.bias[2] if layer.bias is not None else 0, atol=1e-6)
    others = np.arange(layer.outputs) != 2
    assert np.array_equal(ill[..., others], well[..., others])


def test_columns_that_are_not_there_are_named(tmp_path: Path) -> None:
    network = _network(tmp_path, "int8")
    name = network.layers[0].name
    with pytest.raises(InputError, match="the network has no layer 'elsewhere'; it has"):
        check_columns(network, [DeadColumn(0, "elsewhere", 0)])
    with pytest.raises(InputError, match=f"layer {name} has columns 0 to"):
        check_columns(network, [DeadColumn(0, name, 999)])


def test_events_begin_and_end_on_their_days() -> None:
    scenario = parse_scenario(WHOLE, "it")
    assert [len(dead_at(scenario, day)) for day in (0, 3.4, 3.5, 9)] == [0, 0, 1, 1]
    assert [moved_at(scenario, day) is None for day in (0, 4, 5.9, 6)] == [True, False, False, True]


def test_moved_inputs_stay_within_what_the_sensor_gives() -> None:
    data = Data(np.linspace(0, 10, 11, dtype=np.float32)[:, None], np.arange(11))
    assert moved_data(data, None) is data
    moved = moved_data(data, MovedInputs(0, gain=2, offset=-0.1))
    assert moved.x[:, 0].tolist() == [0, 1, 3, 5, 7, 9, 10, 10, 10, 10, 10]
    assert moved.y is data.y


def test_bytes_and_erases_are_counted_write_by_write() -> None:
    assert Written.of([4097, 1, 0]) == Written(4098, 3)
    assert Written(1, 1) + Written(2, 0) == Written(3, 1)


def test_the_account_weighs_by_time_and_finds_the_longest_bad_time() -> None:
    found = [None, 0.99, 0.90, 0.95, 0.98, 0.96]
    records = [
        {
            "day": float(day),
            "carers": {"policy": _carer(day, alarm=day == 2)},
            **({} if value is None and day else {"recovery": {"policy": {"found": value}}}),
        }
        for day, value in enumerate(found)
    ]
    said = account(records, "policy")
    assert said.recovery_mean == pytest.approx(np.mean(found[1:]))  # type: ignore[arg-type]  # no None behind the first
    assert said.recovery_lowest == 0.90
    assert (said.hours_below, said.longest_below_h) == (72.0, 48.0)
    assert (said.alarms, said.accepted, said.alarms_on_input) == (1, 1, 2)
    assert said.flash_bytes == 500
    assert said.flash_bytes_per_year == pytest.approx(500 * 365 / 5)
    assert math.isclose(said.alarms_per_month, 365 / 12 / 5)


def _carer(day: int, *, alarm: bool) -> dict[str, object]:
    return {
        "event": "accepted" if day == 3 else None,
        "alarm": alarm,
        "changed": "input" if day in {1, 2, 4} else "nothing",
        "flash_bytes": 100 * day,
        "erases": day,
    }


def _network(folder: Path, scheme: str) -> PackedNetwork:
    return read_package(open_bundle(bundle(folder / "small.npp", scheme=scheme))).network


def _run(network: PackedNetwork, samples: Any, taps: Any) -> Trace:
    chip = Chip(preset("ideal"), 0)
    runtime = CimRuntime(network, chip, State(), np.random.default_rng(0))
    return runtime.run(samples, no_factors(network.layers), taps)

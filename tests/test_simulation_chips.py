"""One chip's life: a pure function that agrees with the commands; its ages and sweeps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.data_file import Data
from agent.errors import InputError
from agent.simulation.ages import LONGEST_S, UNITS_S, age_text, parse_ages
from agent.simulation.chip_life import FACTORS, Workshop, chip_life
from agent.simulation.plan import EACH, NEVER, ONCE, Plan, Task
from agent.simulation.sweep import sweep
from agent.simulation.workload import Workload, comparison_of, narrowed
from agent.store.package import Package, package_bytes
from calib.packed import PackedNetwork
from device_models.memories.pcm import PhaseChangeMemory
from device_models.memories.product import Ideal, Mismatch
from device_models.presets import preset
from device_models.sram.bitplane import BitPlaneSram
from device_models.toml_file import to_toml
from tests.agent_stores import Said, bundle, data, labelled, npp
from tests.small_networks import classifier, packed, samples_for, signal_network

Capture = pytest.CaptureFixture[str]
HOUR_S = 3600.0


def workload(network: PackedNetwork, device: str, labels: bool = True, **plan: Any) -> Workload:  # noqa: FBT001, FBT002
    x = samples_for(network.graph, 40, seed=5)
    y = np.random.default_rng(3).integers(0, 5, len(x)) if labels else None
    chosen = {
        "bundle_id": "b",
        "data_sha256": "d",
        "devices": (to_toml(preset(device)),),
        "ages_s": (0.0, HOUR_S),
        "temperature_c": 25.0,
        "supply_v": None,
        "recalibrate": EACH,
        "samples": 16,
        "select": "sensitivity",
        "method": "auto",
        "fast": False,
        **plan,
    }
    comparison = comparison_of(network, Data(x, y), network.float_graph)
    content = package_bytes(Package(network, "small", "cim"))
    return Workload(Plan(**chosen), content, comparison)


@pytest.fixture(scope="module")
def noisy() -> Workload:
    with np.errstate(under="ignore"):
        return workload(packed(classifier()), "sonos", ages_s=(1.0, HOUR_S, 86400.0))


@pytest.fixture(autouse=True)
def numerics_as_outside_the_tests() -> Any:
    with np.errstate(under="ignore"):
        yield


def test_a_chip_is_the_same_whatever_was_simulated_before(noisy: Workload) -> None:
    busy = Workshop.of(noisy)
    for seed in (4, 2, 9):
        chip_life(busy, Task(0, seed))
    record = chip_life(busy, Task(0, 3))
    assert record == chip_life(Workshop.of(noisy), Task(0, 3))
    assert record == json.loads(json.dumps(record, allow_nan=False))
    assert record != {**chip_life(busy, Task(0, 4)), "seed": 3}


def test_an_age_does_not_depend_on_those_that_come_after(noisy: Workload) -> None:
    short = replace(noisy, plan=replace(noisy.plan, ages_s=noisy.plan.ages_s[:2]))
    whole = chip_life(Workshop.of(noisy), Task(0, 1))
    assert chip_life(Workshop.of(short), Task(0, 1))["ages"] == whole["ages"][:2]


def test_who_is_calibrated_when(noisy: Workload) -> None:
    def ages(when: str) -> list[dict[str, Any]]:
        plan = replace(noisy.plan, recalibrate=when)
        found: list[dict[str, Any]] = chip_life(Workshop.of(replace(noisy, plan=plan)), Task(0, 1))[
            "ages"
        ]
        return found

    for age in ages(NEVER):
        assert age["calibration"] is None
        assert all(age[who] == age["uncorrected"] for who in FACTORS)
    once = ages(ONCE)
    assert [age["calibration"] is not None for age in once] == [True, False, False]
    assert once[0]["calibration"]["accepted"]
    assert once[0]["before"] == once[0]["uncorrected"]
    assert all(age["once"] == age["before"] == age["after"] for age in once[1:])
    each = ages(EACH)
    assert each[0] == once[0]
    assert all(age["calibration"] is not None for age in each)
    assert each[1]["before"] == each[1]["once"]


def test_layers_have_errors_before_and_after_and_shares_that_add_up(noisy: Workload) -> None:
    for age in chip_life(Workshop.of(noisy), Task(0, 1))["ages"]:
        layers = age["layers"]
        assert sum(layer["share"] for layer in layers) == pytest.approx(1)
        for when in ("before", "after"):
            errors = [layer[f"error_{when}"] for layer in layers]
            assert np.mean(errors) == pytest.approx(age["mean_error"][when])
        assert age["mean_error"]["after"] <= age["mean_error"]["before"]


@pytest.mark.parametrize("labels", [True, False])
def test_networks_with_and_without_classes_and_labels(labels: bool) -> None:  # noqa: FBT001
    network = packed(classifier())
    found = chip_life(Workshop.of(workload(network, "mismatch-20", labels)), Task(0, 0))
    for score in (found["ages"][0][who] for who in FACTORS):
        assert (score["accuracy"] is not None) == labels
        assert score["agreement"] is not None
        assert score["output_sqnr_db"] is None
    signal = workload(packed(signal_network()), "mismatch-20", labels=False)
    found = chip_life(Workshop.of(signal), Task(0, 0))
    assert {found["ages"][0][who]["agreement"] for who in FACTORS} == {None}
    gained = [found["ages"][0][who]["output_sqnr_db"] for who in ("before", "after")]
    assert gained[1] > gained[0] + 3


def test_a_chip_is_what_the_commands_make_of_the_same_chip(tmp_path: Path, capsys: Capture) -> None:
    """Without noise, `install`, `calibrate` and `evaluate` find the same at the first age."""
    file, samples = bundle(tmp_path / "small.npp"), data(tmp_path / "data.npz")
    options = ("--chip", "mismatch-30", "--chips", 2, "--first-seed", 7, "--workers", 1, "--json")
    said = npp(capsys, "simulate", file, "--data", samples, *options, "--out", tmp_path / "out")
    assert said.code == 0, said.err
    chips = [json.loads(line) for line in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    for seed in (7, 8):
        (age,) = next(chip for chip in chips[1:] if chip["seed"] == seed)["ages"]
        store = ("--store", tmp_path / f"store{seed}")
        npp(capsys, "install", file, *store, "--chip", "mismatch-30", "--chip-seed", seed)
        done: Said = npp(capsys, "calibrate", *store, "--json")
        found = npp(capsys, "evaluate", "--data", samples, *store, "--json").document
        assert age["uncorrected"]["accuracy"] == found["uncorrected"]
        assert age["after"]["accuracy"] == found["corrected"]
        assert age["after"]["agreement"] == found["agreement"]
        assert said.document["float"] == found["float"]
        assert age["calibration"]["reason"] == done.document["reason"]
        errors = [(one["error_before"], one["error_after"]) for one in done.document["layers"]]
        assert [(one["error_before"], one["error_after"]) for one in age["layers"]] == errors


def test_samples_are_kept_narrow_only_where_nothing_is_lost() -> None:
    x, _ = labelled(4, 1)
    assert narrowed(x).dtype == np.float32
    for values, dtype in (
        ([0.0, 255.0], np.uint8),
        ([-128.0, 5.0], np.int8),
        ([0.0625, 3.5], np.float16),
        ([0.0, 300.5], np.float16),
        ([0.1, 2.0], np.float32),
        ([0.0, 70000.0], np.float32),
    ):
        narrow = narrowed(np.array(values, np.float32))
        assert narrow.dtype == dtype
        assert narrow.astype(np.float32).tolist() == np.array(values, np.float32).tolist()


@given(st.lists(st.floats(0, LONGEST_S), min_size=1, max_size=8, unique=True))
def test_ages_are_read_as_they_are_written(ages: list[float]) -> None:
    ages.sort()
    assert parse_ages(",".join(map(repr, ages))) == tuple(ages)
    assert parse_ages(", ".join(f"{age!r}s" for age in ages)) == tuple(ages)


def test_ages_have_units() -> None:
    assert parse_ages("1,1min,2h,30d,1y,10y") == (1, 60, 7200, 30 * 86400, 31536000, 315360000)
    assert [age_text(s) for s in parse_ages("0.5,90,1.5h,30d,1y,10y")] == [
        "0.5 s",
        "1.5 min",
        "1.5 h",
        "30 d",
        "1 y",
        "10 y",
    ]
    assert set(UNITS_S) == {"s", "min", "h", "d", "y"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is no age"),
        ("1,,2", "'' is no age"),
        ("-1", "'-1' is no age"),
        ("nan", "is no age"),
        ("1 month", "is no age"),
        ("1d,1h", "the age 1h is not above the one before it, 1 d"),
        ("1,1", "not above"),
        ("1e4y", "beyond the 1000 y"),
        ("1e999", "beyond the 1000 y"),
        (",".join(map(str, range(65))), "at most 64"),
    ],
)
def test_ages_that_cannot_be(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_ages(text)


def test_a_sweep_makes_a_model_for_each_value() -> None:
    found = sweep(Mismatch(10.0), "percent=5, 10,20")
    assert found.values == (5.0, 10.0, 20.0)
    assert found.models == (Mismatch(5.0), Mismatch(10.0), Mismatch(20.0))
    found = sweep(BitPlaneSram(), "adc_bits=8,none")
    assert found.values == (8, None)
    found = sweep(preset("pcm-adc8"), "periphery.adc_bits=4,8")
    assert [model.periphery.adc_bits for model in found.models] == [4, 8]
    with pytest.raises(InputError, match=r"no parameter 'periphery\.adc_bits'"):
        sweep(preset("pcm"), "periphery.adc_bits=4,8")


@pytest.mark.parametrize(
    ("model", "text", "said"),
    [
        (Mismatch(10.0), "percent", "not of the form"),
        (Mismatch(10.0), "percent=", "not of the form"),
        (Mismatch(10.0), "percent=5,,6", "not of the form"),
        (Mismatch(10.0), "per_cent=5", "no parameter 'per_cent'.* it has: percent"),
        (Ideal(), "percent=5", "it has: none"),
        (Mismatch(10.0), "percent=five", "'five' is no number"),
        (BitPlaneSram(), "rows=1.5", "'1.5' is no whole number"),
        (Mismatch(10.0), "percent=5,5.0", "names a value twice"),
        (PhaseChangeMemory(), "drift_mean=1", "no parameter 'drift_mean'"),
        (Mismatch(10.0), "percent=" + ",".join(map(str, range(65))), "at most 64"),
    ],
)
def test_sweeps_that_cannot_be(model: Any, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        sweep(model, text)

"""Presets, listings and TOML files of device models."""

from __future__ import annotations

from dataclasses import Field, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_models.array import Chip, State, cautions
from device_models.contract import DeviceModel
from device_models.energy.estimate import EnergyConstants
from device_models.errors import DeviceModelError
from device_models.memories.analog_periphery import AnalogPeriphery
from device_models.memories.generic import GenericMemory
from device_models.memories.pcm import PhaseChangeMemory
from device_models.memories.product import Ideal, Mismatch
from device_models.parameters import Parameters, describe, own_fields
from device_models.presets import preset, preset_names, presets
from device_models.registry import Kind, kinds
from device_models.sram.bitplane import BitPlaneSram
from device_models.sram.charge_sram import ChargeSram
from device_models.sram.current_sram import CurrentSram
from device_models.toml_file import (
    LARGEST_FILE_BYTES,
    annotated_toml,
    find_device,
    load_device,
    to_toml,
)


def test_presets_are_known_by_name() -> None:
    assert preset("ideal") == Ideal()
    assert preset("mismatch-10") == Mismatch(10.0)
    assert preset("mismatch-2.5") == Mismatch(2.5)
    assert isinstance(preset("sram-bitplane"), CurrentSram)
    assert isinstance(preset("sram-charge"), ChargeSram)
    assert {"pcm", "rram-wan", "sonos", "generic-uniform-proportional"} < set(preset_names())
    for one in presets():
        assert preset(one.name.replace("-N", "-10")) == one.model
        assert one.summary
        assert one.source


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ideel", "did you mean ideal"),
        ("sram-bitplanes", "did you mean sram-bitplane"),
        ("mismach-10", "did you mean mismatch-10"),
        ("mismatch--3", "did you mean mismatch-10"),
        ("mismatch-nan", "did you mean mismatch-10"),
        ("", "known: ideal, pcm, .*, sram-charge, mismatch-N"),
        ("mismatch-5000", "percent is 5000"),
        ("mismatch-99999999", "percent is 99999999"),
        ("PCM", "did you mean pcm?"),
        ("sram", "did you mean sram-charge?"),
        ("chip.txt", "or a .toml file"),
    ],
)
def test_an_unknown_preset_suggests_the_nearest(name: str, words: str) -> None:
    with pytest.raises(DeviceModelError, match=words):
        preset(name)


def peripheries() -> st.SearchStrategy[AnalogPeriphery]:
    parameters = {spec.name: drawn(spec) for spec in fields(AnalogPeriphery)}
    parameters |= {
        "adc_range": st.sampled_from(("fraction", "calibrated")),
        "reads": st.sampled_from((1, 3, 15)),
        "stuck_at_off": st.floats(0, 0.5),
        "stuck_at_on": st.floats(0, 0.5),
    }
    return st.builds(AnalogPeriphery, **parameters)


def drawn(spec: Field[Any]) -> st.SearchStrategy[Any]:
    facts = spec.metadata
    if "part" in facts:
        return st.none() | peripheries()
    if "words" in facts:
        return st.sampled_from(facts["words"])
    values: st.SearchStrategy[Any]
    if facts["whole"]:
        values = st.integers(int(facts["low"]), int(facts["high"]))
    else:
        values = st.floats(facts["low"], facts["high"])
    if "counts" in facts:
        fewest, most = facts["counts"]
        return st.lists(values, min_size=fewest, max_size=most).map(tuple)
    return st.none() | values if facts["optional"] else values


def models() -> st.SearchStrategy[Any]:
    def of_kind(kind: Kind) -> st.SearchStrategy[Any]:
        parameters = {spec.name: drawn(spec) for spec in fields(kind.model)}
        if "full_scale" in parameters:
            parameters |= {"rows": st.integers(2, 512), "full_scale": st.floats(0.5, 1.0)}
            parameters |= {
                "adc_range": st.sampled_from(("fraction", "calibrated")),
                "reads": st.sampled_from((1, 3, 15)),
                "stuck_at_zero": st.floats(0, 0.5),
                "stuck_at_one": st.floats(0, 0.5),
            }
        if "region" in parameters:
            parameters |= {"supply_v": st.floats(1, 5), "threshold_v": st.floats(0.01, 0.9)}
            parameters["region"] = st.just("strong")
        if "g_min_us" in parameters:
            parameters |= {"g_min_us": st.floats(0, 5), "g_max_us": st.floats(6, 1e4)}
        return st.builds(kind.model, **parameters)

    return st.one_of([of_kind(kind) for kind in kinds().values()])


@given(models())
def test_a_model_survives_its_file(model: DeviceModel) -> None:
    again = load_device(to_toml(model))
    assert again == model == load_device(annotated_toml(model))
    assert type(again) is type(model)


def test_a_file_is_read_and_found(tmp_path: Path) -> None:
    path = tmp_path / "chip.toml"
    path.write_text('kind = "mismatch"\npercent = 4\n', encoding="utf-8")
    assert load_device(path) == load_device(str(path)) == find_device(str(path)) == Mismatch(4)
    assert find_device("ideal") == Ideal()


SRAM = BitPlaneSram()


def replaced(name: str, value: object, model: DeviceModel = SRAM) -> str:
    lines = to_toml(model).splitlines()
    return "\n".join(
        f"{name} = {value}" if line.startswith(f"{name} =") else line for line in lines
    )


def changed(name: str, value: object) -> str:
    return replaced(name, value, PhaseChangeMemory())


TILED = to_toml(Ideal(periphery=AnalogPeriphery()))


def tiled(name: str, value: object) -> str:
    return replaced(name, value, Ideal(periphery=AnalogPeriphery()))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "percent = 1\n",
            "kind is missing; give one of 'bitplane', .*'ideal', .*'sonos'",
        ),
        ('kind = "pcn"\n', "kind is 'pcn' .did you mean 'pcm'"),
        ('kind = "sram-bitplane"\n', "a preset, whose kind is 'current-sram'"),
        ('kind = "zzz"\n', "kind is 'zzz'; give one of"),
        (
            replaced("drift_mean", 1, GenericMemory()).replace("drift_mean", "drift_meen"),
            "unknown 'drift_meen' .did you mean 'drift_mean'",
        ),
        ("kind = 3\n", "kind is 3"),
        ('kind = "mismatch"\n', "missing 'percent' for kind mismatch"),
        ('kind = "mismatch"\nprocent = 1\npercent = 2', "unknown 'procent' .* are: percent"),
        ('kind = "ideal"\npercent = 1', "unknown 'percent' for kind ideal; .* none"),
        ('kind = "mismatch"\npercent = -1', "percent is -1; give a number from 0 to 1000"),
        ('kind = "mismatch"\npercent = nan', "percent is nan"),
        ('kind = "mismatch"\npercent = inf', "percent is inf"),
        ('kind = "mismatch"\npercent = true', "percent is True"),
        ('kind = "mismatch"\npercent = "none"', "percent is 'none'"),
        ('kind = "mismatch"\npercent = [1]', r"percent is \[1\]"),
        (replaced("rows", 0), "rows is 0; give a whole number from 1 to 512"),
        (replaced("rows", 2.5), "rows is 2.5; give a whole number"),
        (replaced("adc_bits", 0), 'adc_bits is 0; .* from 1 to 12 or "none"'),
        (replaced("cell_sigma", -0.1), "cell_sigma is -0.1"),
        (replaced("read_noise_counts", "nan"), "read_noise_counts is nan"),
        (replaced("rows", 2).replace("full_scale = 1.0", "full_scale = 0.1"), "one count"),
        (changed("drift_mean", "[1.0, 2.0]"), r"drift_mean is \[1.0, 2.0\]; .* list of 4 numbers"),
        (changed("drift_mean", 0.1), "drift_mean is 0.1; give a list of 4 numbers"),
        (changed("fluctuation", '[1, "a", 2]'), "fluctuation is .* 3 numbers from 0 to 10"),
        (changed("fluctuation", "[1, nan, 2]"), "fluctuation is"),
        (changed("programming_noise_us", [0.0] * 9), "give a list of 1 to 8 numbers"),
        (changed("read_noise", "[0.1]"), r"read_noise is \[0.1\]; give a number"),
        (tiled("adc_bits", 0), r"description: periphery.adc_bits is 0; .* from 2 to 16 or .none"),
        (tiled("adc_bits", 1), "periphery.adc_bits is 1; give a whole number from 2 to 16"),
        (tiled("dac_bits", 9), "periphery.dac_bits is 9; give a whole number from 1 to 8"),
        (tiled("rows", 0), "periphery.rows is 0; give a whole number from 1 to 1024"),
        (tiled("column_gain_sigma", -0.1), "periphery.column_gain_sigma is -0.1; give a number"),
        (tiled("ir_drop", "nan"), "periphery.ir_drop is nan"),
        (tiled("full_scale", 0), "periphery.full_scale is 0; give a number from 0.0001"),
        (tiled("adc_range", '"auto"'), "periphery.adc_range is 'auto'; give one of 'lossless'"),
        (tiled("reads", 2), "periphery.reads is 2; a majority needs an odd number"),
        (
            tiled("stuck_at_off", 0.6).replace("stuck_at_on = 0.0", "stuck_at_on = 0.5"),
            "periphery.stuck_at_off is 0.6 and periphery.stuck_at_on 0.5; together .* at most 1",
        ),
        (
            tiled("full_scale", 0.5).replace('"calibrated"', '"lossless"'),
            "periphery.full_scale is 0.5; a lossless range needs 1",
        ),
        (
            TILED.replace("dac_bits", "dak_bits"),
            r"unknown 'periphery.dak_bits' .did you mean 'dac_bits'.. for .*\[periphery\]",
        ),
        (
            TILED.replace("rows = 256\n", ""),
            r"missing 'periphery.rows' for the table \[periphery\]",
        ),
        (TILED.replace("[peri", "[perry"), r"unknown 'perryphery'.* none .* a table \[periphery\]"),
        (TILED.split("rows")[0], "missing 'periphery.rows', 'periphery.dac_bits'"),
        ('kind = "ideal"\nperiphery = 3', r"periphery is '3'; give a table \[periphery\]"),
        (to_toml(SRAM) + "[periphery]\nrows = 3\n", "unknown 'periphery' for kind bitplane"),
        (replaced("dependence", '"none"', GenericMemory()), "'none'; give one of 'independent'"),
        (replaced("distribution", "[1]", GenericMemory()), r"'\[1\]'; give one of 'normal'"),
        ("kind = \n", "no valid TOML"),
        ("x = " + "[" * 5000, "nested too deeply"),
        ('kind = "mismatch"\nkind = "ideal"', "no valid TOML"),
    ],
)
def test_a_wrong_description_is_refused_in_one_sentence(text: str, words: str) -> None:
    with pytest.raises(DeviceModelError, match=words) as caught:
        load_device(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", kinds())
def test_all_missing_parameters_are_named(kind: str) -> None:
    names = [spec.name for spec in own_fields(kinds()[kind].model)]
    if not names:
        return
    with pytest.raises(DeviceModelError) as caught:
        load_device(f'kind = "{kind}"\n')
    before, _, _ = str(caught.value).partition("its parameters")
    assert [name for name in names if repr(name) not in before] == []


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00=")
    (tmp_path / "huge.toml").write_bytes(b"#" * (LARGEST_FILE_BYTES + 1))
    for name, words in (
        ("binary.toml", "not UTF-8"),
        ("huge.toml", "larger than"),
        ("absent.toml", "No such file"),
        ("", "directory"),
        ("nul\0.toml", "cannot read"),
    ):
        with pytest.raises(DeviceModelError, match=words):
            load_device(tmp_path / name)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_model_or_refused(data: bytes) -> None:
    text = data.decode("latin-1") + "\n"
    try:
        model = load_device(text)
    except DeviceModelError:
        return
    assert load_device(to_toml(model)) == model


def test_every_parameter_is_described() -> None:
    subjects: list[Parameters] = [one.model for one in presets()]
    for subject in (*subjects, EnergyConstants()):
        listing = describe(subject)
        inner = fields(AnalogPeriphery) if getattr(subject, "periphery", None) else ()
        names = [spec.name for spec in fields(subject) if spec.name != "periphery"]
        names += [f"periphery.{spec.name}" for spec in inner]
        assert [entry.name for entry in listing] == names
        assert all(entry.unit and entry.meaning and entry.source for entry in listing)
    assert describe(Ideal()) == ()


def test_conditions_without_figures_are_told() -> None:
    chip = Chip(preset("rram-wan"))
    assert cautions(chip, State(172_800.0, 20.0)) == ()
    age, heat = cautions(chip, State(172_801.0, 85.0))
    assert "beyond the 172800 s that device model retention holds for (measured" in age
    assert "85 C is outside the 15 to 35 C" in heat
    assert cautions(Chip(BitPlaneSram()), State(1e12, 125.0)) == ()


def test_a_memory_with_a_periphery_is_another_one_and_its_file_says_so() -> None:
    bare, tiles = PhaseChangeMemory(), PhaseChangeMemory(periphery=AnalogPeriphery())
    assert bare != tiles == preset("pcm-adc8")
    assert to_toml(tiles).startswith(to_toml(bare))
    assert to_toml(tiles)[len(to_toml(bare)) :].startswith("\n[periphery]\nrows = 256\n")
    assert load_device(to_toml(tiles).replace("adc_bits = 8", 'adc_bits = "none"')) == replace(
        tiles, periphery=AnalogPeriphery(adc_bits=None)
    )

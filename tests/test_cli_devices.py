"""`npp-agent devices`, and what an emulated chip's age does to the commands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent.cli.program import run
from agent.workstation.demo_bundle import DEMO_BUNDLE
from device_models.memories.analog_periphery import AnalogPeriphery
from device_models.memories.pcm import PhaseChangeMemory
from device_models.memories.retention import RetentionMemory
from device_models.presets import preset, preset_names
from device_models.toml_file import load_device, to_toml


def test_every_preset_is_listed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["devices"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(preset_names())
    assert not [line for line in lines if ".." in line], "a summary is shortened"


def test_a_device_tells_value_unit_meaning_and_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["devices", "pcm"]) == 0
    text = capsys.readouterr().out
    assert "holds for  ages up to 10 y, 15 to 35 °C" in text
    assert "drift_start_s = 20  s\n    t0: conductance falls" in text
    assert "    source: Nandakumar et al., ICECS 2019" in text
    assert run(["devices", "mismatch-12", "--json"]) == 0
    (document,) = json.loads(capsys.readouterr().out)["devices"]
    assert document["name"] == "mismatch-12"
    assert document["parameters"][0]["value"] == 12


def test_the_toml_of_a_device_is_the_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in preset_names():
        if name != "mismatch-N":
            assert run(["devices", name, "--toml"]) == 0
            assert load_device(capsys.readouterr().out) == preset(name)
    chip = tmp_path / "chip.toml"
    assert run(["devices", "pcm", "--toml"]) == 0
    chip.write_text(
        capsys.readouterr().out.replace("read_noise = 0.0", "read_noise = 0.01"), encoding="utf-8"
    )
    assert run(["devices", str(chip), "--json"]) == 0
    (document,) = json.loads(capsys.readouterr().out)["devices"]
    assert document["summary"].startswith("as pcm: ")
    assert load_device(chip) == PhaseChangeMemory(read_noise=0.01)


def test_a_memory_with_a_periphery_is_shown_installed_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chip = tmp_path / "tiles.toml"
    periphery = AnalogPeriphery(rows=64, adc_bits=6)
    model = replace(RetentionMemory(), periphery=periphery)
    chip.write_text(to_toml(model), encoding="utf-8")
    assert run(["devices", str(chip)]) == 0
    text = capsys.readouterr().out
    assert "as rram-wan: resistive pairs" in text
    assert "in tiles with converters\n" in text
    assert "\nperiphery.adc_bits = 6  bit\n    resolution" in text
    store = ["--store", str(tmp_path / "store")]
    assert run(["install", str(DEMO_BUNDLE), "--chip", str(chip), *store]) == 0
    chip.unlink()
    capsys.readouterr()
    assert run(["measure", "--json", *store]) == 0
    tiles = json.loads(capsys.readouterr().out)["mean_relative_error"]
    assert run(["install", str(DEMO_BUNDLE), "--chip", "rram-wan", *store]) == 0
    capsys.readouterr()
    assert run(["measure", "--json", *store]) == 0
    assert tiles > json.loads(capsys.readouterr().out)["mean_relative_error"]


def test_a_wrong_periphery_is_named_and_nothing_is_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chip = tmp_path / "tiles.toml"
    text = to_toml(preset("pcm-adc8")).replace("adc_bits = 8", "adc_bits = 0")
    chip.write_text(text, encoding="utf-8")
    store = tmp_path / "store"
    assert run(["install", str(DEMO_BUNDLE), "--chip", str(chip), "--store", str(store)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "tiles.toml: periphery.adc_bits is 0; give a whole number from 2 to 16" in said.err
    assert said.err.count("\n") == 1
    assert not store.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["pcmm"], 1, "did you mean pcm?"),
        (["absent.toml"], 1, "No such file"),
        (["--toml"], 2, "takes one DEVICE"),
        (["pcm", "--toml", "--json"], 2, "no --json"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["devices", *arguments]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err


def test_a_chip_ages_and_is_warned_of_outside_its_range(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--store", str(tmp_path / "store")]
    assert run(["install", str(DEMO_BUNDLE), "--chip", "rram-wan", *store]) == 0
    capsys.readouterr()

    def errors(age_s: float) -> tuple[float, str]:
        assert run(["measure", "--age-s", str(age_s), "--json", *store]) == 0
        said = capsys.readouterr()
        return json.loads(said.out)["mean_relative_error"], said.err

    (fresh, _), (day, quiet), (again, _) = errors(1.0), errors(86_400.0), errors(1.0)
    assert day > 1.2 * fresh
    assert again == fresh
    assert "beyond" not in quiet
    assert "beyond the 172800 s that device model retention holds for" in errors(1e6)[1]

"""The energy that `inspect` estimates: it adds up, follows the chip, or says why there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agent_stores import bundle, npp

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def packed_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(tmp_path_factory.mktemp("packed") / "small.npp")


def test_layers_add_up_to_the_inference(packed_file: Path, capsys: Capture) -> None:
    said = npp(capsys, "inspect", packed_file, "--json").document
    energy, layers = said["energy"], said["layers"]
    assert (energy["device"], said["energy_note"]) == ("sram-bitplane", None)
    for name in ("array_reads", "conversions", "main_pj", "surrogate_pj"):
        assert sum(layer[name] for layer in layers) == pytest.approx(energy[name])
    assert sum(layer["energy_share"] for layer in layers) == pytest.approx(1)
    assert energy["total_pj"] == pytest.approx(energy["main_pj"] + energy["surrogate_pj"])
    assert energy["operations"] == 2 * said["multiply_accumulates"]
    assert energy["tops_per_watt"] == pytest.approx(energy["operations"] / energy["total_pj"])
    # 6 filters of 18 rows, one tile, on 64 positions: 8 input planes, 8 weight planes
    assert (layers[0]["array_reads"], layers[0]["conversions"]) == (64 * 64, 64 * 64 * 6)
    assert all(one["source"] and one["node"] for one in energy["constants"])


def test_the_text_shows_layers_and_parts_within_the_width(
    packed_file: Path, capsys: Capture
) -> None:
    text = npp(capsys, "inspect", packed_file).out
    assert "TOPS/W on sram-bitplane (estimate)" in text
    assert "array reads  conversions  array, nJ  surrogate, nJ  of all" in text
    assert all(len(line) <= 100 for line in text.splitlines())
    assert "source: Horowitz" not in text
    assert "source: Horowitz" in npp(capsys, "inspect", packed_file, "--constants").out


def test_another_chip_and_another_arithmetic(
    packed_file: Path, tmp_path: Path, capsys: Capture
) -> None:
    def energy_of(*options: object) -> dict[str, float]:
        return npp(capsys, "inspect", packed_file, *options, "--json").document["energy"]

    plain, charge = energy_of(), energy_of("--chip", "sram-charge")
    assert charge["columns_pj"] > plain["columns_pj"]
    assert charge["conversions_pj"] == plain["conversions_pj"]
    narrow = energy_of("--arithmetic", "int8")
    assert narrow["main_pj"] == plain["main_pj"]
    assert narrow["surrogate_share"] < plain["surrogate_share"]
    toml = npp(capsys, "devices", "sram-bitplane", "--toml").out
    (tmp_path / "ours.toml").write_text(
        toml.replace("dac_bits = 1\n", "dac_bits = 4\n").replace(
            "adc_bits = 8\n", "adc_bits = 12\n"
        ),
        encoding="utf-8",
    )
    ours = energy_of("--chip", tmp_path / "ours.toml")
    assert 4 * ours["array_reads"] == plain["array_reads"]
    assert ours["conversions_pj"] / ours["conversions"] == pytest.approx(1.2 + 4**12 / 1e6)


@pytest.mark.parametrize("chip", ["pcm", "ideal", "mismatch-10"])
def test_a_chip_without_bit_planes_has_no_estimate(
    chip: str, packed_file: Path, capsys: Capture
) -> None:
    done = npp(capsys, "inspect", packed_file, "--chip", chip, "--json")
    said = done.document
    assert (done.code, said["energy"]) == (0, None)
    assert "no energy estimate for kind" in said["energy_note"]
    assert said["layers"][0]["conversions"] is None
    text = npp(capsys, "inspect", packed_file, "--chip", chip, "--constants").out
    (line,) = [line for line in text.splitlines() if line.startswith("energy")]
    assert line.endswith(said["energy_note"])
    assert "array reads" not in text


def test_nothing_quantised_has_no_estimate(tmp_path: Path, capsys: Capture) -> None:
    said = npp(capsys, "inspect", bundle(tmp_path / "f.npp", scheme="float"), "--json").document
    assert said["energy"] is None
    assert said["energy_note"] == "no energy estimate before the weights are quantised"


@pytest.mark.parametrize(
    ("chip", "sentence"),
    [
        ("pcn", "no device preset 'pcn'; did you mean pcm?"),
        ("nowhere.toml", "nowhere.toml"),
    ],
)
def test_an_unknown_chip_is_an_error(
    chip: str, sentence: str, packed_file: Path, capsys: Capture
) -> None:
    done = npp(capsys, "inspect", packed_file, "--chip", chip)
    assert (done.code, done.out) == (1, "")
    assert sentence in done.err


def test_a_chip_without_converters_has_no_estimate(
    packed_file: Path, tmp_path: Path, capsys: Capture
) -> None:
    toml = npp(capsys, "devices", "sram-charge", "--toml").out
    assert "\nadc_bits = 8\n" in toml
    (tmp_path / "bare.toml").write_text(
        toml.replace("\nadc_bits = 8\n", '\nadc_bits = "none"\n'), encoding="utf-8"
    )
    said = npp(capsys, "inspect", packed_file, "--chip", tmp_path / "bare.toml", "--json").document
    assert "without a converter" in said["energy_note"]

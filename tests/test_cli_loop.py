"""`install`, `measure`, `calibrate`, `evaluate`: the closed loop from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agent.store.store import Store
from tests.agent_stores import Said, bundle, data, npp, npp_process

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def packed_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(tmp_path_factory.mktemp("bundle") / "small.npp")


@pytest.fixture
def store(packed_file: Path, tmp_path: Path, capsys: Capture) -> Path:
    place = tmp_path / "store"
    chip = ("--chip", "mismatch-30", "--chip-seed", 5)
    assert npp(capsys, "install", packed_file, "--store", place, *chip).code == 0
    return place


def calibrated(capsys: Capture, store: Path, *options: object) -> Said:
    return npp(capsys, "calibrate", "--store", store, "--json", *options)


def test_the_whole_story(store: Path, tmp_path: Path, capsys: Capture) -> None:
    where = ("--store", store, "--json")
    samples = data(tmp_path / "test.npz", 200)
    before = npp(capsys, "measure", *where).document
    assert before["drift"] == {"state": "unknown", "score": None}
    report = calibrated(capsys, store)
    assert report.code == 0
    assert report.err == ""
    after = npp(capsys, "measure", *where).document
    for one, two, said in zip(
        before["layers"], after["layers"], report.document["layers"], strict=True
    ):
        assert said["error_before"] == pytest.approx(one["relative_error"])
        assert said["error_after"] == pytest.approx(two["relative_error"])
        assert two["relative_error"] < one["relative_error"]
    assert after["drift"]["state"] == "healthy"
    assert after["drift"]["score"] == pytest.approx(1.0)
    found = npp(capsys, "evaluate", "--data", samples, *where).document
    assert found["samples"] == 200
    assert found["float"] == pytest.approx(1.0, abs=0.02)
    assert found["uncorrected"] < found["corrected"] <= 1.0
    assert found["agreement"] == pytest.approx(found["corrected"], abs=0.02)
    assert found["output_sqnr_db"] is None
    assert npp(capsys, "status", *where).document["sequence"] == 1
    assert npp(capsys, "rollback", *where).code == 0
    back = npp(capsys, "evaluate", "--data", samples, *where).document
    assert back["corrected"] == back["uncorrected"] == found["uncorrected"]
    assert npp(capsys, "measure", *where).document["drift"]["state"] == "unknown"


def test_calibrate_says_all_that_other_programs_rely_on(store: Path, capsys: Capture) -> None:
    said = calibrated(capsys, store, "--samples", 7).document
    assert said["accepted"] is True
    assert isinstance(said["reason"], str)
    assert said["method"] == "probe"
    assert said["samples_used"] == 7
    assert len(said["selected"]) == 7
    assert set(said["selected"][0]) == {"index", "sensitivity", "reason"}
    assert all(16 <= one["index"] < 64 for one in said["selected"])
    rises = [one["sensitivity"] for one in said["selected"]]
    assert rises == sorted(rises, reverse=True)
    assert said["buffer"]["capacity_bytes"] == 256 * 1024
    assert 0 < said["buffer"]["bytes_used"] <= 256 * 1024
    assert said["seconds"] > 0
    assert said["bytes_written"] == (store / "factors.0").stat().st_size - (256 - 60)
    assert set(said["layers"][0]) == {"name", "rank", "error_before", "error_after"}
    assert said["held_back"]["after"] < said["held_back"]["before"]
    assert 0 < said["surrogate_mac_share"] < 2
    assert said["sequence"] == 1
    entry = Store(store).read_history().entries[-1]
    for key in ("accepted", "reason", "method", "samples_used", "held_back", "sequence"):
        assert entry[key] == said[key], key


@pytest.mark.parametrize("select", ["random", "all", "coverage", "loss"])
@pytest.mark.parametrize("method", ["probe", "sequential"])
def test_every_selection_and_method_runs(
    select: str, method: str, store: Path, capsys: Capture
) -> None:
    options = ("--select", select, "--method", method, "--samples", 24)
    said = calibrated(capsys, store, *options)
    assert said.code in {0, 3}
    assert said.document["method"] == method
    assert said.document["samples_used"] == (48 if select == "all" else 24)


def test_a_second_calibration_that_does_not_help_is_refused_and_changes_nothing(
    store: Path, capsys: Capture
) -> None:
    assert calibrated(capsys, store, "--select", "all").code == 0
    factors = Store(store).load_factors()
    refused = calibrated(capsys, store, "--samples", 2, "--rank", 0)
    assert refused.code == 3
    assert refused.err == ""
    said = refused.document
    assert (said["accepted"], said["sequence"], said["bytes_written"]) == (False, 1, 0)
    assert "old factors kept" in said["reason"]
    assert Store(store).load_factors() == factors
    last = npp(capsys, "status", "--store", store, "--json").document["last_calibration"]
    assert (last["accepted"], last["sequence"]) == (False, None)
    assert npp(capsys, "measure", "--store", store, "--json").document["drift"]["score"] == 1.0


def test_a_dry_run_leaves_every_byte_as_it_was(store: Path, capsys: Capture) -> None:
    def content() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in store.iterdir()}

    before = content()
    said = calibrated(capsys, store, "--dry-run", "--age-s", 5)
    assert said.code == 0
    assert (said.document["sequence"], said.document["bytes_written"]) == (0, 0)
    assert content() == before


def test_the_same_store_gives_the_same_factors(
    packed_file: Path, tmp_path: Path, capsys: Capture
) -> None:
    payloads = []
    for name in ("one", "two"):
        place = tmp_path / name
        npp(capsys, "install", packed_file, "--store", place, "--chip", "mismatch-30")
        calibrated(capsys, place, "--select", "random", "--samples", 24)
        found = Store(place).load_factors()
        payloads.append(None if found is None else found.payload)
    assert payloads[0] is not None
    assert payloads[0] == payloads[1]


def test_age_and_temperature_are_remembered(store: Path, capsys: Capture) -> None:
    conditions = ("--age-s", 3600, "--temperature-c", 60)
    npp(capsys, "measure", "--store", store, *conditions)
    assert Store(store).state().remembered == {"age_s": 3600.0, "temperature_c": 60.0}
    calibrated(capsys, store, "--age-s", 7200)
    assert Store(store).state().remembered == {"age_s": 7200.0, "temperature_c": 60.0}
    entry = Store(store).read_history().entries[-1]
    assert (entry["age_s"], entry["temperature_c"]) == (7200.0, 60.0)


def test_measuring_above_the_limit_is_exit_code_5(store: Path, capsys: Capture) -> None:
    measure = ("measure", "--store", store, "--json")
    layers = npp(capsys, *measure).document["layers"]
    largest = max(layer["relative_error"] for layer in layers)
    assert npp(capsys, *measure, "--fail-above", largest * 1.01).code == 0
    above = npp(capsys, *measure, "--fail-above", largest * 0.99)
    assert above.code == 5
    assert above.document["layers"] == layers


def test_tables_fit_and_say_what_matters(store: Path, tmp_path: Path, capsys: Capture) -> None:
    where = ("--store", store)
    texts = [
        npp(capsys, "measure", *where).out,
        npp(capsys, "calibrate", *where).out,
        npp(capsys, "evaluate", *where, "--data", data(tmp_path / "t.npz")).out,
    ]
    assert all(len(line) <= 100 for text in texts for line in text.splitlines())
    assert "drift: unknown" in texts[0]
    assert "sensitivity rank 1 of 48" in texts[1]
    assert "and 27 more, all in --json" in texts[1]
    assert "\naccepted: the loss on held-back samples falls from" in texts[1]
    assert "corrected    " in texts[2]


def test_evaluate_without_labels_and_without_float_weights(tmp_path: Path, capsys: Capture) -> None:
    packed = bundle(tmp_path / "stored.npp", references_as="stored")
    store, samples = tmp_path / "store", tmp_path / "x.npz"
    np.savez(samples, x=np.load(data(tmp_path / "both.npz"))["x"])
    npp(capsys, "install", packed, "--store", store, "--chip", "mismatch-10")
    said = npp(capsys, "evaluate", "--store", store, "--data", samples, "--json").document
    names = ("float", "uncorrected", "corrected", "agreement", "output_sqnr_db")
    assert [said[name] for name in names] == [None] * 5
    assert said["samples"] == 40


def test_a_float_bundle_becomes_what_the_board_wants(tmp_path: Path, capsys: Capture) -> None:
    packed, store = bundle(tmp_path / "float.npp", scheme="float"), tmp_path / "store"
    install = ("install", packed, "--store", store)
    assert "--scheme" in npp(capsys, *install).sentence()
    assert "int8, int4, int4-tensor, nf4" in npp(capsys, *install).sentence()
    assert not store.exists()
    said = npp(capsys, *install, "--scheme", "nf4", "--chip", "mismatch-30", "--json").document
    assert said["scheme"] == "nf4"
    assert npp(capsys, "status", "--store", store, "--json").document["scheme"] == "nf4"
    assert calibrated(capsys, store).code == 0
    quantised = bundle(tmp_path / "int8.npp")
    other = ("install", quantised, "--store", store, "--scheme")
    assert "cannot become nf4" in npp(capsys, *other, "nf4").sentence()
    assert npp(capsys, *other, "int8").code == 0


def test_a_chip_from_a_file_is_kept_when_the_file_goes(
    packed_file: Path, tmp_path: Path, capsys: Capture
) -> None:
    device, store = tmp_path / "ours.toml", tmp_path / "store"
    device.write_text('kind = "mismatch"\npercent = 30.0\n')
    chip = ("--chip", device, "--chip-seed", 5)
    npp(capsys, "install", packed_file, "--store", store, *chip)
    device.unlink()
    described = npp(capsys, "status", "--store", store, "--json").document["chip"]
    assert (described["name"], described["seed"]) == ("ours", 5)
    assert "ours, seed 5" in npp(capsys, "status", "--store", store).out
    preset = tmp_path / "preset"
    npp(capsys, "install", packed_file, "--store", preset, "--chip", "mismatch-30", *chip[2:])
    errors = [
        npp(capsys, "measure", "--store", place, "--json").document["layers"]
        for place in (store, preset)
    ]
    assert errors[0] == errors[1]


def test_installing_again_retires_factors_and_keeps_the_history(
    store: Path, packed_file: Path, capsys: Capture
) -> None:
    assert calibrated(capsys, store).code == 0
    npp(capsys, "install", packed_file, "--store", store, "--chip", "mismatch-30")
    said = npp(capsys, "status", "--store", store, "--json").document
    assert (said["sequence"], said["history_entries"]) == (0, 3)
    assert calibrated(capsys, store).document["sequence"] == 2


def test_inspect_adds_up(packed_file: Path, capsys: Capture) -> None:
    said = npp(capsys, "inspect", packed_file, "--json").document
    assert said["bytes"] == packed_file.stat().st_size == sum(said["parts"].values())
    first = said["layers"][0]
    # 6 filters of 2 x 3 x 3 on 8 x 8 positions, 8 bits and a float32 scale a filter
    assert (first["bits_mean"], first["bytes"]) == (8.0, 6 * 18 + 6 * 4)
    assert first["multiply_accumulates"] == 64 * 6 * 18
    macs = 64 * 6 * 18 + 64 * 6 * 9 + 16 * 8 * 54 + 8 * 5
    assert said["ebops"] == macs * 8 * 8
    # the budget of rank 8 buys all that the layers can use; gain and offset alone where depthwise
    surrogate = 64 * (6 * (18 + 6) + 6) + 64 * 6 + 16 * (8 * (54 + 8) + 8) + (5 * (8 + 5) + 5)
    assert said["surrogate_mac_share"] == pytest.approx(surrogate / macs)
    text = npp(capsys, "inspect", packed_file).out
    assert all(len(line) <= 100 for line in text.splitlines())


def test_json_on_stdout_and_nothing_else_in_a_process_of_its_own(
    packed_file: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    for arguments in (
        ("install", packed_file, "--chip", "mismatch-10"),
        ("measure",),
        ("calibrate",),
        ("evaluate", "--data", data(tmp_path / "t.npz")),
    ):
        said = npp_process(*arguments, "--json", NPP_STORE=str(store))
        assert (said.code, said.err) == (0, ""), arguments
        assert said.out.count("\n") == 1
        json.loads(said.out)

"""A whole life, short: the three ways of care, what they write, and what is told of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calib.importers.onnx_export import write_onnx
from tests.agent_stores import GRAPH, Said, bundle, data, labelled, npp

Capture = pytest.CaptureFixture[str]

PCM = """
chip = "pcm"
days = 10
start_age_h = 24
round_h = 6
evaluate_h = 12
"""

STILL = """
chip = "rram-milo"
days = 30
round_h = 12
evaluate_h = 240
ageing = false
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("life")
    write_onnx(GRAPH, folder / "model.onnx")
    bundle(folder / "small.npp")
    bundle(folder / "stored.npp", references_as="stored")
    bundle(folder / "moments.npp", references_as="moments")
    data(folder / "data.npz")
    return folder


def lived(capsys: Capture, files: Path, scenario: str, *options: object, **how: Any) -> Said:
    path = files / "scenario.toml"
    path.write_text(scenario)
    given = ("--data", files / "data.npz") if how.get("data", True) else ()
    name = f"{how.get('name', 'small')}.npp"
    return npp(capsys, "simulate-life", files / name, path, *given, "--json", *options)


@pytest.mark.slow
def test_a_fading_chip_is_kept_good_by_the_policy_and_lost_without(
    files: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out"
    found = lived(capsys, files, PCM, "--out", out)
    assert found.code == 0, found.err
    care = found.document["carers"]
    assert care["none"]["accepted"] == 1
    assert care["policy"]["recovery_mean"] > care["none"]["recovery_mean"]
    assert care["policy"]["recovery_lowest"] >= 0.7
    assert care["policy"]["accepted"] > 1
    assert care["timer"]["accepted"] + care["timer"]["refused"] == 11
    assert found.document["flash_ratio"] == pytest.approx(
        care["timer"]["flash_bytes"] / care["policy"]["flash_bytes"]
    )
    records = [json.loads(line) for line in (out / "life.jsonl").read_text().splitlines()]
    assert len(records) == found.document["rounds"]
    assert records[-1]["carers"]["policy"]["flash_bytes"] == care["policy"]["flash_bytes"]
    assert json.loads((out / "summary.json").read_text()) == found.document
    assert (out / "life.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_life(files: Path, capsys: Capture) -> None:
    scenario = 'chip = "sram-bitplane"\ndays = 0.1\nround_h = 1\n'
    first, again = (lived(capsys, files, scenario, "--seed", 3).document for _ in range(2))
    assert first == again
    assert lived(capsys, files, scenario, "--seed", 4).document != first


@pytest.mark.slow
def test_a_chip_that_stands_still_never_alarms(files: Path, capsys: Capture) -> None:
    found = lived(capsys, files, STILL)
    care = found.document["carers"]["policy"]
    assert (care["alarms"], care["accepted"], care["refused"]) == (0, 1, 0)
    assert found.document["carers"]["none"]["recovery_mean"] == care["recovery_mean"]


@pytest.mark.slow
def test_a_dead_column_is_seen_and_repaired_as_far_as_it_can_be(
    files: Path, tmp_path: Path, capsys: Capture
) -> None:
    layer = npp(capsys, "inspect", files / "small.npp", "--json").document["layers"][1]["name"]
    dead = f'[[dead_column]]\nday = 10\nlayer = "{layer}"\ncolumn = 0\n'
    scenario = STILL.replace("days = 30", "days = 15").replace("240", "12") + dead
    found = lived(capsys, files, scenario, "--out", tmp_path / "out")
    lines = (tmp_path / "out" / "life.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    alarms = [one["day"] for one in records if one["carers"]["policy"]["alarm"]]
    assert 10 <= alarms[0] <= 11
    care = found.document["carers"]
    assert care["policy"]["accepted"] >= 1
    assert care["policy"]["recovery_mean"] >= care["none"]["recovery_mean"]


@pytest.mark.slow
def test_moved_inputs_are_told_from_a_changed_chip_and_nothing_is_written(
    files: Path, tmp_path: Path, capsys: Capture
) -> None:
    moved = "[[inputs]]\nday = 20\ngain = 0.3\noffset = 0.4\n"
    found = lived(capsys, files, STILL + moved, "--out", tmp_path / "out")
    care = found.document["carers"]["policy"]
    assert (care["alarms"], care["alarms_on_input"], care["accepted"]) == (0, 1, 1)
    lines = (tmp_path / "out" / "life.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    assert last["moved_inputs"]
    assert last["carers"]["policy"]["changed"] == "input"


def test_without_data_the_held_back_samples_are_answered_for(files: Path, capsys: Capture) -> None:
    scenario = STILL.replace("days = 30", "days = 2")
    found = lived(capsys, files, scenario, data=False)
    assert (found.document["measure"], found.document["samples"]) == ("agreement", 16)
    refused = lived(capsys, files, scenario, data=False, name="moments")
    assert "give some with --data DATA.npz" in refused.sentence()


@pytest.mark.slow
def test_bundles_with_moments_or_stored_references_live_too(files: Path, capsys: Capture) -> None:
    scenario = PCM.replace("days = 10", "days = 3")
    found = lived(capsys, files, scenario, name="moments")
    assert found.code == 0, found.err
    assert found.document["carers"]["policy"]["accepted"] > 1
    found = lived(capsys, files, scenario, name="stored")
    assert "give the model that was packed with --float MODEL" in found.sentence()
    with_model = lived(capsys, files, scenario, "--float", files / "model.onnx", name="stored")
    assert with_model.code == 0, with_model.err


def test_what_cannot_be_simulated_is_said(files: Path, tmp_path: Path, capsys: Capture) -> None:
    assert "no device preset 'unobtainium'" in lived(capsys, files, 'chip = "unobtainium"').err
    dead = '[[dead_column]]\nday = 1\nlayer = "nowhere"\ncolumn = 0\n'
    assert "has no layer 'nowhere'" in lived(capsys, files, STILL + dead).sentence()
    (tmp_path / "letter.txt").write_text("dear")
    found = lived(capsys, files, STILL, "--out", tmp_path)
    assert "holds letter.txt, which is no result of a life" in found.sentence()
    x, y = labelled(20, 3)
    np.savez(tmp_path / "wrong.npz", x=x, y=(y + 1) % 5)
    found = lived(capsys, files, STILL, "--data", tmp_path / "wrong.npz")
    assert "names none of the 20 labels right" in found.sentence()


def test_the_table_has_a_row_for_each_way(files: Path, capsys: Capture) -> None:
    (files / "short.toml").write_text(STILL.replace("days = 30", "days = 1"))
    arguments = ("simulate-life", files / "small.npp", files / "short.toml")
    found = npp(capsys, *arguments, "--data", files / "data.npz")
    assert found.code == 0
    for row in ("first day only", "timer", "policy", "flash bytes", "h below 0.97"):
        assert row in found.out
    assert max(len(line) for line in found.out.splitlines()) <= 100

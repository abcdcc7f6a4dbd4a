"""A bundle of the runtime tflite through the commands that a board has."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.runtimes.tflite_plan import FILE_NAME, MODEL_NAME
from agent.store.package import package_bytes
from calib.costs import surrogate_share
from tests.agent_stores import ROOT, Said, npp, npp_process
from tests.board_bundles import CAPACITIES, bundle_in, labelled, package_in


def installed(bundles: Path, name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    store = folder / "store"
    said = npp(capsys, "install", bundle_in(bundles, name), "--store", store)
    assert said.code == 0, said.err
    return store


def data(folder: Path) -> Path:
    x, y = labelled(200, 2)
    np.savez(folder / "data.npz", x=x, y=y)
    return folder / "data.npz"


@pytest.mark.parametrize("method", ["probe", "sequential"])
@pytest.mark.parametrize("references", ["stored", "recomputed"])
def test_four_bits_are_repaired(
    method: str,
    references: str,
    board_bundles: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = ("--store", installed(board_bundles, f"int4-{references}", tmp_path, capsys))
    before = npp(capsys, "measure", *store, "--json").document
    evaluated = ("evaluate", *store, "--data", data(tmp_path), "--json")
    plain = npp(capsys, *evaluated).document
    said = npp(capsys, "calibrate", *store, "--method", method, "--json")
    assert said.code == 0, said.err
    done = said.document
    assert done["accepted"]
    assert done["method"] == method
    assert done["held_back"]["after"] < 0.5 * done["held_back"]["before"]
    ranks = {layer["name"]: layer["rank"] for layer in done["layers"]}
    assert all(ranks[name] <= most for name, most in CAPACITIES.items() if most)
    assert any(ranks.values())
    after = npp(capsys, "measure", *store, "--json").document
    for layer, was in zip(after["layers"], before["layers"], strict=True):
        assert layer["relative_error"] < was["relative_error"]
    corrected = npp(capsys, *evaluated).document
    assert corrected["uncorrected"] == plain["uncorrected"]
    assert corrected["corrected"] > plain["corrected"] + 0.05
    status = npp(capsys, "status", *store, "--json").document
    assert (status["runtime"], status["sequence"]) == ("tflite", 1)


def test_moments_alone_calibrate_it_too(
    board_bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ("--store", installed(board_bundles, "int4-moments", tmp_path, capsys))
    said = npp(capsys, "calibrate", *store, "--json")
    assert said.code == 0, said.err
    assert said.document["method"] == "probe"
    assert said.document["accepted"]


def test_eight_bits_stay_as_good_as_they_are(
    board_bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("int8", "int8-after"):
        store = ("--store", installed(board_bundles, name, tmp_path, capsys))
        said = npp(capsys, "calibrate", *store, "--json")
        assert said.code in {0, 3}, said.err
        found = npp(capsys, "evaluate", *store, "--data", data(tmp_path), "--json").document
        assert found["corrected"] >= found["uncorrected"] >= 0.9


def test_a_rank_beyond_the_branches_is_held_within_them(
    board_bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ("--store", installed(board_bundles, "int4-stored", tmp_path, capsys))
    done = npp(capsys, "calibrate", *store, "--rank", 32, "--json").document
    ranks = {layer["name"]: layer["rank"] for layer in done["layers"]}
    # What has no branch takes its components in its own weights.
    assert {name: ranks[name] for name, most in CAPACITIES.items() if most} == {
        name: most for name, most in CAPACITIES.items() if most
    }


def test_a_process_says_nothing_but_what_it_is_asked(
    board_bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = installed(board_bundles, "int8", tmp_path, capsys)
    said = npp_process("measure", "--store", store, "--json")
    assert (said.code, said.err) == (0, "")
    assert {layer["name"] for layer in said.document["layers"]} == set(CAPACITIES)


def test_it_is_no_chip(
    board_bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, store = bundle_in(board_bundles, "int8"), ("--store", tmp_path / "store")
    refused = npp(capsys, "install", bundle, *store, "--chip", "mismatch-10")
    assert refused.code == 1
    assert "the runtime tflite is no emulator" in refused.sentence()
    said = npp(capsys, "inspect", bundle, "--json").document
    assert "tflite is no chip" in said["energy_note"]
    assert FILE_NAME.split("/")[0] in said["parts"]
    layers = package_in(board_bundles, "int8").network.layers
    assert said["surrogate_mac_share"] == surrogate_share(layers, CAPACITIES)
    assert npp(capsys, "install", bundle, *store).code == 0
    for command in (("measure", "--age-s", 60), ("calibrate", "--method", "gradient")):
        said_no = npp(capsys, *command, *store)
        assert said_no.code == 1
        assert said_no.sentence()


def test_files_of_another_network_are_refused_before_they_are_installed(
    board_bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package, other = (package_in(board_bundles, name) for name in ("int8", "int4-stored"))
    store = ("--store", tmp_path / "store")
    mixed = {**package.files, MODEL_NAME: other.files[MODEL_NAME]}
    for files, sentence in ((mixed, "the plan is of another file"), ({}, "no file tflite/plan")):
        bundle = tmp_path / "mixed.npp"
        bundle.write_bytes(package_bytes(replace(package, files=files)))
        said = npp(capsys, "install", bundle, *store)
        assert said.code == 1
        assert sentence in said.sentence()
    assert npp(capsys, "status", *store).code == 1


def test_without_an_interpreter_the_sentence_says_what_to_install(
    board_bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = installed(board_bundles, "int8", tmp_path, capsys)
    script = (
        "import sys; sys.modules['ai_edge_litert'] = sys.modules['tflite_runtime'] = None\n"
        "from agent.cli.program import run\n"
        "sys.exit(run(sys.argv[1:]))"
    )
    for command, code in (("measure", 1), ("status", 0), ("history", 0)):
        done = subprocess.run(
            [sys.executable, "-c", script, command, "--store", str(store)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        if code:
            sentence = Said(done.returncode, done.stdout, done.stderr).sentence()
            assert "python -m pip install 'npp-agent[litert]'" in sentence

"""A network on onnxruntime through the commands, from a model file to accuracies."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.runtimes.output_codes import FILE_NAME, decode_output_codes, encode_output_codes
from agent.store.bundle import open_bundle
from agent.store.package import package_bytes, read_package
from calib.importers.onnx_export import write_onnx
from calib.schemes.activations import ActivationCode
from tests.agent_stores import GRAPH, ROOT, SAMPLES, Said, data, labelled, npp


def packed(folder: Path, capsys: pytest.CaptureFixture[str], *options: object) -> Path:
    """The classifier packed for onnxruntime by the command."""
    model, samples, out = (folder / name for name in ("small.onnx", "samples.npz", "small.npp"))
    write_onnx(GRAPH, model)
    x, y = labelled(SAMPLES, 1)
    np.savez(samples, x=x, y=y)
    arguments = ("--held-back", 16, "--references", 48, "--runtime", "onnxruntime", *options)
    with np.errstate(under="ignore"):  # as outside the tests
        said = npp(capsys, "pack", model, "--samples", samples, "--out", out, *arguments, "--json")
    assert said.code == 0, said.err
    assert said.document["runtime"] == "onnxruntime"
    return out


def installed(folder: Path, capsys: pytest.CaptureFixture[str], *options: object) -> Path:
    store = folder / "store"
    said = npp(capsys, "install", packed(folder, capsys, *options), "--store", store)
    assert said.code == 0, said.err
    return store


@pytest.mark.parametrize("method", ["probe", "sequential"])
@pytest.mark.parametrize("references", ["stored", "recomputed"])
def test_four_bits_are_repaired(
    method: str, references: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--scheme", "int4-tensor", "--references-as", references)
    store = ("--store", installed(tmp_path, capsys, *options))
    before = npp(capsys, "measure", *store, "--json").document
    evaluated = ("evaluate", *store, "--data", data(tmp_path / "data.npz", 200), "--json")
    evaluated += ("--float", tmp_path / "small.onnx")
    plain = npp(capsys, *evaluated).document
    said = npp(capsys, "calibrate", *store, "--method", method, "--json")
    assert said.code == 0, said.err
    done = said.document
    assert done["accepted"]
    assert done["method"] == method
    assert done["held_back"]["after"] < 0.5 * done["held_back"]["before"]
    after = npp(capsys, "measure", *store, "--json").document
    for layer, was in zip(after["layers"], before["layers"], strict=True):
        assert layer["relative_error"] < was["relative_error"]
    corrected = npp(capsys, *evaluated).document
    assert corrected["uncorrected"] == plain["uncorrected"]
    assert corrected["agreement"] > plain["agreement"]
    status = npp(capsys, "status", *store, "--json").document
    assert (status["runtime"], status["sequence"]) == ("onnxruntime", 1)


def test_a_float_bundle_is_quantised_on_the_board(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, store = packed(tmp_path, capsys, "--scheme", "float"), tmp_path / "store"
    assert npp(capsys, "install", bundle, "--store", store, "--scheme", "int4").code == 0
    said = npp(capsys, "calibrate", "--store", store, "--json")
    assert said.code == 0, said.err
    assert said.document["held_back"]["after"] < said.document["held_back"]["before"]


def test_moments_alone_calibrate_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--scheme", "int4-tensor", "--references-as", "moments")
    store = ("--store", installed(tmp_path, capsys, *options))
    said = npp(capsys, "calibrate", *store, "--json")
    assert said.code == 0, said.err
    assert said.document["method"] == "probe"


def test_it_is_no_chip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = packed(tmp_path, capsys)
    store = ("--store", tmp_path / "store")
    refused = npp(capsys, "install", bundle, *store, "--chip", "mismatch-10")
    assert refused.code == 1
    assert "the runtime onnxruntime is no emulator" in refused.sentence()
    said = npp(capsys, "inspect", bundle, "--json").document
    assert said["energy"] is None
    assert "onnxruntime is no chip" in said["energy_note"]
    assert FILE_NAME.split("/")[0] in said["parts"]
    many = npp(capsys, "simulate", bundle, "--data", data(tmp_path / "data.npz"), "--chips", 2)
    assert many.code == 1
    assert "pack the model with --runtime cim" in many.sentence()


def test_it_has_no_age_and_no_temperature(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = installed(tmp_path, capsys)
    said = npp(capsys, "measure", "--store", store, "--age-s", 60, "--temperature-c", 40)
    assert said.code == 1
    assert "nothing in it depends on --age-s, --temperature-c" in said.sentence()
    assert npp(capsys, "measure", "--store", store).code == 0


def test_training_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = installed(tmp_path, capsys)
    said = npp(capsys, "calibrate", "--store", store, "--method", "gradient")
    assert said.code == 1
    assert "choose --method probe" in said.sentence()


def test_without_onnxruntime_the_sentence_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = installed(tmp_path, capsys)
    script = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from agent.cli.program import run\n"
        "sys.exit(run(sys.argv[1:]))"
    )
    for command, code in (("measure", 1), ("status", 0)):
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
            assert "python -m pip install 'npp-agent[onnx]'" in sentence


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, f"has no file {FILE_NAME}"),
        (b"{", "is no JSON"),
        (b"\xff", "is no JSON"),
        (b"[]", "is not of format 1"),
        (b'{"format":2}', "is not of format 1"),
        (b'{"format":1,"outputs":{}}', "'first' is None and not an object"),
        (b'{"format":1,"outputs":{"first":{"step":0,"zero_point":0}}}', "not above 0"),
        (b'{"format":1,"outputs":{"first":{"step":1,"zero_point":256}}}', "from 0 to 255"),
    ],
)
def test_a_bundle_whose_ranges_are_damaged_is_refused(
    content: bytes | None, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, store = packed(tmp_path, capsys), ("--store", tmp_path / "store")
    files = {} if content is None else {FILE_NAME: content}
    bundle.write_bytes(package_bytes(replace(read_package(open_bundle(bundle)), files=files)))
    assert npp(capsys, "install", bundle, *store).code == 0
    said = npp(capsys, "measure", *store)
    assert said.code == 1
    assert sentence in said.sentence()


def test_ranges_come_back_as_they_were() -> None:
    codes = {"a": ActivationCode(0.1, 7, 8), "b/c": ActivationCode(3e-9, 255, 8)}
    content = encode_output_codes(codes)
    assert json.loads(content)["format"] == 1
    assert decode_output_codes(content, ["a", "b/c"]) == codes


def test_a_limit_of_time_is_packed_kept_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = packed(tmp_path, capsys, "--budget-slowdown", 1.2)
    seen = npp(capsys, "inspect", bundle, "--json").document
    assert seen["budget"]["slowdown"] == 1.2
    assert seen["tolerance"] > 0
    assert {layer["computed_as"] for layer in seen["layers"]} == {"int8"}
    text = npp(capsys, "inspect", bundle).out
    assert "1.2 times the time without branches" in text
    assert "computed" in text
    store = ("--store", tmp_path / "store")
    assert npp(capsys, "install", bundle, *store).code == 0
    for options, allowed in (((), 1.2), (("--budget-slowdown", 1000), 1000)):
        said = npp(capsys, "calibrate", *store, "--dry-run", "--json", *options).document
        time = said["budget"]["slowdown"]
        assert time["allowed"] == allowed
        assert 0 < time["used"] <= allowed
    ranks = [layer["rank"] for layer in said["layers"]]
    assert any(ranks) or not said["accepted"]


def test_four_bits_take_their_branches_within_any_limit_of_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--scheme", "int4-tensor", "--budget-slowdown", 1)
    store = ("--store", installed(tmp_path, capsys, *options))
    said = npp(capsys, "calibrate", *store, "--json")
    assert said.code == 0, said.err
    assert said.document["budget"]["slowdown"] == {"used": 1.0, "allowed": 1.0}
    assert all(layer["rank"] for layer in said.document["layers"])
    assert "1.00 times the time, at most 1" in npp(capsys, "calibrate", *store, "--dry-run").out


@pytest.mark.parametrize("runtime", ["cim", "onnxruntime"])
@pytest.mark.parametrize("slowdown", [0.9, -1, "nan", "inf"])
def test_what_is_no_slowdown_is_wrong_usage(
    runtime: str, slowdown: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--samples", tmp_path / "x.npz", "--out", tmp_path / "x.npp", "--runtime", runtime)
    said = npp(capsys, "pack", tmp_path / "x.onnx", *arguments, "--budget-slowdown", slowdown)
    assert (said.code, said.out) == (2, "")
    assert "--budget-slowdown" in said.err


def test_an_emulated_chip_has_no_time_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, samples = tmp_path / "small.onnx", data(tmp_path / "data.npz", 64)
    write_onnx(GRAPH, model)
    arguments = ("pack", model, "--samples", samples, "--out", tmp_path / "small.npp")
    refused = npp(capsys, *arguments, "--budget-slowdown", 1.5)
    assert refused.code == 1
    assert "--budget-slowdown is measured on the board" in refused.sentence()
    assert not (tmp_path / "small.npp").exists()
    assert npp(capsys, *arguments).code == 0
    store = ("--store", tmp_path / "store")
    assert npp(capsys, "install", tmp_path / "small.npp", *store).code == 0
    refused = npp(capsys, "calibrate", *store, "--budget-slowdown", 1.5)
    assert refused.code == 1
    assert "cannot tell what a surrogate costs in time" in refused.sentence()

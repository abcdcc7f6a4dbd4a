"""`npp-agent simulate`: its folder, its options, and what it says of bad ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.simulation.journal import JOURNAL_NAME
from agent.store.lock import locked
from calib.importers.onnx_export import write_onnx
from tests.agent_stores import GRAPH, ROOT, Said, bundle, data, labelled, npp

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_onnx(GRAPH, folder / "model.onnx")
    bundle(folder / "small.npp")
    bundle(folder / "stored.npp", references_as="stored")
    data(folder / "data.npz")
    return folder


def simulate(capsys: Capture, files: Path, *options: object, name: str = "small") -> Said:
    fixed = ("--data", files / "data.npz", "--chips", 2, "--workers", 1, "--json")
    return npp(capsys, "simulate", files / f"{name}.npp", *fixed, *options)


def test_a_folder_goes_on_with_more_chips_and_another_limit(
    files: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out"
    options = ("--chip", "mismatch-30", "--sweep", "percent=10,40", "--out", out)
    first = simulate(capsys, files, *options)
    assert first.code == 0
    assert [group["value"] for group in first.document["groups"]] == [10.0, 40.0]
    assert sorted(path.name for path in out.iterdir()) == [
        "chips.csv",
        "lock",
        "report.html",
        "results.jsonl",
        "summary.json",
    ]
    assert json.loads((out / "summary.json").read_text()) == first.document
    lines = (out / JOURNAL_NAME).read_text().splitlines()
    again = simulate(capsys, files, *options, "--chips", 3, "--limit", 1)
    assert again.err == "npp-agent: 4 of 6 chips were finished before\n"
    assert (out / JOURNAL_NAME).read_text().splitlines()[: len(lines)] == lines
    assert again.document["limit"] == 1
    fewer = simulate(capsys, files, *options)
    assert fewer.document == first.document
    alone = simulate(capsys, files, *options[:-1], tmp_path / "other", "--chips", 3, "--limit", 1)
    assert alone.document == again.document


def test_another_simulation_in_a_folder_is_refused_and_nothing_is_lost(
    files: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out"
    assert simulate(capsys, files, "--chip", "mismatch-30", "--out", out).code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for other, said in (
        (("--chip", "mismatch-20"), "its devices is"),
        (("--chip", "mismatch-30", "--ages", "1"), "its ages_s is [0.0], now it is [1.0]"),
        (("--chip", "mismatch-30", "--samples", 8), "its samples is 32, now it is 8"),
        (("--chip", "mismatch-30", "--images", 30), "its data_sha256 is"),
        (("--chip", "mismatch-30", "--fast"), "its fast is false, now it is true"),
    ):
        found = simulate(capsys, files, *other, "--out", out)
        assert found.code == 1
        assert said in found.sentence()
        assert "name another folder with --out" in found.err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_folder_of_others_or_in_use_is_refused(
    files: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "letter.txt").write_text("dear")
    found = simulate(capsys, files, "--out", tmp_path / "theirs")
    assert "holds letter.txt and no results of a simulation" in found.sentence()
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["letter.txt"]
    (tmp_path / "used").mkdir()
    with locked(tmp_path / "used"):
        found = simulate(capsys, files, "--out", tmp_path / "used")
    assert found.code == 4
    assert "another npp-agent works on" in found.sentence()
    (tmp_path / "file").write_text("")
    assert simulate(capsys, files, "--out", tmp_path / "file").code == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{}\n", "is no journal of a simulation"),
        (b"nonsense\n", "line 1 of"),
        (b"[1, 2]\n", "line 1 of"),
        (b'{"npp_simulation": 1, "identity": null}\n', "its npp_agent is null"),
    ],
)
def test_a_journal_that_is_none_is_refused(
    content: bytes, said: str, files: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / JOURNAL_NAME).write_bytes(content)
    assert said in simulate(capsys, files, "--out", tmp_path).sentence()
    assert (tmp_path / JOURNAL_NAME).read_bytes() == content


@pytest.mark.parametrize(
    "damage", [b"{]\n", b'{"group": 0}\n', b'{"group": 0, "seed": 1, "ages": []}\n']
)
def test_a_damaged_line_is_refused(
    damage: bytes, files: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert simulate(capsys, files, "--chip", "ideal", "--out", tmp_path).code == 0
    with (tmp_path / JOURNAL_NAME).open("ab") as journal:
        journal.write(damage)
    found = simulate(capsys, files, "--chip", "ideal", "--out", tmp_path)
    assert f"line 4 of {tmp_path / JOURNAL_NAME} is damaged" in found.sentence()


def test_an_empty_or_cut_journal_begins_anew(files: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / JOURNAL_NAME).write_bytes(b'{"npp_simul')
    found = simulate(capsys, files, "--chip", "ideal", "--out", tmp_path)
    assert found.code == 0
    assert len((tmp_path / JOURNAL_NAME).read_bytes().splitlines()) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--chip", "mismatch"), "no device preset 'mismatch'; did you mean mismatch-10?"),
        (("--chip", "mismatch-10", "--sweep", "sigma=1,2"), "it has: percent"),
        (("--chip", "mismatch-10", "--sweep", "percent=-5"), "percent is -5.0; give a number from"),
        (("--ages", "1d,1h"), "give ages in ascending order"),
        (("--ages", "12 parsecs"), "is no age"),
        (("--key", "train"), "has no array 'train_x'"),
    ],
)
def test_options_that_cannot_be(
    options: tuple[object, ...], said: str, files: Path, capsys: Capture
) -> None:
    found = simulate(capsys, files, *options)
    assert found.code == 1
    assert said in found.sentence()


def test_workers_and_a_scheduler_are_wrong_usage(files: Path, capsys: Capture) -> None:
    found = simulate(capsys, files, "--scheduler", "tcp://127.0.0.1:1")
    assert found.code == 2
    assert "--workers or --scheduler, not both" in found.err


def test_a_bundle_without_a_float_network_needs_one(files: Path, capsys: Capture) -> None:
    found = simulate(capsys, files, "--chip", "ideal", name="stored")
    assert found.code == 1
    assert "give the model that was packed with --float MODEL" in found.sentence()
    model = ("--float", files / "model.onnx")
    with_model = simulate(capsys, files, "--chip", "ideal", *model, name="stored")
    assert with_model.code == 0
    assert with_model.document["float"] == 1.0


def test_bundles_and_data_that_cannot_be_used(files: Path, tmp_path: Path, capsys: Capture) -> None:
    bundle(tmp_path / "float.npp", scheme="float")
    found = npp(capsys, "simulate", tmp_path / "float.npp", "--data", files / "data.npz")
    assert "holds float weights, which no chip computes with" in found.sentence()
    x, y = labelled(20, 3)
    np.savez(tmp_path / "wrong.npz", x=x, y=(y + 1) % 5)
    found = simulate(capsys, files, "--data", tmp_path / "wrong.npz")
    assert "names none of the 20 labels right" in found.sentence()
    np.savez(tmp_path / "wide.npz", x=np.zeros((20, 2, 9, 8)))
    assert simulate(capsys, files, "--data", tmp_path / "wide.npz").code == 1
    assert npp(capsys, "simulate", tmp_path / "no.npp", "--data", "no.npz").code == 1


def test_what_a_chip_cannot_do_is_said_once_by_whoever_finds_out(
    tmp_path: Path, files: Path, capsys: Capture
) -> None:
    bundle(tmp_path / "moments.npp", references_as="moments")
    options = ("--chip", "mismatch-10", "--data", files / "data.npz", "--workers", 2)
    found = npp(capsys, "simulate", tmp_path / "moments.npp", *options, "--method", "sequential")
    assert found.code == 1
    assert "the bundle holds moments alone" in found.sentence()
    found = npp(capsys, "simulate", tmp_path / "moments.npp", *options, "--chips", 2, "--json")
    assert found.code == 0
    assert {one["share"] for one in found.document["groups"][0]["layers"]} == {None}


def test_what_the_model_has_no_figures_for_is_warned_of_once(files: Path, capsys: Capture) -> None:
    options = ("--chip", "sonos", "--ages", "1,30d", "--temperature-c", 80)
    found = simulate(capsys, files, *options)
    assert found.code == 0
    assert found.err.count("is outside the") == 1
    assert found.err.count("an age of 2.592e+06 s is beyond the") == 1


def test_a_labelless_simulation_speaks_of_agreement(
    files: Path, tmp_path: Path, capsys: Capture
) -> None:
    x, _ = labelled(20, 3)
    np.savez(tmp_path / "bare.npz", x=x)
    found = simulate(capsys, files, "--data", tmp_path / "bare.npz", "--chip", "ideal")
    assert (found.document["measure"], found.document["float"]) == ("agreement", None)


WITHOUT_PICTURES = """
import sys
sys.modules["matplotlib"] = None
from agent.cli import main
if __name__ == "__main__":
    main()
"""


def test_without_matplotlib_the_report_has_tables_alone(files: Path, tmp_path: Path) -> None:
    script = tmp_path / "bare.py"
    script.write_text(WITHOUT_PICTURES)
    arguments: list[Any] = [files / "small.npp", "--data", files / "data.npz", "--chip", "ideal"]
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, script, "simulate", *arguments, "--chips", "1", "--out", out],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the report has no pictures: pip install 'npp-agent[host]'" in done.stderr
    page = (out / "report.html").read_text()
    assert "<img" not in page
    assert page.count("<table>") == 3

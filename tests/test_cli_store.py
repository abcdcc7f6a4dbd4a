"""`status`, `history`, `rollback`, `uninstall`: the commands about a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.cli.commands import COMMANDS
from agent.cli.installed import CALIBRATION, INSTALLATION, chip_text, note
from agent.cli.program import run
from agent.store.bundle import bundle_bytes, open_bundle
from agent.store.store import Store

DOCUMENT = {
    "model": {"name": "digits"},
    "scheme": "nf4",
    "runtime": "cim",
    "activation_bits": 8,
    "rank": 8,
    "layers": [{"name": "conv"}, {"name": "dense"}],
}
CHIP = {"name": "mismatch-10", "seed": 3}
REPORT = {
    "accepted": True,
    "reason": "the loss fell",
    "method": "probe",
    "samples_used": 32,
    "held_back": {"before": 1.25, "after": 0.5},
}


def installed(directory: Path, document: dict[str, Any] | None = None) -> Store:
    """A store with a bundle of one array."""
    store = Store(directory)
    with store.lock(create=True):
        data = bundle_bytes(document or DOCUMENT, {"weights": np.zeros(4, np.float32)}, {})
        store.install(open_bundle(data), CHIP)
        note(store, INSTALLATION, {}, now_s=1_000_000.0)
    return store


def calibrate(store: Store, payload: bytes) -> int:
    """Commit these factors, as a calibration does."""
    with store.lock():
        commit = store.commit_factors(payload)
        note(store, CALIBRATION, {**REPORT, "sequence": commit.sequence}, now_s=2_000_000.0)
    return commit.sequence


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    return json.loads(out)


def test_status_of_a_store_that_was_never_calibrated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = installed(tmp_path / "store")
    said = document(capsys, "status", "--store", str(store.directory))
    expected = {
        "sequence": 0,
        "older": [],
        "model": "digits",
        "scheme": "nf4",
        "activation_bits": 8,
        "rank": 8,
        "layers": 2,
        "runtime": "cim",
        "chip": CHIP,
        "remembered": {},
        "last_calibration": None,
        "damaged_slots": [],
    }
    assert {name: said[name] for name in expected} == expected
    assert said["bytes_used"] > 0


def test_status_names_the_active_factors_and_the_last_calibration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = installed(tmp_path / "store")
    first, second = calibrate(store, b"first"), calibrate(store, b"second")
    with store.lock():
        store.remember({"age_s": 60.0})
    said = document(capsys, "status", "--store", str(store.directory))
    assert (said["sequence"], said["older"]) == (second, [first])
    assert said["remembered"] == {"age_s": 60.0}
    assert said["last_calibration"] == {
        "event": CALIBRATION,
        "time_s": 2_000_000.0,
        "sequence": second,
        **REPORT,
    }


def test_the_tables_say_the_same_and_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = installed(tmp_path / "store")
    calibrate(store, b"first")
    assert run(["status", "--store", str(store.directory)]) == 0
    assert run(["history", "--store", str(store.directory)]) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= 100 for line in out.splitlines())
    for said in (
        "digits",
        "nf4",
        "mismatch-10, seed 3",
        "1970-01-24 03:33:20Z, accepted: the loss fell",
    ):
        assert said in out
    last = "1970-01-24 03:33:20Z  calibration  1  yes  probe  32  1.25  0.5"
    assert out.splitlines()[-1].split() == last.split()


def test_status_survives_a_damaged_slot_and_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = installed(tmp_path / "store")
    first = calibrate(store, b"first")
    calibrate(store, b"second")
    slot = store.directory / "factors.1"
    slot.write_bytes(slot.read_bytes()[:-6] + b"broken")
    said = document(capsys, "status", "--store", str(store.directory))
    assert said["sequence"] == first
    assert said["damaged_slots"] == [1]


def test_history_lists_the_newest_entries_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = installed(tmp_path / "store")
    for number in range(3):
        calibrate(store, bytes([number]))
    where = ["history", "--store", str(store.directory)]
    assert [e["event"] for e in document(capsys, *where)["entries"]] == [
        INSTALLATION,
        *[CALIBRATION] * 3,
    ]
    newest = document(capsys, *where, "--last", "2")["entries"]
    assert [entry["sequence"] for entry in newest] == [2, 3]


def test_history_leaves_out_damaged_lines_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = installed(tmp_path / "store")
    with (store.directory / "history.jsonl").open("a") as file:
        file.write('{"torn": \n')
    said = document(capsys, "history", "--store", str(store.directory))
    assert (len(said["entries"]), said["damaged_lines"]) == (1, 1)


def test_rollback_lets_the_factors_before_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = installed(tmp_path / "store")
    first, second = calibrate(store, b"first"), calibrate(store, b"second")
    said = document(capsys, "rollback", "--store", str(store.directory))
    assert said == {"sequence": first, "from_sequence": second}
    factors = store.load_factors()
    assert factors is not None
    assert factors.payload == b"first"
    assert store.read_history().entries[-1]["event"] == "rollback"


def test_rollback_to_none_and_then_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = installed(tmp_path / "store")
    calibrate(store, b"first")
    where = ["--store", str(store.directory)]
    assert run(["rollback", "--to", "0", *where]) == 0
    assert capsys.readouterr().out == "no factors run; factors 1 are retired\n"
    assert store.load_factors() is None
    assert run(["rollback", *where]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("npp-agent: there is nothing to roll back")


def test_a_rollback_that_cannot_be_noted_is_done_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = installed(tmp_path / "store")
    calibrate(store, b"first")
    with store.lock():
        note(store, "too much", {"words": "x" * 100_000})
    err = capsys.readouterr().err
    assert err.startswith("npp-agent: done, but not noted in the history: an entry of")


def test_uninstall_removes_the_store_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = installed(tmp_path / "store")
    (store.directory / "notes.txt").write_text("mine")
    said = document(capsys, "uninstall", "--store", str(store.directory))
    assert said == {"store": str(store.directory), "directory_removed": False}
    assert [path.name for path in store.directory.iterdir()] == ["notes.txt"]
    assert run(["uninstall", "--store", str(store.directory)]) == 1
    assert (store.directory / "notes.txt").exists()


@pytest.mark.parametrize("name", ["status", "history", "rollback", "uninstall"])
def test_without_a_store_there_is_one_sentence(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert name in COMMANDS
    assert run([name, "--store", str(tmp_path / "nowhere"), "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("npp-agent: ")
    assert err.count("\n") == 1
    assert "install" in err
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["rollback", "uninstall"])
def test_a_store_that_another_holds_is_exit_code_4(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = installed(tmp_path / "store")
    calibrate(store, b"first")
    with store.lock():
        assert run([name, "--store", str(store.directory)]) == 4
    assert "another npp-agent works" in capsys.readouterr().err
    assert store.load_factors() is not None


@pytest.mark.parametrize("missing", sorted(DOCUMENT))
def test_a_bundle_that_does_not_say_what_it_is(
    missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poor = {name: value for name, value in DOCUMENT.items() if name != missing}
    store = installed(tmp_path / "store", poor)
    assert run(["status", "--store", str(store.directory)]) == 1
    assert f"does not say '{missing}'" in capsys.readouterr().err


def test_a_chip_in_a_few_words() -> None:
    assert chip_text({"seed": 3, "name": "ideal", "parameters": {"x": 1}}) == "ideal, seed 3"
    assert chip_text({}) == ""

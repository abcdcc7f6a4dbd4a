"""Stores that earlier versions wrote, kept byte by byte: they open, work, and go on."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

from agent.store.store import Store
from tests.agent_stores import npp
from tests.fakes import copy_tree

STORES = Path(__file__).parent / "stores"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return copy_tree(STORES / "format-1", tmp_path / "store")


def test_a_store_of_format_1_holds_what_it_held(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = npp(capsys, "status", "--store", old, "--json").document
    assert (said["sequence"], said["older"], said["history_entries"]) == (2, [1], 3)
    assert said["chip"] == {"name": "mismatch-30", "seed": 4}
    assert said["remembered"] == {"age_s": 0.0, "temperature_c": 40.0}
    factors = Store(old).load_factors()
    assert factors is not None
    assert (len(factors.payload), zlib.crc32(factors.payload)) == (1153, 0x458113C4)
    assert npp(capsys, "fsck", "--store", old).code == 0


def test_a_store_of_format_1_goes_on(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured = npp(capsys, "measure", "--store", old, "--json").document
    assert measured["drift"]["state"] == "healthy"
    assert npp(capsys, "calibrate", "--store", old, "--age-s", 60).code in (0, 3)
    state = json.loads((old / "state.json").read_bytes())["content"]
    assert (state["store_format"], state["trust"]) == (2, None), "upgraded with the first change"
    assert npp(capsys, "rollback", "--to", 0, "--store", old).code == 0
    entries = npp(capsys, "history", "--store", old, "--json").document["entries"]
    assert len(entries) == 5
    assert npp(capsys, "fsck", "--store", old).code == 0


def test_a_store_of_format_1_can_be_read_where_nothing_can_be_written(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    for command in ("status", "history", "measure", "fsck"):
        assert npp(capsys, command, "--store", old).code == 0, command
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before
    assert json.loads(before["state.json"])["content"]["store_format"] == 1

"""What a finished simulation leaves in its folder, beside the journal."""

from __future__ import annotations

import json
from pathlib import Path

from agent.errors import InputError
from agent.simulation.chips_csv import chips_csv
from agent.simulation.factory import Results
from agent.simulation.journal import JOURNAL_NAME
from agent.store.disk import SYSTEM_DISK
from agent.store.durable import disk_errors, make_directories, replace_file
from agent.store.lock import LOCK_NAME

SUMMARY, TABLE, REPORT = "summary.json", "chips.csv", "report.html"


def prepared(folder: Path) -> Path:
    """The folder for results, which is made where it is missing.

    Raises:
        InputError: it holds other files, and no results of a simulation.
        StoreError: it cannot be made.
    """
    make_directories(folder, SYSTEM_DISK)
    with disk_errors(f"read {folder}"):
        names = {path.name for path in folder.iterdir()}
    others = sorted(names - {LOCK_NAME})
    if others and JOURNAL_NAME not in names:
        raise InputError(
            f"{folder} holds {others[0]} and no results of a simulation; name a new or empty "
            "folder with --out"
        )
    return folder


def write_outputs(folder: Path, results: Results, page: str) -> None:
    """Write summary, table and report; each is the old or the new one at any time.

    Raises:
        StoreError: a file cannot be written.
    """
    values = [group["value"] for group in results.summary["groups"]]
    summary = json.dumps(results.summary, indent=2, allow_nan=False, ensure_ascii=False)
    for name, text in (
        (SUMMARY, summary + "\n"),
        (TABLE, chips_csv(results.records, values, results.measure)),
        (REPORT, page),
    ):
        replace_file(folder / name, text.encode())

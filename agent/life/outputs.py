"""What a life leaves in a folder: its records as JSON lines, the summary, and the picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.errors import InputError
from agent.store.disk import SYSTEM_DISK
from agent.store.durable import disk_errors, make_directories, replace_file

RECORDS, SUMMARY, PICTURE = "life.jsonl", "summary.json", "life.png"
OURS = {RECORDS, SUMMARY, PICTURE}


def prepared(folder: Path) -> Path:
    """The folder for results, which is made where it is missing.

    Raises:
        InputError: it holds other files than a life's.
        StoreError: it cannot be made.
    """
    make_directories(folder, SYSTEM_DISK)
    with disk_errors(f"read {folder}"):
        others = sorted({path.name for path in folder.iterdir()} - OURS)
    if others:
        raise InputError(
            f"{folder} holds {others[0]}, which is no result of a life; name a new or empty folder "
            "with --out"
        )
    return folder


def write_life(
    folder: Path,
    records: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Any],
    picture: bytes | None,
) -> None:
    """Write all of it; each file is the old or the new one at any time.

    Raises:
        StoreError: a file cannot be written.
    """
    lines = "".join(json.dumps(one, allow_nan=False, ensure_ascii=False) + "\n" for one in records)
    replace_file(folder / RECORDS, lines.encode())
    text = json.dumps(summary, allow_nan=False, ensure_ascii=False, indent=2)
    replace_file(folder / SUMMARY, text.encode() + b"\n")
    if picture is not None:
        replace_file(folder / PICTURE, picture)

"""Results in a file of JSON lines, one for each repetition, written as soon as it is done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]
Key = tuple[str, str, int, int, str]
"""Kind of record, case, chip, buffer, method."""


def key_of(record: Record) -> Key:
    """What a record is found by."""
    return (
        str(record["kind"]),
        str(record["case"]),
        int(record["chip"]),
        int(record["buffer"]),
        str(record["method"]),
    )


@dataclass(frozen=True)
class Results:
    """The records of a file; several processes may add to one file, each a line at a time."""

    path: Path

    def read(self) -> dict[Key, Record]:
        """All records, the last of each key; a line that was cut off is left out."""
        if not self.path.exists():
            return {}
        found: dict[Key, Record] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
                found[key_of(record)] = record
            except (json.JSONDecodeError, KeyError):
                continue  # the process died while it wrote this line; it will be done again
        return found

    def add(self, record: Record) -> None:
        """Append one record."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(record)) + "\n")

"""The journal of a simulation: which run it is, then one finished chip a line, durable at once.

    {"npp_simulation": 1, "identity": {...}}
    {"group": 0, "seed": 3, "ages": [...]}

The last line may be cut off, if the power went while it was written; that chip is done again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent.errors import InputError
from agent.simulation.interrupts import interrupts_wait
from agent.simulation.plan import Plan, Task, task_of
from agent.store.disk import SYSTEM_DISK
from agent.store.durable import append, cut, disk_errors

JOURNAL_NAME = "results.jsonl"
FORMAT = 1
_SHOWN = 60
_LARGEST_LINE_BYTES = 4 * 2**20


class Journal:
    """Finished chips of one run, kept in a folder or, where there is none, in memory alone.

    Args:
        path: the file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        """Nothing is known yet."""
        self._path = path
        self._end = 0
        self.records: dict[Task, dict[str, Any]] = {}

    @classmethod
    def open(cls, folder: Path | None, plan: Plan) -> Journal:
        """Begin a journal, or go on with the one in a folder.

        Args:
            folder: where results are kept, see `outputs.prepared`. None: nowhere.
            plan: what is simulated.

        Raises:
            InputError: the folder holds the results of something else, or damaged ones.
            StoreError: it cannot be read or written.
        """
        journal = cls(None if folder is None else folder / JOURNAL_NAME)
        if journal._path is not None and not journal._resume(journal._path, plan):
            journal._write({"npp_simulation": FORMAT, "identity": plan.identity()})
        return journal

    def add(self, record: dict[str, Any]) -> None:
        """Keep a finished chip.

        Raises:
            StoreError: it cannot be written.
        """
        with interrupts_wait():
            self._write(record)
            self.records[task_of(record)] = record

    def _write(self, document: Mapping[str, Any]) -> None:
        if self._path is not None:
            line = json.dumps(document, allow_nan=False).encode() + b"\n"
            append(self._path, self._end, line, SYSTEM_DISK)
            self._end += len(line)

    def _resume(self, path: Path, plan: Plan) -> bool:
        """Read what is there; whether there was anything."""
        with disk_errors(f"read {path}"):
            if not path.exists():
                return False
            lines = _whole_lines(path)
            for number, line in enumerate(lines, start=1):
                document = _document(path, number, line)
                if number == 1:
                    _check_identity(path, document, plan)
                else:
                    self.records[task_of(document)] = document
                self._end += len(line)
        cut(path, self._end, SYSTEM_DISK)
        return self._end > 0


def _whole_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while (line := file.readline(_LARGEST_LINE_BYTES)).endswith(b"\n"):
            yield line


def _document(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
        if number > 1:
            task_of(document)
            document["ages"][0]["layers"]  # that it is there is what is asked
        return dict(document)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(
            f"line {number} of {path} is damaged or none of ours: move the file away to begin anew"
        ) from error


def _check_identity(path: Path, document: Mapping[str, Any], plan: Plan) -> None:
    if document.get("npp_simulation") != FORMAT:
        raise InputError(
            f"{path} is no journal of a simulation of format {FORMAT}; name another folder with "
            "--out"
        )
    there, wanted = dict(document.get("identity") or {}), plan.identity()
    for name, value in wanted.items():
        if there.get(name) != value:
            raise InputError(
                f"{path.parent} holds the results of another simulation: its {name} is "
                f"{_short(there.get(name))}, now it is {_short(value)}; name another folder with "
                "--out"
            )


def _short(value: object) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 2] + ".."

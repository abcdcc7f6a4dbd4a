"""Measurements of cells: a CSV with a target, a measured conductance and a time in each row.

    target_us,measured_us,time_s,device
    12.5,12.31,25,a17

The names of the columns carry their units. Values stand between commas, semicolons or tabs,
whatever the line of names has; between semicolons a decimal comma is understood. Lines that begin
with # are comments.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from agent.errors import InputError
from device_models.fitting.cells import CellMeasurements

MOST_BYTES = 32 * 1024 * 1024
MOST_ROWS = 200_000
LONGEST_S = 1e9
"""Thirty years."""

MICROSIEMENS = {"ns": 1e-3, "us": 1.0, "ms": 1e3}
RELATIVE = "rel"
SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
UNITS = {"target": [*MICROSIEMENS, RELATIVE], "measured": [*MICROSIEMENS, RELATIVE]} | {
    "time": [*SECONDS]
}
CELL = "device"
_EXAMPLE = "give names such as target_us,measured_us,time_s"


@dataclass(frozen=True)
class Measurements:
    """What a file of measurements holds."""

    data: CellMeasurements
    g_max_us: float | None
    """What relative conductances are relative to; None where nobody says."""

    g_max_from: str
    """given, largest-target or relative."""


@dataclass(frozen=True)
class _Table:
    """The rows as they stand in the file."""

    path: Path
    columns: dict[str, int]
    """Place of target, measured, time and, if there is one, device."""

    units: dict[str, str]
    lines: list[int]
    values: dict[str, list[float]]
    names: list[str]

    def at(self, row: int) -> str:
        """Where a row stands."""
        return f"{self.path}, line {self.lines[row]}"


def read_measurements(path: Path, g_max_us: float | None = None) -> Measurements:
    """Read measurements; everything that cannot be meant is refused with its line.

    Args:
        path: the CSV file.
        g_max_us: conductance of a cell that holds the largest weight, in microsiemens.

    Raises:
        InputError: the file cannot be read, a column or unit is missing, or a value cannot be.
    """
    table = _table(path, _lines(path))
    targets, measured = (
        np.array(table.values[name]) * MICROSIEMENS.get(table.units[name], 1.0)
        for name in ("target", "measured")
    )
    absolute = [name for name in ("target", "measured") if table.units[name] != RELATIVE]
    if len(absolute) == 1 and g_max_us is None:
        raise InputError(
            f"{path}: one of target and measured is relative, the other is in microsiemens; give "
            "--g-max-us, or both in one unit"
        )
    whole, origin = _g_max(table, targets, g_max_us)
    if "target" in absolute:
        targets = targets / whole
    if "measured" in absolute:
        measured = measured / whole
    _check_targets(table, targets, whole if absolute else None)
    times = np.array(table.values["time"]) * SECONDS[table.units["time"]]
    late = times > LONGEST_S
    if late.any():
        row = int(np.argmax(late))
        raise InputError(
            f"{table.at(row)}: a time of {times[row]:g} s; an age of at most {LONGEST_S:g} s is "
            "one that cells can have"
        )
    cells = _cells(table, targets) if table.names else None
    data = CellMeasurements(targets, measured, times, cells)
    return Measurements(data, whole if absolute or g_max_us else None, origin)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with something in them, and their numbers."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read the measurements {path}: {reason}") from error
    if len(content) > MOST_BYTES:
        raise InputError(
            f"{path} is larger than {MOST_BYTES} bytes; measurements of that many cells are not "
            "needed: give a part of them"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}, line {number}: not UTF-8 text; save the table as CSV in UTF-8"
        ) from error
    for place, line in enumerate(text.splitlines(), 1):
        if line.strip(" \t,;") and not line.lstrip().startswith("#"):
            yield place, line


def _table(path: Path, lines: Iterator[tuple[int, str]]) -> _Table:
    number, first = next(lines, (1, ""))
    if not first:
        raise InputError(f"{path} is empty; {_EXAMPLE}, then a row for each reading")
    separator = _separator(path, number, first)
    names = _split(path, number, first, separator)
    columns, units = _columns(path, number, names)
    table = _Table(path, columns, units, [], {name: [] for name in UNITS}, [])
    for number, line in lines:
        if len(table.lines) == MOST_ROWS:
            raise InputError(f"{path} has more than {MOST_ROWS} rows; give a part of them")
        where = f"{path}, line {number}"
        cells = _split(path, number, line, separator)
        if len(cells) != len(names):
            raise InputError(
                f"{where} has {len(cells)} values and the table {len(names)} columns; a gap must "
                "be filled, or its row left out"
            )
        for name in UNITS:
            column = columns[name]
            value = _number(where, names[column], cells[column], comma=separator == ";")
            table.values[name].append(value)
        if CELL in columns:
            table.names.append(_cell_name(where, cells[columns[CELL]]))
        table.lines.append(number)
    if not table.lines:
        raise InputError(f"{path} has a line of names and no rows; add a row for each reading")
    return table


def _separator(path: Path, number: int, line: str) -> str:
    found = [mark for mark in ",;\t" if mark in line]
    if len(found) > 1:
        raise InputError(
            f"{path}, line {number}: the names stand between {' and '.join(map(repr, found))}; "
            "use one separator"
        )
    return found[0] if found else ","


def _split(path: Path, number: int, line: str, separator: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator, strict=True))]
    except csv.Error as error:
        raise InputError(f"{path}, line {number} is no row of a CSV table: {error}") from error


def _columns(path: Path, line: int, names: list[str]) -> tuple[dict[str, int], dict[str, str]]:
    """Places and units of the columns that matter; others are passed over."""
    columns: dict[str, int] = {}
    units: dict[str, str] = {}
    for place, name in enumerate(names):
        plain = name.lower().replace("\u00b5", "u").replace("\u03bc", "u")  # both signs for micro
        found = re.fullmatch(r"(target|measured|time|device)(?:[ _([]+([^\s\])]*)[\])]?)?", plain)
        if found is None:
            continue
        what, unit = found[1], found[2] or ""
        where = f"{path}, line {line}: column {name[:40]!r}"
        if what in columns:
            raise InputError(f"{where} is another {what}; give one column of it")
        if what != CELL and unit not in UNITS[what]:
            said = f"has the unit {unit[:20]!r}" if unit else "has no unit"
            wanted = " or ".join(f"{what}_{known}" for known in UNITS[what])
            raise InputError(f"{where} {said}; call it {wanted}")
        columns[what], units[what] = place, unit
    missing = [name for name in UNITS if name not in columns]
    if missing:
        there = ", ".join(repr(name[:20]) for name in names[:8])
        raise InputError(
            f"{path}, line {line}: no column {' and no column '.join(missing)} among {there}; "
            f"{_EXAMPLE}"
        )
    return columns, units


def _number(where: str, name: str, text: str, *, comma: bool) -> float:
    if not text:
        raise InputError(f"{where}: {name} is empty; fill the gap, or leave the row out")
    plain = text.replace(",", ".") if comma and text.count(",") == 1 and "." not in text else text
    try:
        value = float(plain)
    except ValueError:
        _refuse(where, name, text)
    if not math.isfinite(value) or "_" in plain:
        _refuse(where, name, text)
    if value < 0 and not name.lower().startswith("measured"):
        raise InputError(f"{where}: {name} is {value:g}; give at least 0")
    return value


def _refuse(where: str, name: str, text: str) -> NoReturn:
    raise InputError(f"{where}: {name} is {text[:40]!r}; give a finite number")


def _cell_name(where: str, text: str) -> str:
    if not text:
        raise InputError(f"{where}: device is empty; name the cell, or leave the column out")
    return text


def _g_max(table: _Table, targets: np.ndarray, given: float | None) -> tuple[float, str]:
    if given is not None:
        return given, "given"
    if table.units["target"] == RELATIVE:
        return 1.0, "relative"
    largest = float(targets.max())
    if largest <= 0:
        raise InputError(
            f"{table.path}: every target is 0; give cells that hold something, or --g-max-us"
        )
    return largest, "largest-target"


def _check_targets(table: _Table, targets: np.ndarray, g_max_us: float | None) -> None:
    above = targets > 1 + 1e-9
    if above.any():
        row = int(np.argmax(above))
        if g_max_us is None:
            raise InputError(
                f"{table.at(row)}: a target of {targets[row]:g} of G_max; relative targets go "
                "from 0 to 1"
            )
        raise InputError(
            f"{table.at(row)}: a target of {targets[row] * g_max_us:g} uS is above the G_max of "
            f"{g_max_us:g} uS; give a larger --g-max-us"
        )
    np.minimum(targets, 1, out=targets)


def _cells(table: _Table, targets: np.ndarray) -> np.ndarray:
    """A number for each cell, in the order of their first rows; each has one target."""
    known: dict[str, int] = {}
    first: list[int] = []
    found = np.empty(len(table.names), np.intp)
    for row, name in enumerate(table.names):
        if name not in known:
            known[name] = len(first)
            first.append(row)
        found[row] = known[name]
        before = first[known[name]]
        if targets[row] != targets[before]:
            raise InputError(
                f"{table.at(row)}: device {name[:40]!r} has the target "
                f"{table.values['target'][row]:g} and {table.values['target'][before]:g} at line "
                f"{table.lines[before]}; a cell programmed anew is another device: give it a name "
                "of its own"
            )
    return found

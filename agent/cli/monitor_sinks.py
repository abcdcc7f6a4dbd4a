"""Where `monitor` puts what it sees: JSON lines, a CSV file, plain text."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import click

from agent.cli.table import Cell, pairs, table
from agent.cli.units import bytes_text, time_text
from agent.errors import InputError
from agent.strict_json import strict_json

if TYPE_CHECKING:
    from agent.link.watching import Snapshot

FIELDS = (
    "state",
    "score",
    "mean_error",
    "factors",
    "calibrations",
    "written_bytes",
    "temperature_c",
)


class Sink(Protocol):
    """Takes what is seen."""

    def take(self, snapshot: Snapshot) -> None:
        """The board as it is now."""
        ...

    def event(self, event: Mapping[str, Any]) -> None:
        """What the board told of itself."""
        ...

    def lost(self, sentence: str) -> None:
        """The board cannot be reached, and is waited for."""
        ...

    def close(self) -> None:
        """It is over."""
        ...


class JsonLines:
    """A line of JSON for each look, each event and each loss."""

    def take(self, snapshot: Snapshot) -> None:
        """See `Sink`."""
        self._line(snapshot.document())

    def event(self, event: Mapping[str, Any]) -> None:
        """See `Sink`."""
        self._line({"time_s": time.time(), "event": dict(event)})

    def lost(self, sentence: str) -> None:
        """See `Sink`."""
        self._line({"time_s": time.time(), "lost": sentence})

    def close(self) -> None:
        """See `Sink`."""

    def _line(self, document: Mapping[str, Any]) -> None:
        click.echo(strict_json(document))
        sys.stdout.flush()


class PlainText:
    """The whole board once, and a line for what changes after that."""

    def __init__(self) -> None:
        """Nothing has been said."""
        self._said: tuple[object, ...] | None = None
        self._lost = False

    def take(self, snapshot: Snapshot) -> None:
        """See `Sink`."""
        board = snapshot.board
        now = (board.get("state"), board.get("factors"), board.get("measured_s"))
        if self._said is None:
            click.echo(board_text(snapshot))
        elif self._said != now or self._lost:
            score = board.get("score")
            told = "" if score is None else f", score {score:.3g}"
            click.echo(
                f"{time_text(snapshot.time_s)} {board.get('state')}{told}, factors "
                f"{board.get('factors')}"
            )
        self._said, self._lost = now, False

    def event(self, event: Mapping[str, Any]) -> None:
        """See `Sink`."""
        rest = ", ".join(f"{name} {value}" for name, value in event.items() if name != "event")
        click.echo(f"{time_text(time.time())} event: {event.get('event')} ({rest})")

    def lost(self, sentence: str) -> None:
        """See `Sink`."""
        if not self._lost:
            click.echo(f"npp-agent: waiting: {sentence}", err=True)
        self._lost = True

    def close(self) -> None:
        """See `Sink`."""


class CsvFile:
    """A row for each look.

    Args:
        path: a new file, or one that was begun with the same layers.

    Raises:
        InputError: it cannot be written, or has other columns.
    """

    def __init__(self, path: Path) -> None:
        """Open it at the first row."""
        self._path = path
        self._file: TextIO | None = None
        self._columns: list[str] = []

    def take(self, snapshot: Snapshot) -> None:
        """See `Sink`."""
        errors = {f"error {layer['name']}": layer["error"] for layer in snapshot.layers}
        row: dict[str, Any] = {"time_s": f"{snapshot.time_s:.3f}"}
        row |= {name: snapshot.board.get(name) for name in FIELDS}
        row |= {"round_trip_s": f"{snapshot.line.round_trip_s:.6f}", **errors}
        if self._file is None:
            if not snapshot.layers:
                return  # the columns are not known before the first measurement
            self._open(list(row))
        assert self._file is not None
        writer = csv.DictWriter(self._file, self._columns, extrasaction="ignore")
        writer.writerow(row)
        self._file.flush()

    def event(self, event: Mapping[str, Any]) -> None:
        """See `Sink`; it is in the next row."""

    def lost(self, sentence: str) -> None:
        """See `Sink`; rows are missing then."""

    def close(self) -> None:
        """See `Sink`."""
        if self._file is not None:
            self._file.close()

    def _open(self, columns: list[str]) -> None:
        try:
            with self._path.open(encoding="utf-8", newline="") as file:
                begun = next(csv.reader(file), None)
        except FileNotFoundError:
            begun = None
        except (OSError, ValueError) as error:
            raise InputError(f"{self._path} cannot be read: {error}") from error
        if begun is not None and begun != columns:
            raise InputError(f"{self._path} has other columns than this board: name another file")
        try:
            self._file = self._path.open("a", encoding="utf-8", newline="")
        except OSError as error:
            raise InputError(f"{self._path} cannot be written: {error.strerror}") from error
        self._columns = columns
        if begun is None:
            csv.writer(self._file).writerow(columns)


def board_text(snapshot: Snapshot) -> str:
    """A snapshot for a reader."""
    board, line = snapshot.board, snapshot.line
    score = board.get("score")
    facts: list[tuple[str, Cell]] = [
        ("model", board.get("model")),
        ("scheme", board.get("scheme")),
        ("chip", board.get("chip")),
        ("state", board.get("state")),
        ("score", "no calibration to compare with" if score is None else score),
        ("mean error", board.get("mean_error")),
        ("measured", time_text(board.get("measured_s"))),
        ("active factors", board.get("factors") or "none"),
        ("calibrated", time_text(board.get("calibrated_s"))),
        ("written", bytes_text(board.get("written_bytes") or 0)),
        ("temperature", board.get("temperature_c")),
        ("job", _job_text(board.get("job"))),
        ("line", f"{1000 * line.round_trip_s:.1f} ms, {line.repeats} repeats"),
    ]
    if not snapshot.layers:
        return pairs(facts) + "\n\nno layer has been measured yet: npp-agent measure --port URL"
    names = ("name", "error", "baseline", "sqnr_db", "rank")
    rows = [[layer.get(name) for name in names] for layer in snapshot.layers]
    layers = table(["layer", "relative error", "calibrated", "SQNR dB", "rank"], rows)
    return f"{pairs(facts)}\n\n{layers}"


def _job_text(job: object) -> str | None:
    if not isinstance(job, Mapping):
        return None
    return f"{job.get('kind')} {job.get('state')}"

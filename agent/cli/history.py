"""`npp-agent history`: what happened in a store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agent.cli.common import emit, json_option, store_option
from agent.cli.line import LineChoice, port_options, remote_document
from agent.cli.table import Cell, table
from agent.cli.units import time_text
from agent.store.store import Store
from agent.store_tasks import history

COLUMNS = ["time", "event", "factors", "accepted", "method", "samples", "before", "after"]


@click.command()
@store_option
@click.option("--last", type=click.IntRange(min=1), help="Only the newest entries, this many.")
@port_options
@json_option
def command(
    store: Path,
    last: int | None,
    line: LineChoice,
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """List what happened in a store, oldest first.

    `before` and `after` are the mean losses of the held-back samples. Why a calibration was
    refused is in the JSON of --json.
    """
    document = remote_document(line, "history", last=last) if line else history(Store(store), last)
    emit(document, as_json=as_json, table=history_text(document))


def history_text(document: Mapping[str, Any]) -> str:
    """A line for each entry."""
    text = table(COLUMNS, [_row(entry) for entry in document["entries"]])
    if document["damaged_lines"]:
        text += f"\n{document['damaged_lines']} damaged lines left out"
    return text


def _row(entry: Mapping[str, Any]) -> list[Cell]:
    held_back = entry.get("held_back") or {}
    return [
        time_text(entry.get("time_s")),
        entry.get("event"),
        entry.get("sequence"),
        entry.get("accepted"),
        entry.get("method"),
        entry.get("samples_used"),
        held_back.get("before"),
        held_back.get("after"),
    ]

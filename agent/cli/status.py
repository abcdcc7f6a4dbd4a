"""`npp-agent status`: what is installed in a store, and which factors run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any

import click

from agent.cli.common import emit, json_option, store_option
from agent.cli.installed import chip_text, trust_text
from agent.cli.line import LineChoice, port_options, remote_document
from agent.cli.table import WIDTH, Cell, pairs
from agent.cli.units import bytes_text, scheme_text, time_text
from agent.status_report import describe
from agent.store.state import Trust
from agent.store.store import Store


@click.command()
@store_option
@port_options
@json_option
def command(
    store: Path,
    line: LineChoice,
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Say what is installed in a store, and which factors run.

    `sequence` is the number of the active factors; 0 means that none run, and the network is as
    the chip computes it.
    """
    document = remote_document(line, "status") if line else describe(Store(store))
    emit(document, as_json=as_json, table=status_text(document))


def status_text(document: dict[str, Any]) -> str:
    """The document for a reader."""
    return pairs(_lines(document))


def _lines(document: dict[str, Any]) -> list[tuple[str, Cell]]:
    last = document["last_calibration"]
    older = ", ".join(str(number) for number in [*document["older"], 0])
    lines: list[tuple[str, Cell]] = [
        ("store", document["store"]),
        ("model", document["model"]),
        ("scheme", scheme_text(document["scheme"], document["activation_bits"])),
        ("layers", document["layers"]),
        ("rank", document["rank"]),
        ("runtime", document["runtime"]),
        ("chip", chip_text(document["chip"])),
        ("conditions", _conditions(document["remembered"])),
        ("active factors", document["sequence"] or "none"),
        ("roll back to", older if document["sequence"] else None),
        *_trust(document["trust"]),
        *_calibration(last),
        *_watch(document.get("watch")),
        ("size", bytes_text(document["bytes_used"])),
        ("history entries", document["history_entries"]),
    ]
    if document["damaged_history_lines"]:
        lines.append(("damaged", f"{document['damaged_history_lines']} lines of the history"))
    if document["damaged_slots"]:
        lines.append(("damaged", f"factor slot {document['damaged_slots']}; calibrate again"))
    return lines


def _trust(trust: Mapping[str, Any] | None) -> list[tuple[str, Cell]]:
    return [] if trust is None else [("trusts", trust_text(Trust(**trust)))]


def _conditions(remembered: Mapping[str, Any]) -> str | None:
    units = {
        "age_s": ("age", "s"),
        "temperature_c": ("temperature", "°C"),
        "supply_v": ("supply", "V"),
    }
    known = [(*units[name], value) for name, value in remembered.items() if name in units]
    return ", ".join(f"{name} {value:g} {unit}" for name, unit, value in known) or None


def _calibration(entry: Mapping[str, Any] | None) -> list[tuple[str, Cell]]:
    """When, how it ended, and why; a long reason goes on under its beginning."""
    name = "last calibration"
    if entry is None:
        return [(name, None)]
    outcome = "accepted" if entry.get("accepted") else "refused"
    why = f": {entry['reason']}" if entry.get("reason") else ""
    said = f"{time_text(entry.get('time_s'))}, {outcome}{why}"
    return _wrapped(name, said)


def _watch(note: Mapping[str, Any] | None) -> list[tuple[str, Cell]]:
    """What the service noted last of the chip and its inputs; nothing where there is no service."""
    if note is None:
        return []
    said = f"{time_text(note['time_s'])}, changed: {note['changed']}; {note['reason']}"
    return _wrapped("watch", said)


def _wrapped(name: str, said: str) -> list[tuple[str, Cell]]:
    return [(name if not n else "", part) for n, part in enumerate(wrap(said, WIDTH - 20))]

"""`npp-agent status`: what is installed in a store, and which factors run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import Any

import click

from agent.cli.common import emit, json_option, store_option
from agent.cli.installed import CALIBRATION, chip_text, facts_of, trust_text
from agent.cli.table import WIDTH, Cell, pairs
from agent.cli.units import bytes_text, time_text
from agent.store.state import Trust
from agent.store.status import status_of
from agent.store.store import Store


@click.command()
@store_option
@json_option
def command(store: Path, as_json: bool) -> None:  # noqa: FBT001  # click passes flags by name
    """Say what is installed in a store, and which factors run.

    `sequence` is the number of the active factors; 0 means that none run, and the network is as
    the chip computes it.
    """
    document = describe(Store(store))
    emit(document, as_json=as_json, table=pairs(_lines(document)))


def describe(store: Store) -> dict[str, Any]:
    """The store's state as a document.

    Raises:
        AgentError: nothing is installed, or store or bundle cannot be read.
    """
    found = status_of(store)
    facts = facts_of(store.bundle())
    entries = store.read_history().entries
    calibrations = [entry for entry in entries if entry.get("event") == CALIBRATION]
    return {
        "store": str(found.path),
        "sequence": found.sequence,
        "older": list(found.older),
        "model": facts.model,
        "scheme": facts.scheme,
        "activation_bits": facts.activation_bits,
        "rank": facts.rank,
        "layers": facts.layers,
        "runtime": facts.runtime,
        "bundle_id": found.state.bundle_id,
        "chip": dict(found.state.chip),
        "remembered": dict(found.state.remembered),
        "trust": None if found.state.trust is None else asdict(found.state.trust),
        "last_calibration": dict(calibrations[-1]) if calibrations else None,
        "bytes_used": found.bytes_used,
        "history_entries": found.history_entries,
        "damaged_history_lines": found.damaged_history_lines,
        "damaged_slots": [
            slot.index for slot in found.slots if slot.header is not None and not slot.whole
        ],
    }


def _lines(document: dict[str, Any]) -> list[tuple[str, Cell]]:
    last = document["last_calibration"]
    older = ", ".join(str(number) for number in [*document["older"], 0])
    lines: list[tuple[str, Cell]] = [
        ("store", document["store"]),
        ("model", document["model"]),
        ("scheme", f"{document['scheme']}, activations of {document['activation_bits']} bits"),
        ("layers", document["layers"]),
        ("rank", document["rank"]),
        ("runtime", document["runtime"]),
        ("chip", chip_text(document["chip"])),
        ("conditions", _conditions(document["remembered"])),
        ("active factors", document["sequence"] or "none"),
        ("roll back to", older if document["sequence"] else None),
        *_trust(document["trust"]),
        *_calibration(last),
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
    return [(name if not n else "", part) for n, part in enumerate(wrap(said, WIDTH - 20))]

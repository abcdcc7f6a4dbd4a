"""`npp-agent doctor`: what works on this machine, and what to install."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from agent import __version__
from agent.cli.common import emit, json_option, store_option
from agent.cli.table import pairs, table
from agent.cli.units import bytes_text
from agent.doctor import machine, packages, places


@click.command()
@store_option
@json_option
def command(store: Path, as_json: bool) -> None:  # noqa: FBT001  # click passes flags by name
    """Say what works on this machine, and what to install.

    Looks at packages, store and serial ports without importing, opening or changing any of them.
    """
    document = examine(store)
    emit(document, as_json=as_json, table=report(document))


def examine(store: Path) -> dict[str, Any]:
    """All findings: `version`, `machine`, `packages`, `abilities`, `store`, `ports`."""
    here = machine.examine()
    found = packages.examine()
    return {
        "version": __version__,
        "machine": asdict(here),
        "packages": [asdict(package) for package in found],
        "abilities": [asdict(a) for a in packages.abilities(found, bits=here.bits)],
        "store": asdict(places.examine_store(store)),
        "ports": [asdict(port) for port in places.examine_ports()],
    }


def report(document: dict[str, Any]) -> str:
    """The findings for a reader, ending with what to do."""
    sections = [
        f"npp-agent {document['version']}\n" + _machine(document["machine"]),
        table(
            ["package", "version", "works", "for"],
            [
                [found["name"], found["version"], found["works"], found["purpose"]]
                for found in document["packages"]
            ],
        ),
        table(
            ["what", "works", "why not"],
            [[found["name"], found["works"], found["reason"]] for found in document["abilities"]],
        ),
        _store(document["store"]),
        _ports(document["ports"]),
        "\n".join(_advice(document)),
    ]
    return "\n\n".join(section for section in sections if section)


def _machine(found: dict[str, Any]) -> str:
    memory, available = found["memory_bytes"], found["memory_available_bytes"]
    return pairs(
        [
            ("Python", f"{found['python']} at {found['executable']}"),
            ("system", f"{found['system']}, {found['architecture']}"),
            ("board", found["board"]),
            ("processor", found["processor"]),
            ("cores", found["cores"]),
            ("memory", None if memory is None else bytes_text(memory)),
            ("available", None if available is None else bytes_text(available)),
        ]
    )


def _store(found: dict[str, Any]) -> str:
    return pairs(
        [
            ("store", found["path"]),
            ("exists", found["exists"]),
            ("writable", found["writable"]),
            ("permissions", found["mode"]),
            ("free", bytes_text(found["free_bytes"])),
        ]
    )


def _ports(found: list[dict[str, Any]]) -> str:
    if not found:
        return "no serial ports"
    return table(["port", "usable"], [[port["path"], port["usable"]] for port in found])


def _advice(document: dict[str, Any]) -> list[str]:
    install = [
        f"to {found['name']}: {found['install']}"
        for found in document["abilities"]
        if found["install"]
    ]
    broken = [
        f"{found['name']} {found['reason']}; use ai-edge-litert, or numpy<2"
        for found in document["packages"]
        if found["version"] and not found["works"]
    ]
    problems = [
        found["problem"] for found in (document["store"], *document["ports"]) if found["problem"]
    ]
    return [*broken, *install, *problems]

"""`npp-agent fsck`: what is wrong with a store, and its repair."""

from __future__ import annotations

import contextlib
from pathlib import Path
from textwrap import fill
from typing import Any

import click

from agent.cli.common import FILE, emit, json_option, store_option
from agent.cli.table import WIDTH
from agent.fsck.examine import Examination, check_is_installed, examine, repair
from agent.store.bundle import open_bundle
from agent.store.store import Store

DAMAGED = 6


@click.command()
@store_option
@click.option("--repair", "do_repair", is_flag=True, help="Repair what can be repaired.")
@click.option(
    "--bundle",
    metavar="FILE.npp",
    type=FILE,
    help="With --repair: the bundle that was installed, to restore a damaged one from.",
)
@json_option
@click.pass_context
def command(
    context: click.Context,
    store: Path,
    do_repair: bool,  # noqa: FBT001  # click passes flags by name
    bundle: Path | None,
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Look at every part of a store, explain what is wrong, and repair it with --repair.

    Nothing that can still be used is ever removed. Exit code 6: something is damaged, and was not
    repaired.
    """
    if bundle is not None and not do_repair:
        raise click.UsageError("--bundle is for --repair: give both")
    opened = Store(store)
    given = None if bundle is None else open_bundle(bundle)
    with opened.lock(check=False) if do_repair else contextlib.nullcontext():
        if given is not None:
            check_is_installed(opened, given)
        found = repair(opened, given) if do_repair else Examination(examine(opened), ())
    emit(_document(store, found), as_json=as_json, table=_report(found))
    if not found.is_sound:
        context.exit(DAMAGED)


def _document(store: Path, found: Examination) -> dict[str, Any]:
    return {
        "store": str(store),
        "sound": found.is_sound,
        "repaired": list(found.repaired),
        "findings": [
            {
                "part": finding.part,
                "state": finding.level.value,
                "text": finding.text,
                "remedy": finding.remedy,
            }
            for finding in found.findings
        ],
    }


def _report(found: Examination) -> str:
    """A line for each finding; what is damaged says whether it can be repaired."""
    width = max(len(finding.part) for finding in found.findings)
    lines = []
    for finding in found.findings:
        head = f"{finding.part:<{width}}  {finding.level.value:<7}  "
        text = finding.text
        if finding.remedy:
            text += " (--repair mends this)"
        lines.append(fill(head + text, WIDTH, subsequent_indent=" " * len(head)))
    lines += [fill(f"repaired {text}", WIDTH) for text in found.repaired]
    verdict = "the store is sound" if found.is_sound else "the store is damaged"
    return "\n".join([*lines, "", verdict])

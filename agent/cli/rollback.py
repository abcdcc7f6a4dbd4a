"""`npp-agent rollback`: older factors run again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agent.cli.common import emit, json_option, store_option
from agent.cli.installed import warn
from agent.cli.line import LineChoice, port_options, remote_job
from agent.listeners import Listeners
from agent.store.store import Store
from agent.store_tasks import rollback


@click.command()
@store_option
@click.option(
    "--to",
    type=click.IntRange(min=0),
    help="The factors to go back to, as `status` numbers them; 0 for none. Default: those before.",
)
@port_options
@json_option
def command(
    store: Path,
    to: int | None,
    line: LineChoice,
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Let older factors run again; the newer ones are retired for good."""
    if line:
        document, _ = remote_job(line, "ROLLBACK", {"to": to}, _nothing, quiet=as_json)
    else:
        document = rollback(Store(store), to, Listeners(warn=warn))
    emit(document, as_json=as_json, table=rollback_text(document))


def _nothing(_done: int, _total: int) -> None:
    """It is done before anybody could wait."""


def rollback_text(document: Mapping[str, Any]) -> str:
    """What runs now, and what never will again."""
    after = document["sequence"]
    now = f"factors {after} run" if after else "no factors run"
    return f"{now}; factors {document['from_sequence']} are retired"

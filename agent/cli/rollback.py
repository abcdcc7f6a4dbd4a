"""`npp-agent rollback`: older factors run again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agent.cli.common import emit, json_option, store_option
from agent.cli.installed import warn
from agent.store.store import Store
from agent.tasks import Listeners, rollback


@click.command()
@store_option
@click.option(
    "--to",
    type=click.IntRange(min=0),
    help="The factors to go back to, as `status` numbers them; 0 for none. Default: those before.",
)
@json_option
def command(
    store: Path,
    to: int | None,
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Let older factors run again; the newer ones are retired for good."""
    document = rollback(Store(store), to, Listeners(warn=warn))
    emit(document, as_json=as_json, table=rollback_text(document))


def rollback_text(document: Mapping[str, Any]) -> str:
    """What runs now, and what never will again."""
    after = document["sequence"]
    now = f"factors {after} run" if after else "no factors run"
    return f"{now}; factors {document['from_sequence']} are retired"

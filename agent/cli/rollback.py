"""`npp-agent rollback`: older factors run again."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli.common import emit, json_option, store_option
from agent.cli.installed import ROLLBACK, note
from agent.store.store import Store


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
    opened = Store(store)
    with opened.lock():
        done = opened.rollback(to)
        note(opened, ROLLBACK, {"sequence": done.after, "from_sequence": done.before})
    now = f"factors {done.after} run" if done.after else "no factors run"
    emit(
        {"sequence": done.after, "from_sequence": done.before},
        as_json=as_json,
        table=f"{now}; factors {done.before} are retired",
    )

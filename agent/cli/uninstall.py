"""`npp-agent uninstall`: removes a store."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli.common import emit, json_option, store_option
from agent.store.backings import is_image
from agent.store.store import Store


@click.command()
@store_option
@json_option
def command(store: Path, as_json: bool) -> None:  # noqa: FBT001  # click passes flags by name
    """Remove a store: bundle, factors, samples and history.

    Files of others in the same directory stay, and so does the directory then. An image stays,
    empty.
    """
    opened = Store(store)
    with opened.lock():
        opened.uninstall()
    emptied = is_image(store)
    emit(
        {"store": str(store), "directory_removed": not store.exists()},
        as_json=as_json,
        table=f"the image {store} was emptied" if emptied else f"the store {store} was removed",
    )

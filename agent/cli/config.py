"""`npp-agent config`: the configuration of the service, with its defaults."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from agent.cli.common import FILE, emit, json_option
from agent.cli.configured import config_option
from agent.service.configuration import default_file, read_configuration
from agent.service.configuration_text import configuration_text


@click.command()
@config_option
@click.option(
    "--make-key",
    metavar="FILE",
    type=FILE,
    help="Write a new key for commands over a line into this file, and nothing else.",
)
@json_option
def command(
    config: Path | None,
    make_key: Path | None,
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Print the configuration of the service, as a file to start from.

    Without a file and variables these are the defaults. What is wrong is listed, with its lines.
    """
    if make_key is not None:
        from agent.link.authentication import make_key as write_key  # noqa: PLC0415  # seldom

        write_key(make_key)
        emit({"key": make_key}, as_json=as_json, table=f"{make_key}: a new key; keep it secret")
        return
    file = config or default_file()
    configuration = read_configuration(file)
    document = {"file": file, **asdict(configuration)}
    emit(document, as_json=as_json, table=configuration_text(configuration))

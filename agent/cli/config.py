"""`npp-agent config`: the configuration of the service, with its defaults."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from agent.cli.common import emit, json_option
from agent.cli.configured import config_option
from agent.service.configuration import default_file, read_configuration
from agent.service.configuration_text import configuration_text


@click.command()
@config_option
@json_option
def command(
    config: Path | None,
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Print the configuration of the service, as a file to start from.

    Without a file and variables these are the defaults. What is wrong is listed, with its lines.
    """
    file = config or default_file()
    configuration = read_configuration(file)
    document = {"file": file, **asdict(configuration)}
    emit(document, as_json=as_json, table=configuration_text(configuration))

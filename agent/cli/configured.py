"""The option of commands that read the configuration."""

from __future__ import annotations

import click

from agent.cli.common import FILE

config_option = click.option(
    "--config",
    metavar="FILE.toml",
    type=FILE,
    help="The configuration. Default: $NPP_CONFIG, else /etc/npp-agent.toml if it is there.",
)

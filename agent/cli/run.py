"""`npp-agent run`: the agent as a service."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli.common import FILE
from agent.cli.configured import config_option
from agent.service.configuration import default_file, read_configuration
from agent.service.settings import Configuration


@click.command()
@config_option
@click.option(
    "--store",
    metavar="DIR",
    type=FILE,
    help="The store. Default: as configured, else $NPP_STORE, the system's or the user's.",
)
@click.option(
    "--source",
    metavar="SOURCE",
    help="Where inputs come from: - (.npy frames on standard input), a directory that is being "
    "filled, none, or a plugin's name. Default: as configured, else none.",
)
@click.option("--once", is_flag=True, help="End when the directory has nothing new.")
@click.option(
    "--auto/--no-auto", default=None, help="Calibrate by itself when the chip has drifted, or not."
)
@click.option("--json", "as_json", is_flag=True, help="Answers are JSON lines, with it or without.")
def command(  # noqa: PLR0913, PLR0917  # one argument an option
    config: Path | None,
    store: Path | None,
    source: str | None,
    once: bool,  # noqa: FBT001  # click passes flags by name
    auto: bool | None,  # noqa: FBT001  # click passes flags by name
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Answer inputs, watch the chip, and calibrate it when told to.

    Answers are JSON lines on stdout, the log is on stderr. SIGTERM and the end of the source end
    it, SIGHUP reads the configuration again.
    """
    del as_json
    given = {
        ("service", "store"): None if store is None else str(store),
        ("service", "source"): source,
        ("calibration", "auto"): auto,
    }
    options = {key: value for key, value in given.items() if value is not None}

    def reread() -> Configuration:
        return read_configuration(config or default_file(), options=options)

    configuration = reread()
    from agent.service.start import serve  # noqa: PLC0415  # the configuration is read without NumPy

    serve(configuration, reread, once=once)

"""`npp-agent run`: the agent as a service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from agent.cli.common import FILE
from agent.cli.configured import config_option
from agent.service.configuration import default_file, read_configuration
from agent.service.settings import FLOW_CONTROLS, Configuration


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
@click.option(
    "--port",
    "ports",
    metavar="URL",
    multiple=True,
    help="Be reached by this line: a device's path, tcp-listen://HOST:PORT or pty:NAME; may be "
    "given several times. Default: as configured, else none.",
)
@click.option("--baud-rate", type=click.IntRange(50, 4_000_000), help="Of device paths.")
@click.option("--flow-control", type=click.Choice(FLOW_CONTROLS), help="Of device paths.")
@click.option(
    "--key",
    metavar="FILE",
    help="The key that commands over a line are signed with; config --make-key makes one.",
)
@click.option(
    "--allow-unauthenticated",
    is_flag=True,
    default=None,
    help="Let whoever reaches a line change things without the key.",
)
@click.option(
    "--allow-unsigned",
    is_flag=True,
    default=None,
    help="Install bundles over a line that nobody signed.",
)
@click.option("--json", "as_json", is_flag=True, help="Answers are JSON lines, with it or without.")
def command(  # noqa: PLR0913, PLR0917  # one argument an option
    config: Path | None,
    store: Path | None,
    source: str | None,
    once: bool,  # noqa: FBT001  # click passes flags by name
    auto: bool | None,  # noqa: FBT001  # click passes flags by name
    ports: tuple[str, ...],
    as_json: bool,  # noqa: FBT001  # click passes flags by name
    **link: Any,
) -> None:
    """Answer inputs, watch the chip, and calibrate it when told to.

    Answers are JSON lines on stdout, the log is on stderr. SIGTERM and the end of the source end
    it (with a port, SIGTERM alone), SIGHUP reads the configuration again.
    """
    del as_json
    given = {
        ("service", "store"): None if store is None else str(store),
        ("service", "source"): source,
        ("calibration", "auto"): auto,
        ("link", "ports"): ",".join(ports) or None,
        **{("link", name): value for name, value in link.items()},
    }
    options = {key: value for key, value in given.items() if value is not None}

    def reread() -> Configuration:
        return read_configuration(config or default_file(), options=options)

    configuration = reread()
    from agent.service.start import serve  # noqa: PLC0415  # the configuration is read without NumPy

    serve(configuration, reread, once=once)

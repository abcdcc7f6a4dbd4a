"""The options that lead a command to a board at the other end of a line."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli.common import FILE
from agent.cli.installed import warn
from agent.cli.progress import Report, say
from agent.listeners import Listeners
from agent.service.settings import FLOW_CONTROLS, LinkSettings

if TYPE_CHECKING:
    from agent.link.remote import Reach, Remote

KEY_VARIABLE = "NPP_LINK_KEY"


@dataclass(frozen=True)
class LineChoice:
    """How a board is reached; `url` is None where the command is about this machine's store."""

    url: str | None
    baud_rate: int
    flow_control: str
    key: Path | None

    def __bool__(self) -> bool:
        """Whether a board is meant."""
        return self.url is not None

    def connected(self) -> Remote:
        """The board.

        Raises:
            LinkError: it cannot be reached, or is none.
            InputError: the key cannot be read.
        """
        from agent.link.remote import Remote  # noqa: PLC0415  # only with a line

        return Remote(self.reach())

    def reach(self) -> Reach:
        """Where the board is.

        Raises:
            InputError: the key cannot be read.
        """
        from agent.link.authentication import read_key  # noqa: PLC0415  # only with a line
        from agent.link.port import LineSettings  # noqa: PLC0415  # the same
        from agent.link.remote import Reach  # noqa: PLC0415  # the same

        assert self.url is not None
        named = self.key or (Path(os.environ[KEY_VARIABLE]) if KEY_VARIABLE in os.environ else None)
        settings = LineSettings(
            self.baud_rate,
            hardware_flow_control=self.flow_control == "hardware",
            software_flow_control=self.flow_control == "software",
        )
        return Reach(self.url, settings, None if named is None else read_key(named))


def line_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--baud-rate`, `--flow-control` and `--key`, as one `line` with the parameter `url`."""

    @functools.wraps(function)
    def gathered(url: str | None, **given: Any) -> Any:
        names = ("baud_rate", "flow_control", "key")
        line = LineChoice(url, **{name: given.pop(name) for name in names})
        return function(line=line, **given)

    baud_rate = click.option(
        "--baud-rate",
        type=click.IntRange(50, 4_000_000),
        default=LinkSettings.baud_rate,
        help=f"Of a serial port; {LinkSettings.baud_rate} by default.",
    )
    flow_control = click.option(
        "--flow-control",
        type=click.Choice(FLOW_CONTROLS),
        default=LinkSettings.flow_control,
        help=f"Of a serial port; {LinkSettings.flow_control} by default.",
    )
    key = click.option(
        "--key",
        metavar="FILE",
        type=FILE,
        help=f"The board's key, for what changes something there. Default: ${KEY_VARIABLE}.",
    )
    return baud_rate(flow_control(key(gathered)))


def port_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--port` and what belongs to it, as one `line`."""
    return click.option(
        "--port",
        "url",
        metavar="URL",
        help="Ask the board at this line instead: a device's path or tcp://HOST:PORT.",
    )(line_options(function))


def remote_job(  # noqa: PLR0913  # keywords
    line: LineChoice,
    command: str,
    body: Mapping[str, Any],
    report: Report,
    *,
    quiet: bool,
    guarded: bool = True,
) -> tuple[dict[str, Any], int]:
    """Have a board do something; its document, and the exit code.

    Args:
        line: where.
        command: as our own group calls it.
        body: what it is given; None is left out.
        report: is told how much is done.
        quiet: what is only of interest is not said.
        guarded: whether the board wants it signed.

    Raises:
        LinkError: it cannot be reached, or refuses.
    """
    from agent.link.codes import Npp  # noqa: PLC0415  # only with a line

    listeners = Listeners(report, (lambda _sentence: None) if quiet else say, warn)
    with line.connected() as remote:
        return remote.do(Npp[command], body, listeners, guarded=guarded)


def remote_document(line: LineChoice, name: str, **more: Any) -> dict[str, Any]:
    """A document as the board prints it.

    Raises:
        LinkError: the board cannot be reached, or refuses.
    """
    given = {key: value for key, value in more.items() if value is not None}
    with line.connected() as remote:
        return remote.document(name, **given)

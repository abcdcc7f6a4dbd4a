"""`npp-agent monitor`: a board at the other end of a line, as it is now and goes on."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli.common import FILE, finite
from agent.cli.line import LineChoice, line_options
from agent.cli.monitor_sinks import CsvFile, JsonLines, PlainText, Sink
from agent.errors import LinkError

if TYPE_CHECKING:
    from agent.link.watching import Watching

_AGAIN_S = 1.0


@click.command()
@click.argument("url", metavar="URL")
@click.option("--once", is_flag=True, help="Look once, and end.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines on stdout, one for each look.")
@click.option("--csv", "csv_file", metavar="FILE", type=FILE, help="A row for each look, too.")
@click.option(
    "--prometheus",
    metavar="[HOST:]PORT",
    help="Let Prometheus read the figures at this port, of the loopback where no HOST is named.",
)
@click.option(
    "--mqtt",
    metavar="URL",
    help="Publish to this broker, too: mqtt[s]://[USER[:PASSWORD]@]HOST[:PORT][/TOPIC].",
)
@click.option(
    "--every-s",
    type=click.FloatRange(0.05, 3600),
    default=1.0,
    show_default=True,
    callback=finite,
    help="Pause between two looks.",
)
@line_options
def command(  # noqa: PLR0913, PLR0917  # one argument an option
    once: bool,  # noqa: FBT001  # click passes flags by name
    as_json: bool,  # noqa: FBT001  # click passes flags by name
    csv_file: Path | None,
    prometheus: str | None,
    mqtt: str | None,
    every_s: float,
    line: LineChoice,
) -> None:
    """Watch the board at URL: layers, drift, calibrations, the line itself.

    On a terminal this is a live view, whose keys measure, calibrate and roll back; else lines of
    text or JSON. A line that breaks is waited for.
    """
    from agent.link.watching import Watching  # noqa: PLC0415  # only with a line

    sinks: list[Sink] = []

    def told(event: Mapping[str, Any]) -> None:
        for sink in sinks:
            sink.event(event)

    with contextlib.ExitStack() as ends:
        watching = ends.enter_context(contextlib.closing(Watching(line.reach(), told)))
        outputs = Outputs(csv_file, prometheus, mqtt, as_json=as_json, once=once)
        sinks.extend(
            ends.enter_context(contextlib.closing(sink)) for sink in _sinks(watching, outputs, told)
        )
        _watch(watching, sinks, every_s, once=once)


@dataclass(frozen=True)
class Outputs:
    """Where what is seen goes."""

    csv_file: Path | None
    prometheus: str | None
    mqtt: str | None
    as_json: bool
    once: bool


def _sinks(
    watching: Watching, outputs: Outputs, told: Callable[[Mapping[str, Any]], None]
) -> Iterator[Sink]:
    """Open them one by one, so that each is closed when a later one cannot be opened."""
    if outputs.csv_file is not None:
        yield CsvFile(outputs.csv_file)
    if outputs.prometheus is not None:
        from agent.workstation.metrics import Metrics  # noqa: PLC0415  # an extra of the host

        yield Metrics(outputs.prometheus)
    if outputs.mqtt is not None:
        from agent.workstation.broker_address import broker_address  # noqa: PLC0415  # the same
        from agent.workstation.mqtt import MqttPublisher  # noqa: PLC0415  # the same

        yield MqttPublisher(broker_address(outputs.mqtt, watching.url, os.environ), told)
    if outputs.as_json:
        yield JsonLines()
    elif outputs.once or not (sys.stdout.isatty() and sys.stdin.isatty()):
        yield PlainText()
    else:
        from agent.workstation.monitor_view import LiveView  # noqa: PLC0415  # the same

        yield LiveView(watching)


def _watch(watching: Watching, sinks: Sequence[Sink], every_s: float, *, once: bool) -> None:
    """Look until told to stop.

    Raises:
        LinkError: the first look fails, or the only one.
    """
    seen = False
    while True:
        try:
            snapshot = watching.look()
        except LinkError as error:
            if not seen:
                raise
            for sink in sinks:
                sink.lost(str(error))
            watching.wait(_AGAIN_S)
            continue
        seen = True
        for sink in sinks:
            sink.take(snapshot)
        if once:
            return
        watching.wait(every_s)

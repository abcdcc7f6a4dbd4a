"""`npp-agent measure`: how far the chip's layers are from the references."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agent.cli.common import chip_state_options, emit, json_option, store_option
from agent.cli.installed import warn
from agent.cli.line import LineChoice, port_options, remote_job
from agent.cli.progress import progress
from agent.cli.table import table
from agent.listeners import Listeners
from agent.store.store import Store
from agent.tasks import measure

ABOVE_LIMIT = 5


@click.command()
@store_option
@click.option(
    "--fail-above",
    metavar="E",
    type=click.FloatRange(min=0),
    help="Exit code 5 if a layer's relative error is above E.",
)
@chip_state_options
@port_options
@json_option
@click.pass_context
def command(  # noqa: PLR0913, PLR0917  # one argument an option
    context: click.Context,
    store: Path,
    fail_above: float | None,
    conditions: Mapping[str, float | None],
    line: LineChoice,
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Run the held-back samples on the chip and compare each layer with its reference."""
    with progress("measuring") as report:
        if line:
            changes = any(value is not None for value in conditions.values())
            document, _ = remote_job(
                line, "MEASURE", conditions, report, quiet=False, guarded=changes
            )
        else:
            document = measure(Store(store), conditions, Listeners(report, warn=warn)).document
    emit(document, as_json=as_json, table=measurement_text(document))
    largest = max(layer["relative_error"] for layer in document["layers"])
    # A chip whose answers are no numbers is above every limit.
    if fail_above is not None and not largest <= fail_above:
        context.exit(ABOVE_LIMIT)


def measurement_text(document: dict[str, Any]) -> str:
    """The document for a reader."""
    columns = ["relative_error", "sqnr_db", "bias", "gain"]
    layers = table(
        ["layer", "relative error", "SQNR dB", "bias", "gain"],
        [[layer["name"], *(layer[name] for name in columns)] for layer in document["layers"]],
    )
    drift = document["drift"]
    score = "no calibration to compare with"
    if drift["score"] is not None:
        score = f"score {drift['score']:.3g}, 1 is unchanged"
    return (
        f"{layers}\n\nmean relative error {document['mean_relative_error']:.4g}, loss on held-back "
        f"samples {document['held_back_loss']:.4g}\ndrift: {drift['state']} ({score})"
    )

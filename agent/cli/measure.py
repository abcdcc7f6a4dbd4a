"""`npp-agent measure`: how far the chip's layers are from the references."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agent.cli.common import chip_state_options, emit, json_option, store_option
from agent.cli.installed import warn
from agent.cli.opened import opened_session
from agent.cli.progress import progress
from agent.cli.table import table
from agent.report import measurement_document
from agent.session import remember
from agent.store.store import Store

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
@json_option
@click.pass_context
def command(
    context: click.Context,
    store: Path,
    fail_above: float | None,
    conditions: Mapping[str, float | None],
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Run the held-back samples on the chip and compare each layer with its reference."""
    session = opened_session(Store(store), conditions)
    remember(session)
    for sentence in session.warnings:
        warn(sentence)
    with progress("measuring") as report:
        watched = session.watched(report, session.loop.network.references.held_back)
        measured = watched.loop.measure()
    document = measurement_document(measured, session.drift(measured))
    emit(document, as_json=as_json, table=_table(document))
    largest = max(layer["relative_error"] for layer in document["layers"])
    # A chip whose answers are no numbers is above every limit.
    if fail_above is not None and not largest <= fail_above:
        context.exit(ABOVE_LIMIT)


def _table(document: dict[str, Any]) -> str:
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

"""`npp-agent evaluate`: accuracy of float, uncorrected and corrected."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from agent.cli.common import FILE, chip_state_options, emit, json_option, store_option
from agent.cli.installed import warn
from agent.cli.opened import opened_session
from agent.cli.progress import progress
from agent.cli.table import Cell, pairs
from agent.data_file import read_data
from agent.evaluation import Evaluation, evaluate
from agent.session import Session, remember
from agent.store.store import Store
from calib.graph.model import Graph


@click.command()
@click.option("--data", required=True, metavar="DATA.npz", type=FILE, help="Samples and labels.")
@click.option("--key", help="Read the arrays KEY_x and KEY_y instead of x and y.")
@click.option(
    "--float", "float_model", metavar="MODEL", type=FILE, help="The float .onnx or .tflite model."
)
@store_option
@chip_state_options
@json_option
def command(  # noqa: PLR0913, PLR0917  # one argument an option
    data: Path,
    key: str | None,
    float_model: Path | None,
    store: Path,
    conditions: Mapping[str, float | None],
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Compare the answers of the float network, of the chip alone, and of the corrected chip.

    The float network is that of --float, else the one in the bundle, if the bundle keeps it.
    """
    samples = read_data(data, key)
    session = opened_session(Store(store), conditions)
    remember(session)
    for sentence in session.warnings:
        warn(sentence)
    graph = _float_graph(session, float_model)
    with progress("evaluating") as report:
        found = evaluate(session.loop, samples, graph, report)
    document = describe(found, session)
    emit(document, as_json=as_json, table=_table(document))


def _float_graph(session: Session, model: Path | None) -> Graph | None:
    if model is None:
        return session.loop.network.float_graph
    # A board has no importers, and needs none without --float.
    loader = importlib.import_module("calib.importers.load")
    graph: Graph = loader.load_model(model)
    return graph


def describe(found: Evaluation, session: Session) -> dict[str, Any]:
    """The evaluation as a document."""
    figures = asdict(found)
    return {"float": figures.pop("float_accuracy"), **figures, "sequence": session.sequence}


def _table(document: dict[str, Any]) -> str:
    lines: list[tuple[str, Cell]] = [("samples", document["samples"])]
    lines += [
        (name, _percent(document[name]))
        for name in ("float", "uncorrected", "corrected", "agreement")
    ]
    if document["output_sqnr_db"] is not None:
        lines.append(("output SQNR", f"{document['output_sqnr_db']:.1f} dB"))
    lines.append(("factors", document["sequence"] or "none"))
    return pairs(lines)


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.2%}"

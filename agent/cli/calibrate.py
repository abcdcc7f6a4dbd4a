"""`npp-agent calibrate`: the closed loop, once."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agent.cli.budget import budget_options, chosen_budget, rank_option
from agent.cli.common import chip_state_options, emit, json_option, store_option
from agent.cli.installed import warn
from agent.cli.line import LineChoice, port_options, remote_job
from agent.cli.progress import progress, say
from agent.cli.table import WIDTH, table
from agent.cli.units import bytes_text, seconds_text
from agent.listeners import Listeners
from agent.loop import CalibrationRequest
from agent.methods import METHODS
from agent.store.store import Store
from agent.tasks import calibrate
from calib.selection import RULES

REFUSED = 3
SHOWN = 5
"""How many of the chosen samples the table names."""


@click.command()
@store_option
@click.option(
    "--samples",
    type=click.IntRange(1, 1_000_000),
    default=32,
    show_default=True,
    help="How many of the references are run on the chip.",
)
@click.option(
    "--select",
    type=click.Choice([*RULES]),
    default="sensitivity",
    show_default=True,
    help="Which: those that the chip is predicted to hurt most, any, or all; or by another rule, "
    "of which the design says what they are worth.",
)
@click.option(
    "--method",
    type=click.Choice(["auto", *METHODS]),
    default="auto",
    show_default=True,
    help="In closed form, each layer alone on clean inputs or one after another (auto: the first "
    "where possible); or by gradients through the network, from the closed form or from zero.",
)
@rank_option(
    default=None,
    text="Budget, as for pack; 0 for gain and offset alone. Default: as the bundle was packed.",
)
@budget_options
@click.option("--dry-run", is_flag=True, help="Fit and judge, but change and keep nothing.")
@chip_state_options
@port_options
@json_option
@click.pass_context
def command(  # noqa: PLR0913, PLR0917  # one argument an option
    context: click.Context,
    store: Path,
    samples: int,
    select: str,
    method: str,
    rank: int | None,
    budget_bytes: int | None,
    budget_mac_share: float | None,
    budget_slowdown: float | None,
    dry_run: bool,  # noqa: FBT001  # click passes flags by name
    conditions: Mapping[str, float | None],
    line: LineChoice,
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Fit new factors to the chip as it is now, and keep them if they help.

    Samples that took no part in the fit decide. Exit code 3: refused, the old factors stay.
    """
    budget = chosen_budget(context, rank, budget_bytes, budget_mac_share, budget_slowdown)
    request = CalibrationRequest(samples, select, method, budget, dry_run)
    with progress("calibrating") as report:
        if line:
            body = _body(request, conditions)
            document, _ = remote_job(line, "CALIBRATE", body, report, quiet=as_json)
        else:
            tell = (lambda _sentence: None) if as_json else say
            listeners = Listeners(report, tell, warn)
            document = calibrate(Store(store), request, conditions, listeners)
    emit(document, as_json=as_json, table=report_text(document))
    if not document["accepted"]:
        context.exit(REFUSED)


def _body(request: CalibrationRequest, conditions: Mapping[str, float | None]) -> dict[str, Any]:
    """The request as it goes over a line."""
    budget = request.budget
    return {
        "samples": request.samples,
        "select": request.select,
        "method": request.method,
        "rank": budget.rank,
        "budget_bytes": budget.bytes,
        "budget_mac_share": budget.mac_share,
        "budget_slowdown": budget.slowdown,
        "dry_run": request.dry_run or None,
        **conditions,
    }


def report_text(document: dict[str, Any]) -> str:
    """The report for a reader: layers, samples, verdict."""
    layers = table(
        ["layer", "rank", "error before", "error after"],
        [
            [layer["name"], layer["rank"], layer["error_before"], layer["error_after"]]
            for layer in document["layers"]
        ],
    )
    chosen = table(
        ["sample", "sensitivity", "chosen because"],
        [[one["index"], one["sensitivity"], one["reason"]] for one in document["selected"][:SHOWN]],
    )
    rest = document["samples_used"] - SHOWN
    more = f"\nand {rest} more, all in --json" if rest > 0 else ""
    return f"{layers}\n\n{chosen}{more}\n\n{verdict_text(document)}"


def verdict_text(document: dict[str, Any]) -> str:
    """The verdict in one sentence, and what it cost."""
    outcome = "accepted" if document["accepted"] else "refused"
    if document["accepted"] and document["dry_run"]:
        outcome = "would be accepted (dry run: nothing was changed)"
    spent = seconds_text(document["seconds"])
    kept = ""
    if document["bytes_written"]:
        kept = (
            f", {bytes_text(document['bytes_written'])} of factors written as number "
            f"{document['sequence']}"
        )
    sentence = textwrap.fill(f"{outcome}: {document['reason']}", WIDTH)
    budget = f"\nfactors: {_budget_text(document['budget'])}" if document["accepted"] else ""
    return f"{sentence}\n{document['method']}, {spent}{kept}{budget}"


def _budget_text(budget: dict[str, Any]) -> str:
    """What the factors take, and of how much where there is a limit."""
    size, share, time = budget["bytes"], budget["mac_share"], budget["slowdown"]
    of_bytes = "" if size["allowed"] is None else f" of at most {bytes_text(size['allowed'])}"
    of_share = "" if share["allowed"] is None else f", at most {share['allowed']:.1%}"
    of_time = ""
    if time["used"] is not None:
        of_time = f"; {time['used']:.2f} times the time, at most {time['allowed']:.3g}"
    return (
        f"{bytes_text(size['used'])}{of_bytes}; "
        f"{share['used']:.1%} more multiply-accumulates{of_share}{of_time}"
    )

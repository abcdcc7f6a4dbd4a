"""A fitted device for a reader."""

from __future__ import annotations

import textwrap
from typing import Any

from agent.cli.table import WIDTH, Cell, pairs, table

_START = {
    "given": "as given",
    "first-reading": "ages count from the first reading",
    "fitted": "fitted",
    "assumed": "assumed",
}


def fit_text(document: dict[str, Any]) -> str:
    """The document of a fit as tables and sentences."""
    untold = [
        textwrap.fill(f"not told: {sentence}", WIDTH, subsequent_indent="  ")
        for sentence in document["untold"]
    ]
    return "\n\n".join(
        [_facts(document), _candidates(document), _targets(document), "\n".join(untold)]
    )


def _facts(document: dict[str, Any]) -> str:
    value = {one["name"]: one for one in document["parameters"]}
    dash = "unknown" if document["g_max_us"] is None else f"{document['g_max_us']:.4g} uS"
    cells = document["cells"]
    named = "no cell named" if cells is None else f"{cells} cells"
    return pairs(
        [
            ("device", document["out"]),
            ("readings", f"{document['rows']}, {named}, from {document['first_age_s']:.4g} s on"),
            ("G_max", f"{dash} ({document['g_max_from'].replace('-', ' ')})"),
            ("error", f"{value['distribution']['value']}, {value['dependence']['value']}"),
            ("deviation", _figure(value["deviation"])),
            ("g_min", _figure(value["g_min"])),
            ("drift mean", _figure(value["drift_mean"])),
            ("drift deviation", _figure(value["drift_deviation"])),
            ("drift start", _start(document, value["drift_start_s"])),
            ("read noise", _figure(value["read_noise"])),
            ("picture", document["plot"]),
        ]
    )


def _figure(one: dict[str, Any]) -> str:
    unit = "" if one["unit"] == "1" else f" {one['unit']}"
    error = one["standard_error"]
    return f"{one['value']:.4g}{unit}" + ("" if error is None else f", standard error {error:.2g}")


def _start(document: dict[str, Any], one: dict[str, Any]) -> str | None:
    drift = document["drift"]
    if drift is None:
        return None
    return f"{one['value']:.4g} s ({_START[drift['start_from']]})"


def _candidates(document: dict[str, Any]) -> str:
    rows: list[list[Cell]] = [
        [
            one["name"],
            one["deviation"],
            one["standard_error"],
            one["aic_above_best"] if one["possible"] else None,
            one["distance"],
            one["chance"],
        ]
        for one in document["candidates"]
    ]
    columns = ["kind", "deviation", "error", "AIC above best", "Kolmogorov", "chance"]
    return table(columns, rows)


def _targets(document: dict[str, Any]) -> str:
    rows: list[list[Cell]] = [
        [one["target"], one["cells"], one["bias"], one["seen"], one["fitted"]]
        for one in document["targets"]
    ]
    return table(["target", "cells", "bias", "spread seen", "spread fitted"], rows)

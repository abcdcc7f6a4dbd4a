"""The summary of a simulation for a reader: what was asked, recoveries and yields, who fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.cli.table import Cell, pairs, table
from agent.simulation.ages import age_text
from agent.simulation.outputs import REPORT

SHOWN = 8
"""Chips that were given up and are named."""

WHEN = {"never": "never", "once": "at the first age", "each": "at each age"}


def report_text(summary: dict[str, Any], out: Path | None) -> str:
    """The whole text, at most 100 columns wide."""
    parts = [_facts(summary), _ages(summary), _worst(summary), _layers(summary)]
    if summary["failed"]:
        seeds = ", ".join(str(one["seed"]) for one in summary["failed"][:SHOWN])
        parts.append(f"given up: {len(summary['failed'])} (seeds {seeds}), see failed in --json")
    if out is not None:
        parts.append(f"results, table and report: {out / REPORT}")
    return "\n\n".join(parts)


def measure_text(summary: dict[str, Any]) -> str:
    """What recovery means here, in a sentence without an end."""
    samples = f"{summary['samples']} samples"
    best = f"{summary['float'] or 0:.2%}"
    return {
        "accuracy": f"accuracy on {samples} over that of the float network, {best}",
        "agreement": f"share of {samples} answered as by the float network",
        "fidelity": f"1 less the power of the answers' errors on {samples}",
    }[summary["measure"]]


def _facts(summary: dict[str, Any]) -> str:
    last = summary["first_seed"] + summary["chips"] - 1
    each = "" if summary["sweep"] is None else f" for each {summary['sweep']}"
    supply = "" if summary["supply_v"] is None else f", {summary['supply_v']:g} V"
    where = f"seeds {summary['first_seed']} to {last}, {summary['temperature_c']:g} C{supply}"
    return pairs(
        [
            ("model", f"{summary['model']}, {summary['scheme']}"),
            ("chips", f"{summary['chips']} of {summary['chip']}{each}, {where}"),
            ("calibrated", WHEN[summary["recalibrate"]]),
            ("recovery", measure_text(summary)),
            ("good chip", f"recovery of at least {summary['limit']:.4g}"),
        ]
    )


def _first_columns(summary: dict[str, Any], group: dict[str, Any]) -> list[Cell]:
    return [] if summary["sweep"] is None else [group["value"]]


def _named(summary: dict[str, Any], columns: list[str]) -> list[str]:
    return columns if summary["sweep"] is None else [summary["sweep"], *columns]


def _ages(summary: dict[str, Any]) -> str:
    columns = [
        "age",
        "before",
        "worst",
        "yield",
        "after",
        "worst",
        "yield",
        "95 % interval",
        "refused",
    ]
    rows: list[list[Cell]] = [
        [*_first_columns(summary, group), *_age_row(age)]
        for group in summary["groups"]
        for age in group["ages"]
    ]
    head = "mean and worst recovery of the chips, before and after the calibration at each age"
    return f"{head}\n\n{table(_named(summary, columns), rows)}"


def _age_row(age: dict[str, Any]) -> list[Cell]:
    before, after = age["recovery"]["before"], age["recovery"]["after"]
    good = age["yield"]["after"]
    return [
        age_text(age["age_s"]),
        _share(before["mean"]),
        _share(before["worst"]),
        _share(age["yield"]["before"]["share"]),
        _share(after["mean"]),
        _share(after["worst"]),
        _share(good["share"]),
        f"{good['low']:6.1%} -{good['high']:7.1%}",
        f"{age['refused']} of {age['calibrations']}" if age["calibrations"] else None,
    ]


def _worst(summary: dict[str, Any]) -> str:
    columns = ["worst chips", "age", "before", "after", "accepted", "layer that hurts most"]
    rows: list[list[Cell]] = [
        [
            *_first_columns(summary, group),
            one["seed"],
            age_text(one["age_s"]),
            _share(one["before"]),
            _share(one["after"]),
            one["accepted"],
            one["layer"],
        ]
        for group in summary["groups"]
        for one in group["worst"]
    ]
    return table(_named(summary, columns), rows)


def _layers(summary: dict[str, Any]) -> str:
    columns = ["layer", "fails first", "error before", "error after", "share"]
    rows: list[list[Cell]] = [
        [
            *_first_columns(summary, group),
            layer["name"],
            layer["fails_first"],
            layer["error_before"],
            layer["error_after"],
            None if layer["share"] is None else _share(layer["share"]),
        ]
        for group in summary["groups"]
        for layer in group["layers"]
    ]
    return table(_named(summary, columns), rows)


def _share(share: float) -> str:
    return f"{share:7.2%}"

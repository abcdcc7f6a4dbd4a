"""The tables of a simulation's report, as HTML."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from agent.simulation.ages import age_text

_WHEN = {"never": "never", "once": "at the first age only", "each": "at each age"}
_MEASURES = {
    "accuracy": "accuracy over that of the float network",
    "agreement": "share of samples answered as by the float network",
    "fidelity": "1 less the power of the answers' errors",
}


def facts(summary: Mapping[str, Any]) -> str:
    """What was simulated, in a paragraph."""
    last = summary["first_seed"] + summary["chips"] - 1
    accuracy = "" if summary["float"] is None else f" ({summary['float']:.2%})"
    supply = "" if summary["supply_v"] is None else f" and {summary['supply_v']:g} V"
    groups = "" if summary["sweep"] is None else f" for each value of {summary['sweep']}"
    said = (
        f"Network {summary['model']}, weights {summary['scheme']}; chips with seeds "
        f"{summary['first_seed']} to {last}{groups}, at {summary['temperature_c']:g} °C{supply}; "
        f"calibrated {_WHEN[summary['recalibrate']]}. Recovery is the "
        f"{_MEASURES[summary['measure']]}{accuracy}, on {summary['samples']} samples; a good chip "
        f"has at least {summary['limit']:.4g}."
    )
    return f"<p>{html.escape(said)}</p>"


def age_table(summary: Mapping[str, Any]) -> str:
    """Recoveries and yields of each group at each age."""
    heads = [
        *_group_head(summary), "age", "never calibrated", "yield", "before", "worst", "yield",
        "after", "5 %", "worst", "yield", "95 % interval", "refused",
    ]  # fmt: skip
    rows = [
        [*_group_cell(summary, group), *_age_row(age)]
        for group in summary["groups"]
        for age in group["ages"]
    ]
    caption = (
        "Mean recovery of all chips, of the worst one and the 5 % quantile; before and after the "
        "calibration at each age"
    )
    return _table(heads, rows, caption)


def _age_row(age: Mapping[str, Any]) -> list[str]:
    recovery, shares = age["recovery"], age["yield"]
    never, before, after = (recovery[who] for who in ("uncorrected", "before", "after"))
    good = shares["after"]
    return [
        age_text(age["age_s"]),
        f"{never['mean']:.2%}",
        f"{shares['uncorrected']['share']:.1%}",
        f"{before['mean']:.2%}",
        f"{before['worst']:.2%}",
        f"{shares['before']['share']:.1%}",
        f"{after['mean']:.2%}",
        f"{after['p05']:.2%}",
        f"{after['worst']:.2%}",
        f"{good['share']:.1%}",
        f"{good['low']:.1%} to {good['high']:.1%}",
        f"{age['refused']} of {age['calibrations']}" if age["calibrations"] else "-",
    ]


def worst_table(summary: Mapping[str, Any]) -> str:
    """The chips that are worst at their worst age."""
    heads = [*_group_head(summary), "seed", "age", "before", "after", "calibration", "layer"]
    rows = [
        [
            *_group_cell(summary, group),
            str(one["seed"]),
            age_text(one["age_s"]),
            f"{one['before']:.2%}",
            f"{one['after']:.2%}",
            {True: "accepted", False: "refused", None: "-"}[one["accepted"]],
            one["layer"],
        ]
        for group in summary["groups"]
        for one in group["worst"]
    ]
    return _table(heads, rows, "At the age at which each is worst; the layer that hurts most there")


def layer_table(summary: Mapping[str, Any]) -> str:
    """Errors of the layers, and which fail first."""
    heads = [
        *_group_head(summary), "layer", "fails first", "error before", "error after",
        "share of the loss",
    ]  # fmt: skip
    rows = [
        [
            *_group_cell(summary, group),
            layer["name"],
            str(layer["fails_first"]),
            *(
                "-" if layer[field] is None else f"{layer[field]:.1%}"
                for field in ("error_before", "error_after", "share")
            ),
        ]
        for group in summary["groups"]
        for layer in group["layers"]
    ]
    caption = (
        "Mean relative errors at the last age. A layer fails first in a chip if it has the largest "
        "share of the predicted loss at the first age at which the chip is below the limit"
    )
    return _table(heads, rows, caption)


def _group_head(summary: Mapping[str, Any]) -> list[str]:
    return [] if summary["sweep"] is None else [summary["sweep"]]


def _group_cell(summary: Mapping[str, Any], group: Mapping[str, Any]) -> list[str]:
    return [] if summary["sweep"] is None else [value_text(group["value"])]


def value_text(value: object) -> str:
    """A swept value in a few characters."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], about: str) -> str:
    """A table that scrolls by itself where the screen is narrow; words to the left."""
    words = [any(row[i][:1].isalpha() for row in rows) for i in range(len(heads))]
    marks = [' class="word"' if word else "" for word in words]
    head = "".join(
        f'<th scope="col"{mark}>{html.escape(one)}</th>'
        for one, mark in zip(heads, marks, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(
            f"<td{mark}>{html.escape(cell)}</td>" for cell, mark in zip(row, marks, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<p class="about">{html.escape(about)}.</p>\n<div class="wide"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )

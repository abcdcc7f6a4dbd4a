"""The report of a simulation: one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agent import __version__
from agent.simulation.ages import age_text
from agent.simulation.factory import Results
from agent.simulation.verdicts import ACCURACY
from agent.workstation import simulation_plots as plots
from agent.workstation.simulation_tables import (
    age_table,
    facts,
    layer_table,
    value_text,
    worst_table,
)

MOST_DRAWN = 6
"""Groups that get pictures of their own."""

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#18181b;background:#fafafa;margin:0}
main{max-width:1160px;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 .5rem}
.lead{font-size:1.1rem}.grid{display:grid;gap:1rem;
grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr))}
figure{margin:0;padding:.75rem;background:#fff;border:1px solid #e4e4e7;border-radius:8px}
figure img{width:100%;max-width:520px;height:auto;display:block;margin:0 auto}
figcaption{font-size:.9rem;color:#52525b}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;background:#fff}
.about{font-size:.9rem;color:#52525b;margin:.25rem 0}
th,td{padding:.3rem .6rem;border-bottom:1px solid #e4e4e7;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}td.word,th.word{text-align:left}
th{font-weight:600;color:#52525b}
footer{margin-top:2rem;font-size:.85rem;color:#52525b;overflow-wrap:anywhere}
"""


@dataclass(frozen=True)
class Page:
    """The report, and what the user should know of it."""

    html: str
    warning: str | None


def report_page(results: Results) -> Page:
    """The whole page; without matplotlib it has tables alone."""
    drawable = plots.is_drawable()
    summary = results.summary
    title = f"{summary['chips']} chips of {summary['chip']}: {summary['model']}"
    parts = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="lead">{_text(_headline(summary))}</p>',
        facts(summary),
        "<h2>Recovery and yield</h2>",
        age_table(summary),
        *(_pictures(results) if drawable else ()),
        "<h2>Worst chips</h2>",
        worst_table(summary),
        "<h2>Layers</h2>",
        layer_table(summary),
        _failed(summary),
        _footer(summary),
    ]
    warning = None if drawable else "the report has no pictures: pip install 'npp-agent[host]'"
    return Page(_document(title, "\n".join(part for part in parts if part)), warning)


def _document(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _footer(summary: Mapping[str, Any]) -> str:
    return (
        f"<footer>npp-agent {__version__}, bundle {_text(summary['bundle_id'])}. Intervals of "
        "yields are 95 % intervals by Wilson's score; bands hold 90 % of the chips.</footer>"
    )


def _headline(summary: Mapping[str, Any]) -> str:
    """The yield at the last age, of the worst group."""
    worst = min(summary["groups"], key=_yields)
    last = worst["ages"][-1]
    of = "" if summary["sweep"] is None else f" with {_group_title(summary, worst)}"
    never, before, after = (last["yield"][who] for who in ("uncorrected", "before", "after"))
    also = f", {never['good']} without any" if len(summary["ages_s"]) > 1 else ""
    return (
        f"At an age of {age_text(last['age_s'])}{of}, {after['good']} of {after['count']} chips "
        f"are good (95 % interval {after['low']:.1%} to {after['high']:.1%}), {before['good']} "
        f"were before the calibration at that age{also}."
    )


def _pictures(results: Results) -> Iterator[str]:
    summary = results.summary
    if summary["sweep"] is not None:
        yield f'<h2>Yield against {_text(summary["sweep"])}</h2>\n<div class="grid">'
        yield _sweep_picture(summary)
        yield "</div>"
    for index, group in enumerate(summary["groups"][:MOST_DRAWN]):
        yield f'<h2>{_text(_group_title(summary, group))}</h2>\n<div class="grid">'
        yield from _group_pictures(results, index, group)
        yield "</div>"
    left = len(summary["groups"]) - MOST_DRAWN
    if left > 0:
        yield f"<p>{left} more groups are in the tables.</p>"


def _yields(group: Mapping[str, Any]) -> tuple[float, float]:
    shares = group["ages"][-1]["yield"]
    return shares["after"]["share"], shares["uncorrected"]["share"]


def _group_title(summary: Mapping[str, Any], group: Mapping[str, Any]) -> str:
    return (
        "Chips" if summary["sweep"] is None else f"{summary['sweep']} {value_text(group['value'])}"
    )


def _sweep_picture(summary: Mapping[str, Any]) -> str:
    groups = summary["groups"]
    values = [group["value"] for group in groups]
    last = [group["ages"][-1] for group in groups]
    said = ", ".join(
        f"{value_text(value)}: {age['yield']['after']['share']:.1%}"
        for value, age in zip(values, last, strict=True)
    )
    age = age_text(last[0]["age_s"])
    return _figure(
        plots.svg(plots.yield_against_value(summary["sweep"], values, last, _lines(summary))),
        f"Yield at {age} for each {summary['sweep']}; recalibrated: {said}",
        f"Share of good chips at {age}",
    )


def _group_pictures(results: Results, index: int, group: Mapping[str, Any]) -> Iterator[str]:
    summary, measure, ages = results.summary, results.measure, group["ages"]
    last = [record["ages"][-1] for record in results.records if record["group"] == index]
    before, after = ([measure.recovery(age[who]) for age in last] for who in ("before", "after"))
    age, spread = age_text(ages[-1]["age_s"]), ages[-1]["recovery"]
    yield _figure(
        plots.svg(plots.distribution(before, after, summary["limit"])),
        f"Histogram of recoveries at {age}: before, mean {spread['before']['mean']:.1%}; after, "
        f"mean {spread['after']['mean']:.1%}",
        f"Recovery at {age}",
    )
    if len(ages) > 1:
        scale, name, line = 100.0, "recovery, %", None
        if measure.name == ACCURACY:
            line = 100 * (measure.float_accuracy or 0.0)
            scale, name = line, "accuracy, %"
        lines = _lines(summary)
        said = _course(ages, lines, scale)
        yield _figure(
            plots.svg(plots.against_age(ages, lines, scale, name, line)),
            f"Median {name.split(',')[0]} against age: {said}",
            "Median and 90 % of the chips, against age",
        )
        yield _figure(
            plots.svg(plots.yield_against_age(ages, lines)),
            f"Yield against age; recalibrated at {age}: {ages[-1]['yield']['after']['share']:.1%}",
            "Share of good chips, against age",
        )
    layers = group["layers"]
    failing = [f"{one['name']}: {one['fails_first']}" for one in layers if one["fails_first"]]
    yield _figure(
        plots.svg(plots.layer_errors(layers), height=1.6 + 0.36 * len(layers)),
        "Mean relative error of each layer before and after. Fails first, chips: "
        + (", ".join(failing) or "none"),
        f"Layers at {age}, and in how many chips each fails first",
    )


def _lines(summary: Mapping[str, Any]) -> plots.Lines:
    return plots.lines_of(summary["recalibrate"], len(summary["ages_s"]))


def _course(ages: plots.Ages, lines: plots.Lines, scale: float) -> str:
    """The ends of the curves, in words."""
    first, last = ages[0]["recovery"], ages[-1]["recovery"]
    return "; ".join(
        f"{one.label}, {scale * first[one.who]['p50']:.1f} % to "
        f"{scale * last[one.who]['p50']:.1f} %"
        for one in lines
    )


def _figure(picture: bytes, alternative: str, caption: str) -> str:
    encoded = base64.b64encode(picture).decode()
    return (
        f'<figure><img alt="{_text(alternative)}" src="data:image/svg+xml;base64,{encoded}">'
        f"<figcaption>{_text(caption)}</figcaption></figure>"
    )


def _failed(summary: Mapping[str, Any]) -> str:
    if not summary["failed"]:
        return ""
    lines = "".join(
        f"<li>chip {one['seed']} of group {one['group'] + 1}: {_text(one['reason'])}</li>"
        for one in summary["failed"]
    )
    return f"<h2>Chips that were given up</h2>\n<ul>{lines}</ul>"


def _text(value: object) -> str:
    return html.escape(str(value))

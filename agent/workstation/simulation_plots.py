"""The pictures of a simulation's report, as SVG; nothing is drawn without matplotlib."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agent.simulation.ages import age_text
from agent.simulation.plan import NEVER, ONCE
from agent.workstation.chart import AFTER, BEFORE, GREY, PALE

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Line:
    """How chips with certain factors are drawn: told apart without colours too."""

    who: str
    label: str
    colour: str
    marker: str
    dash: str


_NEVER = Line("uncorrected", "never calibrated", GREY, "s", ":")
_ONCE = Line("once", "calibrated at the first age only", "#b45309", "^", "--")
_EACH = Line("after", "recalibrated at each age", AFTER, "o", "-")


def lines_of(recalibrate: str, ages: int) -> tuple[Line, ...]:
    """The lines that differ, where chips are calibrated at so many ages or not at all."""
    if recalibrate == NEVER:
        return (_NEVER,)
    if ages == 1:
        return (_NEVER, replace(_EACH, label="calibrated"))
    return (_NEVER, _ONCE) if recalibrate == ONCE else (_NEVER, _ONCE, _EACH)


_MOST_TICKS = 7
_BINS = 20
_NAME = 22

Draw = Callable[["Axes"], None]
Ages = Sequence[Mapping[str, Any]]
Lines = Sequence[Line]


def is_drawable() -> bool:
    """Whether matplotlib is installed."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - optional, and slow to import
    except ImportError:
        return False
    return bool(mpl.__version__)


def svg(draw: Draw, height: float = 3.4) -> bytes:
    """A picture of one plot, 5 inches wide so that a telephone shows it at its size."""
    import matplotlib as mpl  # noqa: PLC0415 - optional, and slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415 - the same

    # The salt makes the same picture the same bytes.
    with mpl.rc_context({"svg.hashsalt": "npp-agent", "font.size": 10}):
        figure = Figure(figsize=(5, height), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(color=PALE, linewidth=0.8)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        draw(axes)
        content = io.BytesIO()
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    return content.getvalue()


def distribution(before: Sequence[float], after: Sequence[float], limit: float) -> Draw:
    """Recoveries of chips before and after recalibration, as two histograms."""

    def draw(axes: Axes) -> None:
        low, high = min(*before, *after, limit), max(*before, *after, 1.0)
        room = 0.02 * (high - low) or 0.01
        edges = [low - room + i * (high - low + 2 * room) / _BINS for i in range(_BINS + 1)]
        axes.hist(
            [[100 * value for value in values] for values in (before, after)],
            [100 * edge for edge in edges],
            color=[BEFORE, AFTER],
            label=["before recalibration", "after recalibration"],
        )
        axes.axvline(100 * limit, color=GREY, linestyle="--", label=f"limit, {100 * limit:g} %")
        axes.set_xlabel("recovery, %")
        axes.set_ylabel("chips")
        _legend(axes)

    return draw


def against_age(
    ages: Ages, lines: Lines, scale: float, name: str, float_line: float | None
) -> Draw:
    """The median of chips at each age, and the band that holds 90 % of them.

    Args:
        ages: of the summary of a group.
        lines: what is drawn.
        scale: of recovery, so that the axis shows accuracies in per cent.
        name: of the axis.
        float_line: where the float network lies, None for nowhere.
    """

    def draw(axes: Axes) -> None:
        places = _places([age["age_s"] for age in ages])
        for one in lines:
            low, middle, high = (
                [scale * age["recovery"][one.who][at] for age in ages]
                for at in ("p05", "p50", "p95")
            )
            axes.fill_between(places, low, high, color=one.colour, alpha=0.15, linewidth=0)
            axes.plot(
                places, middle, one.dash, color=one.colour, marker=one.marker, label=one.label
            )
        if float_line is not None:
            axes.axhline(float_line, color="black", linewidth=0.8, label="float network")
        axes.set_ylabel(name)
        _age_axis(axes, places, [age["age_s"] for age in ages])
        _legend(axes)

    return draw


def yield_against_age(ages: Ages, lines: Lines) -> Draw:
    """The share of good chips at each age, with its 95 % interval."""

    def draw(axes: Axes) -> None:
        places = _places([age["age_s"] for age in ages])
        _yields(axes, places, ages, lines)
        _age_axis(axes, places, [age["age_s"] for age in ages])

    return draw


def yield_against_value(parameter: str, values: Sequence[Any], ages: Ages, lines: Lines) -> Draw:
    """The share of good chips for each value of a swept parameter, with its 95 % interval.

    Args:
        parameter: its name.
        values: numbers or words, one a group.
        ages: of each group, the age that is shown.
        lines: what is drawn.
    """

    def draw(axes: Axes) -> None:
        numeric = all(isinstance(value, int | float) for value in values)
        order = (
            sorted(range(len(values)), key=lambda i: values[i]) if numeric else range(len(values))
        )
        places = [float(values[i]) if numeric else float(i) for i in order]
        _yields(axes, places, [ages[i] for i in order], lines)
        axes.set_xticks(*_thinned(places, [_word(values[i]) for i in order]))
        axes.set_xlabel(_literal(parameter))

    return draw


def layer_errors(layers: Sequence[Mapping[str, Any]]) -> Draw:
    """Mean relative error of each layer before and after, and how many chips it let down first."""

    def draw(axes: Axes) -> None:
        for shift, field, label, colour in (
            (-0.19, "error_before", "before recalibration", BEFORE),
            (0.19, "error_after", "after recalibration", AFTER),
        ):
            lengths = [100 * (layer[field] or 0.0) for layer in layers]
            rows = [row + shift for row in range(len(layers))]
            axes.barh(rows, lengths, height=0.34, color=colour, label=label)
        for row, layer in enumerate(layers):
            if layer["fails_first"]:
                longest = 100 * max(layer["error_before"] or 0.0, layer["error_after"] or 0.0)
                text = f"  first in {layer['fails_first']}"
                axes.text(longest, row, text, va="center", fontsize=8, color=GREY)
        axes.set_yticks(range(len(layers)), [_shortened(layer["name"]) for layer in layers])
        axes.invert_yaxis()  # the first layer on top
        axes.margins(x=0.2)
        axes.set_xlim(left=0)
        axes.set_xlabel("mean relative error, %")
        _legend(axes)

    return draw


def _yields(axes: Axes, places: Sequence[float], ages: Ages, lines: Lines) -> None:
    room = (max(places) - min(places) or 1.0) / 80
    for number, one in enumerate(lines):
        found = [age["yield"][one.who] for age in ages]
        shares = [100 * good["share"] for good in found]
        below = [100 * max(good["share"] - good["low"], 0.0) for good in found]
        above = [100 * max(good["high"] - good["share"], 0.0) for good in found]
        # Beside each other, or one interval hides the next.
        beside = [place + room * (number - (len(lines) - 1) / 2) for place in places]
        axes.errorbar(
            beside,
            shares,
            yerr=[below, above],
            fmt=one.dash,
            color=one.colour,
            marker=one.marker,
            capsize=3,
            label=one.label,
        )
    axes.set_ylim(-3, 103)
    axes.set_ylabel("yield, % of chips")
    _legend(axes)


def _places(ages_s: Sequence[float]) -> list[float]:
    """On a logarithmic axis where there is no age of zero; else one step for each."""
    if ages_s[0] > 0:
        return [math.log10(age_s) for age_s in ages_s]
    return [float(i) for i in range(len(ages_s))]


def _age_axis(axes: Axes, places: Sequence[float], ages_s: Sequence[float]) -> None:
    axes.set_xticks(*_thinned(places, [age_text(age_s) for age_s in ages_s]))
    axes.set_xlabel("age, logarithmic" if ages_s[0] > 0 else "age, one step each")


def _thinned(places: Sequence[float], words: Sequence[str]) -> tuple[list[float], list[str]]:
    """Ticks that do not run into each other."""
    least = (max(places) - min(places)) / _MOST_TICKS
    kept: list[int] = []
    for i, place in enumerate(places):
        if not kept or place - places[kept[-1]] >= least:
            kept.append(i)
    return [places[i] for i in kept], [_literal(words[i]) for i in kept]


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=1, frameon=False, fontsize=9)


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _shortened(name: str) -> str:
    return _literal(name if len(name) <= _NAME else name[: _NAME - 2] + "..")


def _literal(text: str) -> str:
    """Text in which no dollar begins a formula."""
    return text.replace("$", r"\$")

"""Layer errors before and after a calibration: as a picture, or as bars of text."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEFORE, AFTER, GREY, PALE = "#c2410c", "#0f766e", "#52525b", "#e4e4e7"
"""Rust and teal, which differ in lightness too; greys for what matters less."""

WIDTH = 100
_NAME = 24
"""Characters of a layer's name that are shown."""


@dataclass(frozen=True)
class LayerBars:
    """One layer's relative error before and after; 0.1 is ten per cent."""

    name: str
    before: float
    after: float


def png_chart(layers: Sequence[LayerBars], title: str, subtitle: str) -> bytes | None:
    """The picture as the bytes of a PNG file; None where matplotlib is not installed.

    Args:
        layers: in order of execution, at least one.
        title: what is shown.
        subtitle: chip, scheme, and what came of it; one line or two.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional, and slow to import
        from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415 - the same
    except ImportError:
        return None
    margins = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.08)
    figure = Figure(figsize=(9, 2.2 + 0.55 * len(layers)), dpi=150, layout=margins)
    figure.suptitle(_literal(title), x=0.02, ha="left", fontsize=14, fontweight="bold")
    axes = figure.add_subplot()
    axes.set_title(_literal(subtitle), loc="left", fontsize=10, color=GREY, pad=26)
    _draw_bars(axes, layers)
    _dress(axes, layers)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _draw_bars(axes: Axes, layers: Sequence[LayerBars]) -> None:
    for shift, colour, label, errors in (
        (-0.19, BEFORE, "before calibration", [layer.before for layer in layers]),
        (0.19, AFTER, "after calibration", [layer.after for layer in layers]),
    ):
        places = [row + shift for row in range(len(layers))]
        lengths = [100 * _length(error) for error in errors]
        bars = axes.barh(places, lengths, height=0.34, color=colour, label=label)
        figures = [f"{_figure(error)} %" for error in errors]
        axes.bar_label(bars, figures, padding=4, fontsize=9, color=colour)


def _dress(axes: Axes, layers: Sequence[LayerBars]) -> None:
    names = [_literal(_shortened(layer.name)) for layer in layers]
    axes.set_yticks(range(len(layers)), names)
    axes.invert_yaxis()  # the first layer on top
    axes.set_ylabel("linear layer, in order")
    axes.set_xlabel("relative error of the layer's output, ‖y − y_ref‖ / ‖y_ref‖, in per cent")
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=2, frameon=False)


def text_chart(layers: Sequence[LayerBars]) -> str:
    """The same as bars of text, at most 100 columns wide."""
    largest = max((max(_length(one.before), _length(one.after)) for one in layers), default=0.0)
    head = f"{'relative error, per cent':<{_NAME}}"
    lines = []
    for layer in layers:
        for name, when, error in (
            (_shortened(layer.name), "before", layer.before),
            ("", "after", layer.after),
        ):
            start = f"{name:<{_NAME}}  {when:<6}  {_figure(error):>6}  "
            share = _length(error) / largest if largest > 0 else 0.0
            lines.append((start + "#" * round(share * (WIDTH - len(start)))).rstrip())
    return "\n".join([head.rstrip(), *lines])


def _length(error: float) -> float:
    return error if math.isfinite(error) else 0.0


def _figure(error: float) -> str:
    return f"{100 * error:.1f}" if math.isfinite(error) else "-"


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME else name[: _NAME - 2] + ".."


def _literal(text: str) -> str:
    """Text in which no dollar begins a formula."""
    return text.replace("$", r"\$")

"""A picture of measured cells and the device fitted to them."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from agent.workstation.chart import AFTER, BEFORE, GREY, PALE
from device_models.fitting.curves import Change, change, quantiles
from device_models.fitting.generic_fit import GenericFit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAND = "#99d5cf"
"""The teal of what is fitted, paler."""

MOST_POINTS = 4000
FEW_LEVELS = 32
"""Up to so many targets, cells of one target are drawn beside each other."""


def png_fit(fit: GenericFit, name: str) -> bytes | None:
    """The picture as the bytes of a PNG file; None where matplotlib is not installed.

    Args:
        fit: the fitted device with its data.
        name: of the file of measurements.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional, and slow to import
        from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415 - the same
    except ImportError:
        return None
    course = change(fit)
    margins = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    if course is None:
        figure = Figure(figsize=(12, 4.4), dpi=150, layout=margins)
        panels = figure.subplots(1, 3).tolist()
    else:
        figure = Figure(figsize=(10, 8.2), dpi=150, layout=margins)
        panels = figure.subplots(2, 2).ravel().tolist()
    figure.suptitle(_literal(_title(fit, name)), x=0.02, ha="left", fontsize=11)
    _draw_cells(panels[0], fit)
    _draw_deviations(panels[1], fit)
    _draw_quantiles(panels[2], fit)
    if course is not None:
        _draw_course(panels[3], fit, course)
    for letter, axes in zip("abcd", panels, strict=False):
        _dress(axes, letter)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _title(fit: GenericFit, name: str) -> str:
    model = fit.model
    shown = "".join(character if character.isprintable() else "?" for character in name)
    of = "the cell" if model.dependence == "proportional" else "G_max"
    if model.dependence == "inverse-proportional":
        of = "G_max² / G"
    return (
        f"{shown[:60]}: {len(fit.first.targets)} cells when first read; fitted: "
        f"{model.distribution} error, {model.dependence}, {100 * model.deviation:.3g} % of {of}"
    )


def _draw_cells(axes: Axes, fit: GenericFit) -> None:
    """Measured against target."""
    x, rows = _places(fit)
    line = np.linspace(0, 1.0, 200)
    _bands(axes, line, line, _spread(fit, line))
    axes.plot(line, line, color=AFTER, linewidth=1)
    axes.plot(x, fit.first.held[rows], **_points())
    axes.set_xlabel("target, in parts of G$_{max}$")
    back = fit.age_zero_s < fit.first.age_s
    when = "at programming (taken back)" if back else "measured at the first age"
    axes.set_ylabel(f"{when}, in parts of G$_{{max}}$")
    axes.legend(loc="upper left", frameon=False, fontsize=8)


def _draw_deviations(axes: Axes, fit: GenericFit) -> None:
    """Deviation against target, with the spread seen at each."""
    x, rows = _places(fit)
    line = np.linspace(0, 1.0, 400)
    _bands(axes, line, np.zeros_like(line), _spread(fit, line))
    axes.axhline(0, color=AFTER, linewidth=1)
    deviations = fit.first.held - fit.first.targets
    axes.plot(x, deviations[rows], **_points())
    told = [one for one in fit.bins if one.cells > 1]
    axes.errorbar(
        [one.target for one in told],
        [one.bias for one in told],
        [one.seen for one in told],
        fmt="o",
        color=BEFORE,
        markersize=4,
        capsize=3,
        linewidth=1.4,
        label="mean and one deviation, seen",
    )
    reach = 1.15 * float(np.abs(deviations).max())
    axes.set_ylim(-reach, reach)
    axes.set_xlabel("target, in parts of G$_{max}$")
    axes.set_ylabel("measured − target, in parts of G$_{max}$")
    axes.legend(loc="upper left", frameon=False, fontsize=8, ncols=2)


def _draw_quantiles(axes: Axes, fit: GenericFit) -> None:
    """Quantiles of the deviations against those of the fitted distribution."""
    expected, seen = quantiles(fit)
    ends = [float(expected[0]), float(expected[-1])]
    axes.plot(ends, ends, color=AFTER, linewidth=1.2, label="as fitted")
    rows = _thinned(len(seen))
    axes.plot(expected[rows], seen[rows], **_points(alpha=0.6))
    best = fit.distances[0]
    axes.text(
        0.97,
        0.05,
        f"Kolmogorov distance {best.distance:.3f}\nchance of more, if true: {best.chance:.2g}",
        transform=axes.transAxes,
        ha="right",
        fontsize=8,
        color=GREY,
    )
    axes.set_xlabel(f"quantile of the fitted {fit.model.distribution} distribution")
    axes.set_ylabel("deviation over its fitted spread")
    axes.legend(loc="upper left", frameon=False, fontsize=8)


def _draw_course(axes: Axes, fit: GenericFit, course: Change) -> None:
    """Mean and spread over time; a power law of time + t0 is almost a straight line here."""
    assert fit.drift is not None
    start = course.start_s
    x = course.curve_age_s + start
    low, high = course.curve_mean - course.curve_spread, course.curve_mean + course.curve_spread
    axes.fill_between(x, low, high, color=BAND, alpha=0.5, linewidth=0, label="±1 σ, fitted")
    exponent = f"exponent {fit.model.drift_mean:.3g} ± {fit.model.drift_deviation:.2g}"
    axes.plot(x, course.curve_mean, color=AFTER, linewidth=1.2, label=f"mean, fitted: {exponent}")
    axes.errorbar(
        course.age_s + start,
        course.mean,
        course.spread,
        fmt="o",
        color=BEFORE,
        markersize=4,
        capsize=3,
        linewidth=1.4,
        label="mean and one deviation, seen",
    )
    axes.set_xscale("log")
    plain = math.isclose(start, course.from_programming_s)
    where = "time since programming, in s" if plain else f"age + t0, in s; t0 = {start:.3g} s"
    axes.set_xlabel(where)
    whole = "its first reading" if course.own else "its target"
    axes.set_ylabel(f"conductance over {whole}")
    axes.legend(loc="lower left", frameon=False, fontsize=8)


def _bands(axes: Axes, x: np.ndarray, middle: np.ndarray, spread: np.ndarray) -> None:
    for times, alpha in ((2, 0.35), (1, 0.65)):
        axes.fill_between(
            x,
            middle - times * spread,
            middle + times * spread,
            color=BAND,
            alpha=alpha,
            linewidth=0,
            label=f"±{times} σ, fitted",
        )


def _spread(fit: GenericFit, targets: np.ndarray) -> np.ndarray:
    """The fitted spread at targets, with the noise of reading as in most cells."""
    noise = fit.reading[0] / np.sqrt(np.median(fit.first.reads)) if fit.reading else 0.0
    least = max(float(fit.first.targets[fit.first.targets > 0].min()), 1e-9)
    inside = np.where(targets >= least * 0.999, targets, np.nan)
    shown: np.ndarray = np.hypot(fit.model.deviation_of(np.nan_to_num(inside, nan=1.0)), noise)
    return np.where(np.isnan(inside) & (fit.model.dependence != "independent"), np.nan, shown)


def _places(fit: GenericFit) -> tuple[np.ndarray, np.ndarray]:
    """Where cells stand, those of one target beside each other, and which cells are drawn."""
    rows = _thinned(len(fit.first.targets))
    x = fit.first.targets[rows]
    levels = np.unique(fit.first.targets)
    if len(levels) <= FEW_LEVELS:
        room = 0.3 * float(np.diff(levels).min())
        x = x + np.random.default_rng(0).uniform(-room, room, len(x))
    return x, rows


def _thinned(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).astype(np.intp))


def _points(alpha: float = 0.35) -> dict[str, Any]:
    return {
        "linestyle": "",
        "marker": ".",
        "markersize": 3.5,
        "markeredgewidth": 0,
        "color": GREY,
        "alpha": alpha,
        "rasterized": True,
        "label": "cells",
    }


def _dress(axes: Axes, letter: str) -> None:
    axes.set_title(letter, loc="left", fontsize=11, fontweight="bold")
    axes.grid(color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _literal(text: str) -> str:
    """Text in which no dollar begins a formula."""
    return text.replace("$", r"\$")

"""The picture of a life: accuracy, layer error, alarms, recalibrations and flash against time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.life.carers import CARERS, NONE, POLICY, TIMER
from agent.workstation.chart import AFTER, BEFORE, GREY, PALE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Records = Sequence[Mapping[str, Any]]

LABELS = {
    NONE: "calibrated on the first day only",
    TIMER: "calibrated by a timer",
    POLICY: "watched, calibrated when it pays",
}
COLOURS = {NONE: GREY, TIMER: BEFORE, POLICY: AFTER}
DASHES = {NONE: ":", TIMER: "--", POLICY: "-"}
_STATES = ("unknown", "healthy", "watch", "drifted", "failed")
_MINUTE_D = 1 / 1440


def life_picture(records: Records, summary: Mapping[str, Any], title: str) -> bytes | None:
    """The picture as the bytes of a PNG file; None where matplotlib is not installed.

    Args:
        records: of all moments, in order.
        summary: of the same life.
        title: what is shown.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional, and slow to import
    except ImportError:
        return None
    figure = Figure(figsize=(9, 9.5), dpi=110, layout="constrained")
    figure.suptitle(title.replace("$", r"\$"), x=0.02, ha="left", fontsize=13, fontweight="bold")
    rows = figure.subplots(5, 1, sharex=True, height_ratios=(3, 2, 1.6, 1.6, 1.3))
    for axes in rows:
        axes.grid(color=PALE, linewidth=0.8)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    _recovery(rows[0], records, summary)
    _errors(rows[1], records)
    _states(rows[2], records)
    _flash(rows[3], records)
    _weather(rows[4], records)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _recovery(axes: Axes, records: Records, summary: Mapping[str, Any]) -> None:
    scored = [one for one in records if "recovery" in one]
    for name in CARERS:
        days, values = [], []
        for one in scored:
            pair = one["recovery"][name]
            days += [one["day"], one["day"] + _MINUTE_D]
            values += [100 * (pair[when] or 0.0) for when in ("found", "left")]
        axes.plot(
            days, values, DASHES[name], color=COLOURS[name], linewidth=1.4, label=LABELS[name]
        )
    limit = 100 * summary["limit"]
    axes.axhline(limit, color="#71717a", linewidth=0.8)
    axes.annotate(f"limit, {limit:g} %", (1, limit), xycoords=("axes fraction", "data"),
                  ha="right", va="top", fontsize=8, color=GREY)  # fmt: skip
    axes.set_ylabel("accuracy, % of float" if summary["measure"] == "accuracy" else "recovery, %")
    axes.legend(frameon=False, fontsize=9, loc="lower left")


def _errors(axes: Axes, records: Records) -> None:
    ours = [(one["day"], one["carers"][POLICY]["layer_error"]) for one in records]
    axes.plot(*zip(*ours, strict=True), color=AFTER, linewidth=1)
    axes.set_yscale("log")
    axes.set_ylabel("layer error\n(watched)")


def _states(axes: Axes, records: Records) -> None:
    days = [one["day"] for one in records]
    states = [_STATES.index(one["carers"][POLICY]["state"]) for one in records]
    axes.step(days, states, where="post", color=AFTER, linewidth=1)
    for name, marker, colour in (("alarm", "v", BEFORE), ("accepted", "o", AFTER)):
        there = [
            (one["day"], _STATES.index(one["carers"][POLICY]["state"]))
            for one in records
            if one["carers"][POLICY].get("alarm" if name == "alarm" else "event")
            in {True, "accepted"}
        ]
        if there:
            label = "alarm" if name == "alarm" else "calibration accepted"
            axes.plot(*zip(*there, strict=True), marker, color=colour, markersize=4, label=label)
    axes.set_yticks(range(len(_STATES)), _STATES)
    axes.set_ylabel("state")
    axes.legend(frameon=False, fontsize=8, loc="upper right", ncols=2)


def _flash(axes: Axes, records: Records) -> None:
    days = [one["day"] for one in records]
    for name in CARERS:
        kib = [one["carers"][name]["flash_bytes"] / 1024 for one in records]
        axes.step(days, kib, DASHES[name], where="post", color=COLOURS[name], linewidth=1.4)
    axes.set_yscale("log")
    axes.set_ylabel("flash, KiB\nwritten")


def _weather(axes: Axes, records: Records) -> None:
    days = [one["day"] for one in records]
    axes.plot(days, [one["temperature_c"] for one in records], color=GREY, linewidth=0.5)
    axes.set_ylabel("degrees C")
    axes.set_xlabel("days")
    for name, key in (("inputs moved", "moved_inputs"), ("column dead", "dead_columns")):
        start = next((one["day"] for one in records if one[key]), None)
        if start is not None:
            axes.axvline(start, color=BEFORE, linewidth=1, linestyle="--")
            axes.annotate(name, (start, 0.98), xycoords=("data", "axes fraction"), fontsize=8,
                          va="top", color=BEFORE)  # fmt: skip

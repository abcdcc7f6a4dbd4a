"""The summary of a life for a reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.cli.table import Cell, pairs, table
from agent.life.outputs import PICTURE

CARERS = {"none": "first day only", "timer": "timer", "policy": "policy"}


def life_text(summary: dict[str, Any], out: Path | None) -> str:
    """The whole text, at most 100 columns wide."""
    facts = pairs(
        [
            ("model", f"{summary['model']}, {summary['scheme']}"),
            ("chip", f"{summary['chip']}, seed {summary['chip_seed']}"),
            ("life", f"{summary['days']:.4g} days, {summary['rounds']} rounds of canaries"),
            ("recovery", f"{summary['measure']} on {summary['samples']} samples, float as 1"),
            ("detection", f"a clear drift within {summary['detection_delay_h']:.3g} h"),
            ("flash", _flash(summary)),
        ]
    )
    rows: list[list[Cell]] = [
        [
            CARERS[name],
            _share(one["recovery_mean"]),
            _share(one["recovery_lowest"]),
            f"{one['longest_below_h']:.4g}",
            one["alarms"],
            one["accepted"],
            one["refused"],
            one["flash_bytes"],
        ]
        for name, one in summary["carers"].items()
    ]
    names = ["care", "recovery", "lowest", f"h below {summary['limit']:g}"]
    text = table([*names, "alarms", "accepted", "refused", "flash bytes"], rows)
    where = "" if out is None else f"\n\nrecords and picture: {out / PICTURE}"
    return f"{facts}\n\n{text}{where}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _flash(summary: dict[str, Any]) -> str:
    ratio = summary["flash_ratio"]
    ours = summary["carers"]["policy"]["flash_bytes_per_year"]
    less = "" if ratio is None else f", the timer {ratio:.3g} times as much"
    return f"{ours:.0f} bytes a year by the policy{less}"

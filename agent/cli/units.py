"""Quantities as a reader wants them."""

from __future__ import annotations

import datetime as dt


def bytes_text(count: int) -> str:
    """A number of bytes in the largest binary unit that leaves at least one: `256 KiB`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def seconds_text(duration_s: float) -> str:
    """A duration in its two largest units: `3.2 s`, `4 min 10 s`, `2 h 5 min`, `31 d 4 h`."""
    if duration_s < 60:
        return f"{duration_s:.3g} s"
    whole = round(duration_s)
    for size, unit, smaller_size, smaller in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def time_text(unix_time_s: float | None) -> str | None:
    """A moment in UTC, to the second: `2026-03-01 12:00:05Z`; None where there is none."""
    if unix_time_s is None:
        return None
    moment = dt.datetime.fromtimestamp(unix_time_s, dt.UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")


def scheme_text(scheme: str, activation_bits: int | None) -> str:
    """A scheme and the activations that go with it."""
    if activation_bits is None:
        return f"{scheme}, activations in the bits of their channel"
    return f"{scheme}, activations of {activation_bits} bits"

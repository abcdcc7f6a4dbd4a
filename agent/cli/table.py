"""Plain-text tables that fit a terminal: names shortened in the middle, numbers to the right."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Cell = str | int | float | bool | None

WIDTH = 100
_GAP = "  "
_NARROWEST = 5  # a character, the dots, a character, and a little more


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], width: int = WIDTH) -> str:
    """A heading, a rule and one line for each row, at most `width` characters wide.

    Columns of numbers stand to the right, others to the left. Where the columns are too wide
    together, the widest give way, and what they hold is shortened in the middle.

    Args:
        columns: the headings.
        rows: each as long as `columns`.
        width: characters in a line.
    """
    cells = [list(row) for row in rows]
    texts = [list(columns), *([text(value) for value in row] for row in cells)]
    widths = _fit([max(map(len, column)) for column in zip(*texts, strict=True)], width)
    right = [_is_numeric([row[i] for row in cells]) for i in range(len(columns))]
    lines = [_line(row, widths, right) for row in texts]
    rule = _GAP.join("-" * size for size in widths)
    return "\n".join([lines[0], rule, *lines[1:]])


def pairs(items: Iterable[tuple[str, Cell]], width: int = WIDTH) -> str:
    """One line for each name and value, the values aligned and at most `width` wide."""
    shown = [(name, text(value)) for name, value in items]
    left = max((len(name) for name, _ in shown), default=0) + len(_GAP)
    return "\n".join(f"{name:<{left}}{shorten(value, width - left)}" for name, value in shown)


def text(value: Cell) -> str:
    """A value as a reader wants it: four digits, yes and no, and a dash where there is none."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float() if not math.isfinite(value):
            return "-"
        case float():
            return f"{value:.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
        case int():
            return str(value)
        case _:
            # Names come out of files: nothing in them may steer the terminal.
            return "".join(c if c.isprintable() else "?" for c in str(value))


def shorten(name: str, width: int) -> str:
    """A name of at most `width` characters: its beginning, two dots and its end."""
    if len(name) <= width:
        return name
    kept = max(width - 2, 0)
    tail = kept // 2
    return (name[: kept - tail] + ".." + name[len(name) - tail :])[:width]


def _fit(widths: list[int], width: int) -> list[int]:
    """Narrow the widest columns, one character at a time, until a line has `width`."""
    widths = list(widths)
    while sum(widths) + len(_GAP) * (len(widths) - 1) > width and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return widths


def _is_numeric(column: Sequence[Cell]) -> bool:
    present = [value for value in column if value is not None]
    return bool(present) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in present
    )


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    shown = (shorten(value, size) for value, size in zip(row, widths, strict=True))
    padded = (
        value.rjust(size) if to_right else value.ljust(size)
        for value, size, to_right in zip(shown, widths, right, strict=True)
    )
    return _GAP.join(padded).rstrip()

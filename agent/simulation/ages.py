"""Ages as people write them: `1,1d,30d,1y,10y`."""

from __future__ import annotations

import math
import re
from itertools import pairwise

from agent.errors import InputError
from device_models.validity import DAY_S, YEAR_S

UNITS_S = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": DAY_S, "y": YEAR_S}
"""A year has 365 days."""

LONGEST_S = 1000 * YEAR_S
MOST_AGES = 64

_AGE = re.compile(r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*(s|min|h|d|y)?")


def parse_ages(text: str) -> tuple[float, ...]:
    """Ages in seconds, from a list with commas; each a number with s, min, h, d or y, or without.

    Raises:
        InputError: no age, too many, one that is absurd, or they do not ascend.
    """
    words = [word.strip() for word in text.split(",")]
    if len(words) > MOST_AGES:
        raise InputError(f"there are {len(words)} ages, at most {MOST_AGES} are allowed")
    ages = tuple(_parse_age(word) for word in words)
    for (earlier, later), word in zip(pairwise(ages), words[1:], strict=True):
        if later <= earlier:
            raise InputError(
                f"the age {word} is not above the one before it, {age_text(earlier)}: a chip only "
                "gets older; give ages in ascending order"
            )
    return ages


def _parse_age(word: str) -> float:
    found = _AGE.fullmatch(word)
    if found is None:
        raise InputError(
            f"{word[:40]!r} is no age; give a number of seconds, or one with a unit "
            f"({', '.join(UNITS_S)}), such as 30d"
        )
    age_s = float(found[1]) * UNITS_S[found[2] or "s"]
    if not (math.isfinite(age_s) and age_s <= LONGEST_S):
        raise InputError(
            f"an age of {word[:40]} is beyond the {age_text(LONGEST_S)} that a chip may reach: "
            "check its unit"
        )
    return age_s


def age_text(age_s: float) -> str:
    """An age in its largest unit: `30 d`, `1.5 y`."""
    for unit in ("y", "d", "h", "min"):
        if age_s >= UNITS_S[unit]:
            return f"{age_s / UNITS_S[unit]:.4g} {unit}"
    return f"{age_s:.4g} s"

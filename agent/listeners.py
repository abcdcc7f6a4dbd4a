"""Who hears of a task while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Report = Callable[[int, int], None]
"""Takes how many steps are done, and of how many."""

Tell = Callable[[str], None]


def _nobody(_sentence: str) -> None:
    """Take a sentence that nobody wants."""


@dataclass(frozen=True)
class Listeners:
    """Who hears of a task while it goes on."""

    report: Report = lambda _done, _total: None
    """Of how much is done."""

    tell: Tell = _nobody
    """Of what is expected."""

    warn: Tell = _nobody
    """Of what somebody should look at."""

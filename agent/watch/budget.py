"""The flash budget: bytes and erases that flow in by the day, and are kept for some days."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

DAY_S = 86_400.0


@dataclass(frozen=True)
class Allowance:
    """How much flash may be worn."""

    bytes_per_day: float = 65_536.0
    erases_per_day: float = 32.0
    days_kept: float = 7.0
    """What is not used is kept for so long."""


@dataclass(frozen=True)
class FlashBudget:
    """What is left."""

    bytes_left: float
    erases_left: float
    at_s: float
    """Agent time of the latest inflow."""

    def document(self) -> dict[str, Any]:
        """What is kept over restarts."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any], allowance: Allowance, now_s: float) -> FlashBudget:
        """The inverse of `document`; what is no budget is one of a day."""
        try:
            values = [float(document[name]) for name in ("bytes_left", "erases_left", "at_s")]
        except (KeyError, TypeError, ValueError):
            return one_day(allowance, now_s)
        return cls(*values) if all(map(math.isfinite, values)) else one_day(allowance, now_s)


def full(allowance: Allowance, now_s: float) -> FlashBudget:
    """As much as can be kept: for a new store."""
    days = allowance.days_kept
    return FlashBudget(allowance.bytes_per_day * days, allowance.erases_per_day * days, now_s)


def one_day(allowance: Allowance, now_s: float) -> FlashBudget:
    """What flows in in a day: where nobody knows what was written."""
    return FlashBudget(allowance.bytes_per_day, allowance.erases_per_day, now_s)


def refilled(budget: FlashBudget, allowance: Allowance, now_s: float) -> FlashBudget:
    """What is left at a moment of agent time; an earlier moment changes nothing."""
    days = max(now_s - budget.at_s, 0.0) / DAY_S
    most = full(allowance, now_s)
    return FlashBudget(
        min(budget.bytes_left + days * allowance.bytes_per_day, most.bytes_left),
        min(budget.erases_left + days * allowance.erases_per_day, most.erases_left),
        max(now_s, budget.at_s),
    )


def spent(budget: FlashBudget, written_bytes: float, erases: float) -> FlashBudget:
    """What is left after a write; a person's may overdraw it."""
    return FlashBudget(budget.bytes_left - written_bytes, budget.erases_left - erases, budget.at_s)


def share_left(budget: FlashBudget, allowance: Allowance, needed: FlashBudget) -> float:
    """The share of what can be kept that is left after something is written; negative: too much."""
    most = full(allowance, budget.at_s)
    return min(
        (budget.bytes_left - needed.bytes_left) / max(most.bytes_left, 1e-9),
        (budget.erases_left - needed.erases_left) / max(most.erases_left, 1e-9),
    )

"""A limit of time in the plan of a calibration: measured by the runtime, on this board."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from agent.errors import RuntimeUnavailableError
from agent.runtimes.base import Runtime, TimedRuntime, can_time, largest_ranks
from calib.branch_choice import plan_within_time
from calib.budget import Budget
from calib.layer_fit import Plan
from calib.packed import PackedNetwork


def check_can_time(runtime: Runtime, budget: Budget) -> None:
    """Refuse a limit of time, before any work, where it cannot be kept.

    Raises:
        RuntimeUnavailableError: the runtime cannot tell what branches cost in time.
    """
    if budget.slowdown is not None and not can_time(runtime):
        raise RuntimeUnavailableError(
            "this runtime cannot tell what a surrogate costs in time, as an emulated chip's is not "
            "that of the chip: leave --budget-slowdown out, and limit --budget-mac-share"
        )


def within_time(
    runtime: Runtime, network: PackedNetwork, plan: Plan, budget: Budget
) -> tuple[Plan, float | None]:
    """What of a plan fits into a limit of time, and the slowdown that was measured with it.

    Without a limit it is the plan itself, and nothing is measured. With one, every branch that can
    be folded into the weights is, also where it had better read the input itself: `slowdowns` takes
    it to cost nothing.
    """
    if budget.slowdown is None:
        return plan, None
    timed = cast("TimedRuntime", runtime)
    found = plan_within_time(network, plan, budget, timed.slowdowns, largest_ranks(runtime))
    return replace(found.plan, clipped=frozenset()), found.slowdown

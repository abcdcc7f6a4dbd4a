"""Which layers get a branch where time is short: the most worth within a slowdown that is measured.

What branches cost in time hardly depends on their rank, but on the layer: kernels change layouts,
and convolutions that would hand over their codes come out in float. So layers are chosen, not
ranks. A branch's worth is the error that its layer makes without it, with the gain and offset that
are best alone, less the error beside it; its price is the time that it adds alone, as measured.
That is a knapsack. Branches side by side share some of their costs, so the chosen ones are timed
together: where they take less than their prices, prices are lowered and the choice is made again;
where they take more, the worst bargains go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from calib.budget import Budget
from calib.forecast import remaining_power
from calib.layer_fit import NO_LIMITS, Plan, layer_weights, plan_solved
from calib.packed import PackedNetwork

Ranks = Mapping[str, int]
"""By layer; 0, or not named: no branch."""

Slowdowns = Callable[[Sequence[Ranks]], Sequence[float]]
"""The time of a sample with each of these sets of branches, in times of that without any."""

STEPS = 2000
"""Of the room, to which prices are rounded up."""

ROUNDS = 3
"""How often prices are lowered and the choice is made again, at most."""


@dataclass(frozen=True)
class Choice:
    """The layers that get a branch."""

    layers: frozenset[str]
    slowdown: float
    """Of all of them together, as measured."""


@dataclass(frozen=True)
class TimedPlan:
    """What a budget buys within its limit of time."""

    plan: Plan
    slowdown: float
    """As measured, with the branches of the plan's layers."""


def plan_within_time(
    network: PackedNetwork,
    plan: Plan,
    budget: Budget,
    slowdowns: Slowdowns,
    largest: Ranks = NO_LIMITS,
) -> TimedPlan:
    """Leave branches to those layers that are worth their time.

    The others' bytes go into more bits for these: more rank than was timed they do not get.

    Args:
        network: the packed network.
        plan: what the budget buys without a limit of time.
        budget: with its limit of time.
        slowdowns: measures.
        largest: see `calib.layer_fit.plan_one_by_one`.
    """
    ranks = {name: len(bits) for name, bits in plan.bits.items() if bits}
    limit = math.inf if budget.slowdown is None else budget.slowdown
    choice = choose(branch_worths(plan), ranks, slowdowns, limit)
    if len(choice.layers) == len(ranks):
        return TimedPlan(plan, choice.slowdown)
    timed = {name: rank if name in choice.layers else 0 for name, rank in ranks.items()}
    again = plan_solved(network, plan.solved, budget, {**largest, **timed})
    return TimedPlan(again, choice.slowdown)


def branch_worths(plan: Plan) -> dict[str, float]:
    """By layer with a branch: how much less error it makes than gain and offset alone would."""
    weights = layer_weights({name: one.metric.weight for name, one in plan.solved.items()})
    return {
        name: weights[name]
        * max(remaining_power(one.beside(0, 0.0), ()) - remaining_power(one, bits), 0.0)
        for name, one in plan.solved.items()
        if (bits := plan.bits[name])
    }


def choose(worths: Mapping[str, float], ranks: Ranks, slowdowns: Slowdowns, limit: float) -> Choice:
    """The layers whose branches are worth most within a limit of time.

    Args:
        worths: by layer.
        ranks: of the branches that the layers would get.
        slowdowns: measures; asked for each layer alone, then for what is chosen.
        limit: the slowdown, at most; from 1 on.
    """
    alone = slowdowns([{name: rank} for name, rank in ranks.items()])
    prices = {name: max(one - 1, 0.0) for name, one in zip(ranks, alone, strict=True)}

    def together(layers: frozenset[str]) -> Choice:
        if not layers:
            return Choice(layers, 1.0)
        (measured,) = slowdowns([{name: ranks[name] for name in ranks if name in layers}])
        return Choice(layers, measured)

    best = _fitting(together(knapsack(worths, prices, limit - 1)), worths, prices, limit, together)
    for _ in range(ROUNDS):
        asked = sum(prices[name] for name in best.layers)
        if len(best.layers) == len(ranks) or not 0 < best.slowdown - 1 < asked:
            break
        prices = {name: price * (best.slowdown - 1) / asked for name, price in prices.items()}
        other = together(knapsack(worths, prices, limit - 1))
        if other.slowdown > limit or _sum(worths, other.layers) <= _sum(worths, best.layers):
            break
        best = other
    return best


def _fitting(
    choice: Choice,
    worths: Mapping[str, float],
    prices: Mapping[str, float],
    limit: float,
    together: Callable[[frozenset[str]], Choice],
) -> Choice:
    """What is left of a choice when the worst bargains are gone that make it too slow."""
    while choice.layers and choice.slowdown > limit:
        worst = min(
            choice.layers, key=lambda name: (worths[name] / (prices[name] or math.inf), name)
        )
        if not prices[worst]:  # none costs anything alone: the dearest cannot be told
            worst = min(choice.layers, key=lambda name: (worths[name], name))
        choice = together(choice.layers - {worst})
    return choice


def knapsack(
    worths: Mapping[str, float], prices: Mapping[str, float], room: float
) -> frozenset[str]:
    """Those worth most whose prices, each at least 0, are together within the room.

    Exact for prices that are whole numbers of room / `STEPS`, by dynamic programming (R. Bellman,
    Dynamic Programming, 1957); others are rounded up, and what still fits then is added, or takes
    the place of one that is worth less, until nothing is gained.
    """
    free = frozenset(name for name in prices if not prices[name])
    dear = [name for name in prices if 0 < prices[name] <= room and worths[name] > 0]
    if math.isinf(room):
        return free | frozenset(dear)
    chosen = _programmed(dear, worths, prices, room) if dear else frozenset()
    while True:
        better = _improved(chosen, dear, worths, prices, room)
        if better is None:
            return free | chosen
        chosen = better


def _programmed(
    names: Sequence[str], worths: Mapping[str, float], prices: Mapping[str, float], room: float
) -> frozenset[str]:
    """The best of all sets whose prices, rounded up to steps, fit."""
    steps = {name: math.ceil(prices[name] / room * STEPS - 1e-9) for name in names}
    best = np.zeros((len(names) + 1, STEPS + 1))  # by how many of them, and by what is spent
    for i, name in enumerate(names):
        best[i + 1] = best[i]
        taken = best[i, : STEPS + 1 - steps[name]] + worths[name]
        np.maximum(best[i, steps[name] :], taken, out=best[i + 1, steps[name] :])
    chosen, spent = set(), STEPS
    for i in reversed(range(len(names))):
        if best[i + 1, spent] > best[i, spent]:
            chosen.add(names[i])
            spent -= steps[names[i]]
    return frozenset(chosen)


def _improved(
    chosen: frozenset[str],
    names: Sequence[str],
    worths: Mapping[str, float],
    prices: Mapping[str, float],
    room: float,
) -> frozenset[str] | None:
    """The best set that differs by one more, or by one in the place of another; None: no better."""
    others = [name for name in names if name not in chosen]
    ways = [chosen | {name} for name in others]
    ways += [chosen - {old} | {name} for name in others for old in sorted(chosen)]
    fitting = [way for way in ways if _sum(prices, way) <= room]
    best = max(fitting, key=lambda way: _sum(worths, way), default=chosen)
    return best if _sum(worths, best) > _sum(worths, chosen) * (1 + 1e-12) else None


def _sum(values: Mapping[str, float], names: frozenset[str]) -> float:
    return math.fsum(values[name] for name in names)

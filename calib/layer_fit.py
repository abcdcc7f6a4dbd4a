"""From the rows of all layers to the factors of all layers, within one budget.

What is gathered of each layer is planned together, as the budget is shared: which components the
layers have, what they are worth, and how many each layer gets. Factors follow from the plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from calib.allocation import Bits, LayerOffer, Rung, allocate
from calib.budget import Budget
from calib.clipping import Clipping
from calib.costs import component_cost, left_for_branches, uniform_rank
from calib.factors import Factors, Surrogate
from calib.fading import Fading
from calib.graph.linear import LinearLayer
from calib.grouped_fit import SolvedGroups, solved_groups
from calib.grouped_sums import GroupedCovariance, GroupedStatistics, GroupedSums
from calib.packed import PackedNetwork
from calib.precision import TYPICAL_BITS, lost_share
from calib.read_noise import ReadNoise
from calib.reduced_rank import Metric, Solution, metric_from, solve_layer, surrogate_of, with_offset
from calib.rounding import refitted_b, rounded_rows
from calib.row_sums import Float64, Rows, RowSums
from calib.sums import LayerStatistics, LayerSums
from calib.worth import component_worth

TYPICALLY_LOST = lost_share(TYPICAL_BITS)
METRIC_FLOOR = 1.0
"""Of the output metrics, relative to the mean of their diagonals."""

WEIGHT_FLOOR = 1e-3
"""Of the layers' weights, relative to their mean: what moved no reference may move a sample yet."""

NO_LIMITS: Mapping[str, int] = MappingProxyType({})
"""Of the layers' ranks."""


@dataclass(frozen=True)
class LayerFit:
    """What is gathered of one layer before it is solved."""

    layer: LinearLayer
    sums: LayerSums | GroupedSums
    inputs: RowSums | GroupedCovariance | None
    """Of clean rows, also of samples that were not run on the chip."""

    noise: ReadNoise
    clipping: Clipping
    fading: Fading = field(default_factory=Fading)

    @classmethod
    def of(cls, network: PackedNetwork, layer: LinearLayer, *, exact: bool) -> LayerFit:
        """Start with what is known of the layer.

        Args:
            network: the packed network.
            layer: one of its layers.
            exact: whether the rows will be clean, so that float weights, where the bundle keeps
                them, map them to the references exactly.
        """
        noise = ReadNoise(layer.outputs)
        clipping = Clipping(network.input_limits(layer.name))
        nominal = known = layer.weight.astype(np.float64)
        if exact and network.float_weights is not None:
            known = network.float_weights[layer.name].astype(np.float64)
        if layer.groups > 1:
            covariance = GroupedCovariance(layer.groups, layer.inputs) if exact else None
            return cls(layer, GroupedSums(known, nominal), covariance, noise, clipping)
        inputs = RowSums(layer.inputs) if exact else None
        return cls(layer, LayerSums(known[0], nominal[0]), inputs, noise, clipping)

    def add(self, x: Rows, z: Rows, y: Rows) -> None:
        """Add rows: inputs x [n, groups · d], the chip's outputs z and references y [n, outputs].

        The first ones say how much the array has faded, also in what no row shows.

        Raises:
            SolveError: something is not finite.
        """
        if isinstance(self.sums, LayerSums):
            self.sums.known_z = self.fading.first(self.sums.known_z, x, z)
        if self.inputs is None:
            self.clipping.add(x)
        self.sums.add(x, z, y)

    def vary(self, rows: Rows) -> None:
        """Add clean rows [n, groups · d] that say how the layer's inputs vary."""
        if self.inputs is not None:
            self.inputs.add(rows)
            self.clipping.add(rows)

    def statistics(self) -> LayerStatistics | GroupedStatistics:
        """The statistics of all that was added.

        Raises:
            SolveError: no rows were added.
        """
        if isinstance(self.sums, GroupedSums):
            apart = self.inputs if isinstance(self.inputs, GroupedCovariance) else None
            return self.sums.statistics(apart)
        return self.sums.statistics(self.inputs if isinstance(self.inputs, RowSums) else None)


Fits = Mapping[str, LayerFit]


@dataclass(frozen=True)
class SolvedLayer:
    """One layer's statistics and its best components."""

    layer: LinearLayer
    noise: ReadNoise
    statistics: LayerStatistics
    metric: Metric
    solution: Solution
    worth: Float64
    """[k]: the error that each component takes away on samples to come, as the metric weighs it."""

    def surrogate(self, bits: tuple[int, ...]) -> Surrogate:
        """The surrogate with the first components, rounded to these bits."""
        statistics, gain, inputs = self.statistics, self.solution.gain, self.layer.inputs
        free = surrogate_of(statistics, self.metric, self.solution, len(bits), inputs)
        if not bits:
            return free
        a = rounded_rows(free.a.astype(np.float64), statistics.covariance_x, bits)
        found = with_offset(statistics, gain, a, refitted_b(statistics, gain, a))
        return replace(found, bits=bits)

    def beside(self, rank: int, lost: float) -> SolvedLayer:
        """The same with the gain that is best beside a low-rank part; see `solve_layer`."""
        begin = self.solution.gain if rank else None
        solution = solve_layer(self.statistics, self.metric, rank, lost, begin)
        worth = component_worth(self.statistics, self.metric, solution)
        return replace(self, solution=solution, worth=worth)


Solved = Mapping[str, SolvedLayer | SolvedGroups]


@dataclass(frozen=True)
class Plan:
    """What the budget buys: the components of all layers, and how many each layer gets."""

    solved: Solved
    bits: Mapping[str, Bits]
    """Of the components that each layer gets."""

    clipped: frozenset[str] = frozenset()
    """Layers whose inputs the main path's codes clip, so that branches have to read them."""

    def factors(self) -> Factors:
        """The factors of all layers, from the rows that the plan was made of."""
        return Factors({name: self.surrogate(name, one) for name, one in self.solved.items()})

    def surrogate(self, name: str, solved: SolvedLayer | SolvedGroups) -> Surrogate:
        """A layer's, of the planned components, from what was solved of these or of other rows."""
        found = solved.surrogate(self.bits[name])
        return replace(found, beside=bool(found.rank) and name in self.clipped)


def plan_together(network: PackedNetwork, fits: Fits, budget: Budget) -> Plan:
    """Solve all layers and share the budget among them.

    Args:
        network: the packed network, with the layers' metrics.
        fits: of every layer, all that was gathered.
        budget: what the factors may cost.

    Raises:
        CalibError: the budget does not even hold gains and offsets.
        SolveError: rows that are too few or not finite.
    """
    return plan_one_by_one(network, fits.items(), budget)


def plan_one_by_one(
    network: PackedNetwork,
    fits: Iterable[tuple[str, LayerFit]],
    budget: Budget,
    largest: Mapping[str, int] = NO_LIMITS,
) -> Plan:
    """Solve layers as they come, so that no two fits need be there at once; see `plan_together`.

    Args:
        network: the packed network, with the layers' metrics.
        fits: of every layer, all that was gathered.
        budget: what the factors may cost.
        largest: by layer, the most components that it may get; any number where it is not named.
    """
    left = left_for_branches(budget, network.layers)
    rank = int(uniform_rank(left, network.layers))
    solved: dict[str, SolvedLayer | SolvedGroups] = {}
    clipped = set()
    for name, fit in fits:
        solved[name] = solved_layer(network, fit, min(rank, largest.get(name, rank)))
        clipped |= {name} if fit.clipping.matters else set()
    plan = plan_solved(network, solved, budget, largest)
    return replace(plan, clipped=frozenset(clipped))


def plan_solved(
    network: PackedNetwork, solved: Solved, budget: Budget, largest: Mapping[str, int] = NO_LIMITS
) -> Plan:
    """Share a budget among layers that are solved already; see `plan_one_by_one`.

    Raises:
        CalibError: the budget does not even hold gains and offsets.
    """
    left = left_for_branches(budget, network.layers)
    first = allocate(_offers(network, solved, largest), left)
    fitting = {name: one.beside(*head_of(one.worth, first[name])) for name, one in solved.items()}
    bits = allocate(_offers(network, fitting, largest), left)
    final = {
        name: one if bits[name] or not first[name] else one.beside(0, 0.0)
        for name, one in fitting.items()
    }
    return Plan(final, bits)


def _offers(
    network: PackedNetwork, solved: Solved, largest: Mapping[str, int]
) -> dict[str, LayerOffer]:
    weights = layer_weights({name: one.metric.weight for name, one in solved.items()})
    return {
        name: LayerOffer(one.worth[: largest.get(name)] * weights[name], _rungs(network, one.layer))
        for name, one in solved.items()
    }


def _rungs(network: PackedNetwork, layer: LinearLayer) -> tuple[Rung, ...]:
    return tuple(
        Rung(bits, component_cost(layer, bits), 1 - lost_share(bits))
        for bits in sorted(network.factor_bits)
    )


def head_of(worth: Float64, bits: Bits) -> tuple[int, float]:
    """How many components there will be, and the share of them that rounding will lose."""
    rank = len(bits)
    if not rank:
        return 0, 0.0
    lost = worth[:rank] @ np.array([lost_share(one) for one in bits])
    return rank, float(lost / worth[:rank].sum())


def layer_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """How much the layers matter, none of them nothing; all alike where none moved any answer."""
    mean = sum(weights.values()) / len(weights)
    if not mean:
        return dict.fromkeys(weights, 1.0)
    return {name: max(weight, WEIGHT_FLOOR * mean) for name, weight in weights.items()}


def solve_together(network: PackedNetwork, fits: Fits, budget: Budget) -> Factors:
    """Solve all layers within one budget; see `plan_together`."""
    return plan_together(network, fits, budget).factors()


def solved_layer(
    network: PackedNetwork, fit: LayerFit, rank: int, lost: float = TYPICALLY_LOST
) -> SolvedLayer | SolvedGroups:
    """Solve one layer, its gain as it is best beside a low-rank part of the given rank.

    Args:
        network: the packed network, with the layer's metric.
        fit: what was gathered of the layer.
        rank: of the low-rank part.
        lost: the share of it that rounding will lose.

    Raises:
        SolveError: rows that are too few or not finite.
    """
    metric = metric_from(network.metrics[fit.layer.name], METRIC_FLOOR)
    statistics = fit.statistics()
    if isinstance(statistics, GroupedStatistics):
        return solved_groups(fit.layer, fit.noise, statistics, metric, rank)
    solution = solve_layer(statistics, metric, rank, lost)
    worth = component_worth(statistics, metric, solution)
    return SolvedLayer(fit.layer, fit.noise, statistics, metric, solution, worth)

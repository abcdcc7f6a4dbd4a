"""From the rows of all layers to the factors of all layers, within one budget of bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calib.allocation import LayerOffer, allocate
from calib.costs import budget_bytes
from calib.factor_codes import component_bytes
from calib.factors import Factors, Surrogate
from calib.graph.linear import LinearLayer
from calib.packed import PackedNetwork
from calib.reduced_rank import Metric, Solution, metric_from, solve_layer, surrogate_of, with_offset
from calib.rounding import refitted_b, rounded_rows
from calib.sums import CovarianceSums, LayerStatistics, LayerSums, Rows

METRIC_FLOOR = 0.1
"""Of the output metrics, relative to the mean of their diagonals."""


@dataclass(frozen=True)
class LayerFit:
    """What is gathered of one layer before it is solved."""

    layer: LinearLayer
    sums: LayerSums
    inputs: CovarianceSums | None
    """Of clean rows, also of samples that were not run on the chip."""

    @classmethod
    def of(cls, network: PackedNetwork, layer: LinearLayer, *, exact: bool) -> LayerFit:
        """Start with what is known of the layer.

        Args:
            network: the packed network.
            layer: one of its layers.
            exact: whether the rows will be clean, so that float weights, where the bundle keeps
                them, map them to the references exactly.

        Grouped layers get no low-rank part, so their inputs are not looked at.
        """
        if layer.groups > 1:
            nothing = np.zeros((0, layer.outputs))
            return cls(layer, LayerSums(nothing, nothing), None)
        nominal = layer.weight[0].astype(np.float64)
        known = nominal
        if exact and network.float_weights is not None:
            known = network.float_weights[layer.name][0].astype(np.float64)
        return cls(
            layer, LayerSums(known, nominal), CovarianceSums(layer.inputs) if exact else None
        )

    def vary(self, rows: Rows) -> None:
        """Add clean rows [n, d] that say how the layer's inputs vary."""
        if self.inputs is not None:
            self.inputs.add(rows)


@dataclass(frozen=True)
class _Solved:
    statistics: LayerStatistics
    metric: Metric
    solution: Solution


def solve_together(network: PackedNetwork, fits: Mapping[str, LayerFit], rank: int) -> Factors:
    """Solve layers and share the budget among them.

    Args:
        network: the packed network, with the layers' metrics.
        fits: by layer, all that was gathered.
        rank: the budget is the bytes of this rank in every layer with 16-bit factors.

    Raises:
        SolveError: rows that are too few or not finite.
    """
    solved = {name: _solved(network, fit, rank) for name, fit in fits.items()}
    bits = network.factor_bits
    offers = {
        name: LayerOffer(
            one.solution.values * one.metric.weight, component_bytes(fits[name].layer, bits)
        )
        for name, one in solved.items()
    }
    budget = sum(budget_bytes(fit.layer, rank) for fit in fits.values())
    ranks = allocate(offers, budget)
    return Factors(
        {name: _surrogate(fits[name], one, ranks[name], bits) for name, one in solved.items()}
    )


def _solved(network: PackedNetwork, fit: LayerFit, rank: int) -> _Solved:
    statistics = fit.sums.statistics(fit.inputs)
    metric = metric_from(network.metrics[fit.layer.name], METRIC_FLOOR)
    return _Solved(statistics, metric, solve_layer(statistics, metric, rank))


def _surrogate(fit: LayerFit, one: _Solved, rank: int, bits: int) -> Surrogate:
    statistics, solution = one.statistics, one.solution
    free = surrogate_of(statistics, one.metric, solution, rank, fit.layer.inputs)
    if not rank:
        return free
    a = rounded_rows(free.a.astype(np.float64), statistics.covariance_x, bits)
    b = refitted_b(statistics, solution.gain, a)
    return with_offset(statistics, solution.gain, a, b)

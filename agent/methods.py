"""The ways to fit new factors: where each layer's rows come from is all that differs.

`probe` drives one layer at a time with clean inputs: layers are independent, no error accumulates.
`sequential` runs the whole network and fits layer after layer, each after the corrections upstream:
for runtimes that can only be tapped. Both end with the moment pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray

from agent.errors import RuntimeUnavailableError
from agent.measurement import against_references
from agent.runtimes.base import ProbingRuntime, Runtime, can_probe
from calib.factor_codes import rounded
from calib.factors import Factors, Surrogate, no_factors
from calib.graph.linear import LinearLayer
from calib.moments import MomentSums
from calib.packed import PackedNetwork
from calib.reduced_rank import metric_from, solve_layer
from calib.references import in_blocks
from calib.sums import LayerSums

Indices = NDArray[np.integer]
RIDGE = 1e-3
"""Relative to the mean variance of a layer's inputs."""

METRIC_FLOOR = 0.02
"""Relative to the mean of the output metric's diagonal."""


def fit(
    method: str, runtime: Runtime, network: PackedNetwork, chosen: Indices, rank: int
) -> Factors:
    """New factors from the chosen samples, rounded as they will be stored.

    Args:
        method: a name in `METHODS`, or `auto`.
        runtime: what runs the main path.
        network: its references and metric.
        chosen: numbers of reference samples.
        rank: of each layer's low-rank part.

    Raises:
        RuntimeUnavailableError: no such method, or the runtime cannot do it.
    """
    method = resolve(method, runtime)
    factors = METHODS[method](runtime, network, chosen, rank)
    factors = rounded(factors, network.layers, network.factor_bits)
    matched = moment_pass(runtime, network, chosen, factors)
    return rounded(matched, network.layers, network.factor_bits)


def resolve(method: str, runtime: Runtime) -> str:
    """The method that `auto` stands for here; others are checked.

    Raises:
        RuntimeUnavailableError: no such method, or the runtime cannot do it.
    """
    if method == "auto":
        return "probe" if can_probe(runtime) else "sequential"
    if method not in METHODS:
        raise RuntimeUnavailableError(
            f"there is no method {method!r}; choose one of auto, {', '.join(METHODS)}"
        )
    if method == "probe" and not can_probe(runtime):
        raise RuntimeUnavailableError(
            "this runtime cannot drive single layers; choose --method sequential"
        )
    return method


def _sums(layer: LinearLayer, samples: int, positions: int) -> LayerSums:
    """Sums for a layer; grouped ones get no low-rank part, so their inputs are not looked at."""
    inputs = layer.inputs if layer.groups == 1 else 0
    return LayerSums(inputs, layer.outputs, samples * min(positions, layer.positions))


def _solved(network: PackedNetwork, layer: LinearLayer, sums: LayerSums, rank: int) -> Surrogate:
    metric = metric_from(network.metrics[layer.name], METRIC_FLOOR)
    return solve_layer(sums.statistics(RIDGE), metric, rank, layer.inputs)


def _flat(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows.reshape(-1, rows.shape[-1])


def fit_by_probe(runtime: Runtime, network: PackedNetwork, chosen: Indices, rank: int) -> Factors:
    """Each layer alone, on its clean inputs."""
    probing = cast("ProbingRuntime", runtime)
    sums = {
        layer.name: _sums(layer, len(chosen), network.positions_per_sample)
        for layer in network.layers
    }
    for block in in_blocks(network.references, chosen):
        for layer in network.layers:
            clean = block.layers[layer.name]
            main = probing.probe(layer, clean.rows)
            sums[layer.name].add(_flat(clean.rows), _flat(main), _flat(clean.outputs))
    return Factors(
        {layer.name: _solved(network, layer, sums[layer.name], rank) for layer in network.layers}
    )


def fit_sequentially(
    runtime: Runtime, network: PackedNetwork, chosen: Indices, rank: int
) -> Factors:
    """Layer after layer, each on the inputs that the corrected layers before it give."""
    factors = no_factors(network.layers)
    for layer in network.layers:
        sums = _sums(layer, len(chosen), network.positions_per_sample)
        for block in in_blocks(network.references, chosen):
            taps = {layer.name: block.positions[layer.name]}
            seen = runtime.run(block.inputs, factors, taps).layers[layer.name]
            wanted = block.layers[layer.name].outputs
            sums.add(_flat(seen.rows), _flat(seen.main), _flat(wanted))
        factors = factors.replaced(layer.name, _solved(network, layer, sums, rank))
    return factors


def moment_pass(
    runtime: Runtime, network: PackedNetwork, chosen: Indices, factors: Factors
) -> Factors:
    """Match each channel's mean and spread, seen in one run of the corrected chip."""
    sums = {layer.name: MomentSums() for layer in network.layers}
    for block in in_blocks(network.references, chosen):
        trace = runtime.run(block.inputs, factors, block.positions)
        for name, (outputs, reference) in against_references(trace, block).items():
            sums[name].add(outputs, reference)
    return Factors({name: total.matched(factors[name]) for name, total in sums.items()})


METHODS: Mapping[str, Callable[[Runtime, PackedNetwork, Indices, int], Factors]] = {
    "probe": fit_by_probe,
    "sequential": fit_sequentially,
}

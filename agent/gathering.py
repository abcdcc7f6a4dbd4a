"""Gathering rows of every layer: what it was given, what it made of it, what it should have made.

Where single layers can be driven they get their clean inputs. Else the whole network runs with
taps, and what a layer should have made of the inputs that it really got follows from its nominal
weights. Some rows are read twice, for the read noise. Where float weights are kept, single layers
are driven with mixed rows besides (`calib.mixed_rows`), so that few samples are enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
from numpy.typing import NDArray

from agent.measurement import expected_outputs
from agent.runtimes.base import (
    Float32,
    ProbingRuntime,
    Runtime,
    Trace,
    can_probe,
    largest_ranks,
)
from calib.budget import Budget
from calib.errors import SolveError
from calib.factors import no_factors
from calib.graph.linear import multiply
from calib.layer_fit import LayerFit, Plan, plan_one_by_one
from calib.mixed_rows import missing_rows, mixed_rows
from calib.packed import PackedNetwork
from calib.references import BLOCK_SAMPLES, LayerReference, fit_indices, in_blocks

Indices = NDArray[np.integer]


def gathered(
    runtime: Runtime, network: PackedNetwork, chosen: Indices
) -> Iterator[tuple[str, LayerFit]]:
    """By layer, the rows of the chosen reference samples, as the layer's own error shows in them.

    Each is forgotten here once it is handed out, so that layers can be solved one by one.

    Raises:
        SolveError: no samples, or the chip makes numbers that are not finite.
    """
    if not len(chosen):
        raise SolveError("there are no rows to fit a layer to; choose at least one sample")
    exact = can_probe(runtime)
    fits = {layer.name: LayerFit.of(network, layer, exact=exact) for layer in network.layers}
    if not exact:
        _tap(runtime, network, chosen, fits)
        yield from _one_by_one(fits)
        return
    wanted, usable = set(chosen.tolist()), fit_indices(network.references)
    blocks = -(-len(usable) // BLOCK_SAMPLES)
    sources: dict[str, list[Float32]] = {name: [] for name in fits}
    for block in in_blocks(network.references, usable):
        run_on_chip = np.array([int(index) in wanted for index in block.indices])
        for fit in fits.values():
            clean = block.layers[fit.layer.name]
            fit.vary(flat(clean.rows))
            if run_on_chip.any():
                _probe(cast("ProbingRuntime", runtime), fit, clean, run_on_chip)
            sources[fit.layer.name].append(_some(clean.rows, -(-fit.layer.inputs // blocks)))
    generator = np.random.default_rng(network.seed)
    for name, fit in _one_by_one(fits):
        some = np.concatenate(sources.pop(name))
        _probe_mixed(cast("ProbingRuntime", runtime), network, fit, some, generator)
        yield name, fit


def _one_by_one(fits: dict[str, LayerFit]) -> Iterator[tuple[str, LayerFit]]:
    for name in list(fits):
        yield name, fits.pop(name)


def planned(runtime: Runtime, network: PackedNetwork, chosen: Indices, budget: Budget) -> Plan:
    """What the budget buys on this chip, judged from the chosen reference samples.

    Raises:
        CalibError: the budget does not even hold gains and offsets.
        SolveError: the chip makes numbers that are not finite.
    """
    fits = gathered(runtime, network, chosen)
    return plan_one_by_one(network, fits, budget, largest_ranks(runtime))


def flat(rows: Float32) -> Float32:
    """Rows [n, p, ...] as [n p, ...], the groups of a row side by side."""
    return rows.reshape(rows.shape[0] * rows.shape[1], -1)


def _probe(
    runtime: ProbingRuntime, fit: LayerFit, clean: LayerReference, which: NDArray[np.bool_]
) -> None:
    """Drive one layer with the clean inputs of some samples; read the first of them again."""
    rows = clean.rows[which]
    main = runtime.probe(fit.layer, rows)
    fit.add(flat(rows), flat(main), flat(clean.outputs[which]))
    again = -(-fit.noise.wanting // rows.shape[1])
    if again:
        fit.noise.add(flat(runtime.probe(fit.layer, rows[:again]) - main[:again]))


def _some(rows: Float32, most: int) -> Float32:
    """Of rows [n, p, groups, d] some, evenly spread: [k, groups, d]."""
    every = rows.reshape(-1, *rows.shape[2:])
    return every[:: -(-len(every) // most)].copy()


def _probe_mixed(
    runtime: ProbingRuntime,
    network: PackedNetwork,
    fit: LayerFit,
    some: Float32,
    generator: np.random.Generator,
) -> None:
    """Drive a layer that has few rows with mixed ones; what it should make of them is known."""
    count = missing_rows(fit.sums.count, fit.layer.inputs)
    if network.float_weights is None or not count:
        return
    weight = network.float_weights[fit.layer.name].astype(np.float32)
    for rows in mixed_rows(some, count, generator):
        wanted = multiply(rows, weight) + fit.layer.bias
        main = runtime.probe(fit.layer, rows)
        fit.add(*(part.reshape(len(rows), -1) for part in (rows, main, wanted)))


def _tap(
    runtime: Runtime, network: PackedNetwork, chosen: Indices, fits: dict[str, LayerFit]
) -> None:
    """Run the uncorrected network; run the first samples again."""
    nothing = no_factors(network.layers)
    for block in in_blocks(network.references, chosen):
        trace = runtime.run(block.inputs, nothing, block.positions)
        for fit in fits.values():
            name = fit.layer.name
            seen, clean = trace.layers[name], block.layers[name]
            wanted = expected_outputs(fit.layer, seen, clean)
            fit.add(flat(seen.rows), flat(seen.main), flat(wanted))
        if any(fit.noise.wanting for fit in fits.values()):
            _read_again(runtime.run(block.inputs, nothing, block.positions), trace, fits)


def _read_again(second: Trace, first: Trace, fits: dict[str, LayerFit]) -> None:
    """What two runs differ in beyond what a layer's nominal weights pass on."""
    for fit in fits.values():
        one, other = first.layers[fit.layer.name], second.layers[fit.layer.name]
        passed_on = multiply(other.rows - one.rows, fit.layer.weight)
        fit.noise.add(flat(other.main - one.main - passed_on))

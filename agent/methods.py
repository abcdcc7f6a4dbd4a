"""The ways to fit new factors: where each layer's rows come from is all that differs.

`probe` drives one layer at a time with clean inputs: layers are independent, no error accumulates.
`sequential` runs the whole network and fits layer after layer, each after the corrections upstream:
for runtimes that can only be tapped. Both end with the moment pass. `gradient` trains the factors
that one of these finds through the network, `gradient-from-zero` factors that do nothing yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray

from agent.errors import RuntimeUnavailableError
from agent.gathering import flat
from agent.measurement import driven
from agent.runtimes.base import (
    Float32,
    LayerwiseRuntime,
    Runtime,
    can_probe,
    can_train,
    is_layerwise,
)
from calib.factor_codes import rounded
from calib.factors import Factors, no_factors
from calib.graph.linear import LinearLayer
from calib.layer_fit import LayerFit, Plan, head_of, solved_layer
from calib.moments import matching
from calib.packed import PackedNetwork
from calib.references import in_blocks

Indices = NDArray[np.integer]
Fit = Callable[[Runtime, PackedNetwork, Indices, Plan], Factors]
"""From a runtime, what it runs, the chosen samples and what the budget buys to factors."""


def fit(
    method: str, runtime: Runtime, network: PackedNetwork, chosen: Indices, plan: Plan
) -> Factors:
    """New factors from the chosen samples, rounded as they will be stored.

    Args:
        method: a name in `METHODS`, or `auto`.
        runtime: what runs the main path.
        network: its references and metric.
        chosen: numbers of reference samples.
        plan: what the budget buys, from `agent.gathering`.

    Raises:
        RuntimeUnavailableError: no such method, or the runtime cannot do it.
    """
    return METHODS[resolve(method, runtime, network)](runtime, network, chosen, plan)


def resolve(method: str, runtime: Runtime, network: PackedNetwork) -> str:
    """The method that `auto` stands for here; others are checked.

    Raises:
        RuntimeUnavailableError: no such method, or the runtime cannot do it.
    """
    if method not in {"auto", *METHODS}:
        raise RuntimeUnavailableError(
            f"there is no method {method!r}; choose one of auto, {', '.join(METHODS)}"
        )
    if not network.has_samples:
        return _for_moments(method, runtime)
    if method == "auto":
        return _closed_form(runtime)
    if method == "probe" and not can_probe(runtime):
        raise RuntimeUnavailableError(
            "this runtime cannot drive single layers; choose --method sequential"
        )
    if method in GRADIENT_METHODS and not can_train(runtime):
        raise RuntimeUnavailableError(
            "this runtime's layers cannot stand in a graph, so nothing can be trained through "
            f"them; choose --method {_closed_form(runtime)}"
        )
    return method


def _for_moments(method: str, runtime: Runtime) -> str:
    """Where there are no samples, single layers are all that can be driven."""
    driven(runtime)
    if method not in {"auto", "probe"}:
        raise RuntimeUnavailableError(
            f"--method {method} runs samples through the network, and the bundle holds moments "
            "alone; choose --method probe, or pack the model with --references-as recomputed"
        )
    return "probe"


def _closed_form(runtime: Runtime) -> str:
    return "probe" if can_probe(runtime) else "sequential"


def _finished(solve: Fit) -> Fit:
    """A closed form, matched in its moments, rounded as it will be stored."""

    def finished(runtime: Runtime, network: PackedNetwork, chosen: Indices, plan: Plan) -> Factors:
        factors = solve(runtime, network, chosen, plan)
        # A lies on its grid already. B is rounded once, when the moment pass has scaled it.
        matched = moment_pass(runtime, network, chosen, factors)
        return rounded(matched, network.layers)

    return finished


def fit_by_probe(
    _runtime: Runtime, _network: PackedNetwork, _chosen: Indices, plan: Plan
) -> Factors:
    """Each layer alone, on its clean inputs: a probing runtime's plan was made of just these."""
    return plan.factors()


def fit_sequentially(
    runtime: Runtime, network: PackedNetwork, chosen: Indices, plan: Plan
) -> Factors:
    """Layer after layer, each of its planned rank on what the corrected layers before it give."""
    factors = no_factors(network.layers)
    for layer in network.layers:
        fit_of = LayerFit.of(network, layer, exact=False)
        for block in in_blocks(network.references, chosen, with_rows=False):
            taps = {layer.name: block.positions[layer.name]}
            seen = runtime.run(block.inputs, factors, taps).layers[layer.name]
            wanted = block.layers[layer.name].outputs
            fit_of.add(flat(seen.rows), flat(seen.main), flat(wanted))
        bits, worth = plan.bits[layer.name], plan.solved[layer.name].worth
        alone = solved_layer(network, fit_of, *head_of(worth, bits))
        factors = factors.replaced(layer.name, plan.surrogate(layer.name, alone))
    return factors


def moment_pass(
    runtime: Runtime, network: PackedNetwork, chosen: Indices, factors: Factors
) -> Factors:
    """Match each channel's mean and spread, layer after layer of the corrected chip.

    Without samples nothing can be run, and the factors stay. (Matched on drawn rows, each layer by
    itself, or on network inputs drawn from moments, they were no better: docs/design.md.)
    """
    if not network.has_samples:
        return factors
    blocks = list(in_blocks(network.references, chosen, with_rows=False))
    samples = np.concatenate([block.inputs for block in blocks])
    matched = dict(factors.surrogates)

    def adjust(layer: LinearLayer, outputs: Float32) -> tuple[Float32, Float32]:
        positions = np.concatenate([block.positions[layer.name] for block in blocks])
        wanted = np.concatenate([block.layers[layer.name].outputs for block in blocks])
        seen = outputs if outputs.shape == wanted.shape else _at(outputs, positions)
        scale, shift = matching(seen, wanted)
        matched[layer.name] = matched[layer.name].then_scaled(scale, shift)
        return scale, shift

    if is_layerwise(runtime):
        cast("LayerwiseRuntime", runtime).run_adjusting(samples, factors, adjust)
        return Factors(matched)
    for layer in network.layers:
        taps = {layer.name: np.concatenate([block.positions[layer.name] for block in blocks])}
        trace = runtime.run(samples, Factors(matched), taps)
        adjust(layer, trace.layers[layer.name].outputs)
    return Factors(matched)


def _at(outputs: Float32, positions: Indices) -> Float32:
    return outputs[np.arange(len(outputs))[:, None], positions]


def fit_by_gradient(
    runtime: Runtime, network: PackedNetwork, chosen: Indices, plan: Plan
) -> Factors:
    """Train the closed form's factors through the network."""
    from agent.gradient import FROM_CLOSED_FORM, refined  # noqa: PLC0415 - others do not train

    begin = METHODS[_closed_form(runtime)](runtime, network, chosen, plan)
    return refined(runtime, network, chosen, begin, FROM_CLOSED_FORM).factors


def fit_from_zero(runtime: Runtime, network: PackedNetwork, chosen: Indices, plan: Plan) -> Factors:
    """Train factors that change nothing yet; each layer has the rank that the plan gives it."""
    from agent.gradient import FROM_ZERO, refined  # noqa: PLC0415 - others do not train
    from calib.surrogate_training import zero_start  # noqa: PLC0415

    begin = zero_start(network.layers, plan.bits, np.random.default_rng(network.seed))
    begin = rounded(begin, network.layers)
    return refined(runtime, network, chosen, begin, FROM_ZERO).factors


METHODS: Mapping[str, Fit] = {
    "probe": _finished(fit_by_probe),
    "sequential": _finished(fit_sequentially),
    "gradient": fit_by_gradient,
    "gradient-from-zero": fit_from_zero,
}
GRADIENT_METHODS = frozenset({"gradient", "gradient-from-zero"})
"""Those that need a `TrainableRuntime`."""

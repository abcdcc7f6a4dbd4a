"""Measuring a chip against the references: layer errors, judgement, samples to choose from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from agent.errors import RuntimeUnavailableError
from agent.runtimes.base import Float32, LayerTrace, ProbingRuntime, Runtime, Trace, can_probe
from calib.factors import Factors
from calib.graph.linear import LinearLayer, multiply
from calib.layer_error import LayerErrors
from calib.packed import PackedNetwork
from calib.references import (
    BLOCK_SAMPLES,
    LayerReference,
    ReferenceBlock,
    held_back_indices,
    in_blocks,
)
from calib.verify import Judgement

if TYPE_CHECKING:
    from calib.candidates import Candidates

Pairs = Mapping[str, tuple[Float32, Float32]]


class Measuring:
    """A measurement in parts: held-back samples, as many at a time as the caller likes.

    Args:
        runtime: the chip.
        network: what it runs.
        factors: with which.

    Raises:
        RuntimeUnavailableError: there are no samples, and single layers cannot be driven.
    """

    def __init__(self, runtime: Runtime, network: PackedNetwork, factors: Factors) -> None:
        """Nothing has been measured yet."""
        self._runtime, self._network, self._factors = runtime, network, factors
        self._left = held_back_indices(network.references)
        self._errors = LayerErrors()
        self._losses: list[NDArray[np.floating]] = []
        self._predicted = self._driven = None
        if not network.has_samples:
            from calib.predicted_loss import PredictedLoss  # noqa: PLC0415 - seldom needed

            self._predicted, self._driven = PredictedLoss.of(network.metrics), driven(runtime)

    @property
    def left(self) -> int:
        """How many samples, or draws, are still to be measured."""
        return len(self._left)

    def add(self, count: int) -> None:
        """Measure the next so many, at least one of them, together."""
        some, self._left = self._left[:count], self._left[count:]
        block = self._network.references.block(some, with_rows=self._driven is not None)
        pairs = self._run(block) if self._driven is None else self._drive(self._driven, block)
        self._errors.add(pairs)

    def judgement(self) -> Judgement:
        """What all that was measured says."""
        errors = self._errors.errors()
        if self._predicted is not None:
            return Judgement(self._predicted.loss(), errors)
        return Judgement(float(np.concatenate(self._losses).mean()), errors)

    def _run(self, block: ReferenceBlock) -> Pairs:
        """Run samples and compare answers and layers."""
        trace = self._runtime.run(block.inputs, self._factors, block.positions)
        self._losses.append(self._network.decision.losses(block.answers, trace.answers))
        return against_references(trace, block)

    def _drive(self, runtime: ProbingRuntime, block: ReferenceBlock) -> Pairs:
        """Drive each layer with draws; what that does to answers is predicted."""
        pairs = {
            layer.name: _probed(runtime, layer, block.layers[layer.name], self._factors)
            for layer in runtime.layers
        }
        assert self._predicted is not None
        self._predicted.add(pairs)
        return pairs


def judge_chip(runtime: Runtime, network: PackedNetwork, factors: Factors) -> Judgement:
    """Run the held-back samples and compare answers and layers with the references.

    Raises:
        RuntimeUnavailableError: there are no samples, and single layers cannot be driven.
    """
    measuring = Measuring(runtime, network, factors)
    while measuring.left:
        measuring.add(BLOCK_SAMPLES)
    return measuring.judgement()


def driven(runtime: Runtime) -> ProbingRuntime:
    """The runtime, if its single layers can be driven: all that moments are good for.

    Raises:
        RuntimeUnavailableError: they cannot.
    """
    if can_probe(runtime):
        return cast("ProbingRuntime", runtime)
    raise RuntimeUnavailableError(
        "the bundle holds moments and no samples, and this runtime cannot drive single layers with "
        "rows that are drawn from them; pack the model with --references-as stored"
    )


def against_references(trace: Trace, block: ReferenceBlock) -> Pairs:
    """By layer: what the chip made, and what it should have made."""
    return {
        name: (layer.outputs, block.layers[name].outputs) for name, layer in trace.layers.items()
    }


def candidates(
    runtime: Runtime,
    network: PackedNetwork,
    factors: Factors,
    indices: NDArray[np.integer],
    *,
    with_answers: bool = False,
) -> Candidates:
    """What is known of samples that may be chosen: above all, what the chip does to each.

    Where moments stand for samples there is nobody to choose from.

    Args:
        runtime: the chip.
        network: what it runs.
        factors: the active ones.
        indices: of reference samples, none held back.
        with_answers: whether the chip's answers are wanted, too; a runtime that is only tapped
            gives them anyway, another one runs each sample once for them.
    """
    from calib.candidates import look_at, nobody, together  # noqa: PLC0415 - to calibrate alone

    if not network.has_samples:
        return nobody()
    parts = []
    for block in in_blocks(network.references, indices, with_gradients=True):
        errors, answers = _looked_at(runtime, block, factors, with_answers=with_answers)
        parts.append(look_at(runtime.layers, block, errors, network.decision, answers))
    return together(parts)


def local_errors(runtime: Runtime, block: ReferenceBlock, factors: Factors) -> dict[str, Float32]:
    """What each layer itself does wrong, [n, p, m]: upstream errors not counted again.

    Where single layers can be driven they are given their clean inputs; else the part of a trace's
    error that the nominal weights pass on from the layer's input is taken away.
    """
    return _looked_at(runtime, block, factors, with_answers=False)[0]


def _looked_at(
    runtime: Runtime, block: ReferenceBlock, factors: Factors, *, with_answers: bool
) -> tuple[dict[str, Float32], Float32 | None]:
    """The layers' local errors, and the chip's answers where they are wanted or there anyway."""
    if can_probe(runtime):
        errors = {
            layer.name: _probed_error(runtime, layer, block.layers[layer.name], factors)  # type: ignore[arg-type]  # can_probe says so
            for layer in runtime.layers
        }
        return errors, runtime.run(block.inputs, factors, {}).answers if with_answers else None
    trace = runtime.run(block.inputs, factors, block.positions)
    errors = {
        layer.name: trace.layers[layer.name].outputs
        - expected_outputs(layer, trace.layers[layer.name], block.layers[layer.name])
        for layer in runtime.layers
    }
    return errors, trace.answers


def expected_outputs(layer: LinearLayer, seen: LayerTrace, clean: LayerReference) -> Float32:
    """What a layer should make of the inputs it was given: [n, p, m], by its nominal weights."""
    return np.asarray(clean.outputs + multiply(seen.rows - clean.rows, layer.weight))


def _probed_error(
    runtime: ProbingRuntime, layer: LinearLayer, clean: LayerReference, factors: Factors
) -> Float32:
    outputs, wanted = _probed(runtime, layer, clean, factors)
    return outputs - wanted


def _probed(
    runtime: ProbingRuntime, layer: LinearLayer, clean: LayerReference, factors: Factors
) -> tuple[Float32, Float32]:
    """What one layer makes of its clean inputs, and what it should make of them."""
    main = runtime.probe(layer, clean.rows)
    return factors[layer.name].apply(main, clean.rows), clean.outputs

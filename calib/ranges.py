"""Ranges of the activations that go into the array, found on reference samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from calib.errors import GraphError
from calib.given import GIVEN, Prescribed
from calib.graph.executor import Replacement, run
from calib.graph.linear import LinearLayer, multiply
from calib.graph.model import Graph
from calib.packed import RangeChoice
from calib.references import BLOCK_SAMPLES
from calib.schemes.activations import RANGE_METHODS, ActivationCode

Float32 = NDArray[np.float32]
VALUES_PER_SAMPLE = 2048
"""Looked at of each layer's input in each sample, besides its extremes."""


def input_values(
    graph: Graph,
    layers: Sequence[LinearLayer],
    samples: Float32,
    generator: np.random.Generator,
    spans: Mapping[str, tuple[str, ...]] | None = None,
) -> dict[str, Float32]:
    """Values of each layer's input over the samples, extremes included.

    Args:
        graph: the network.
        layers: its linear layers.
        samples: [n, ...]
        generator: draws which values are looked at.
        spans: by layer, the tensors that are looked at instead of its input alone; layers that
            name the same ones get the same values.

    Raises:
        GraphError: the network's activations are not finite.
    """
    looked_at = {layer.name: (layer.input,) for layer in layers} | dict(spans or {})
    inputs = {layer.input for layer in layers}
    names = sorted(inputs.union(*looked_at.values()))
    found: dict[tuple[str, ...], list[Float32]] = {key: [] for key in looked_at.values()}
    for start in range(0, len(samples), BLOCK_SAMPLES):
        values = run(graph, samples[start : start + BLOCK_SAMPLES], keep=names)
        for layer in layers:
            if not np.isfinite(values[layer.input]).all():
                raise GraphError(f"layer {layer.name} is given values that are not finite")
        for tensors, parts in found.items():
            parts += [_few(values[tensor].reshape(-1), generator) for tensor in tensors]
    joined = {tensors: np.concatenate(parts) for tensors, parts in found.items()}
    return {name: joined[tensors] for name, tensors in looked_at.items()}


def _few(flat: Float32, generator: np.random.Generator) -> Float32:
    """Some values, and the extremes."""
    picked = generator.integers(flat.size, size=BLOCK_SAMPLES * VALUES_PER_SAMPLE)
    few = flat if flat.size <= picked.size else flat[picked]
    return np.append(few, [flat.min(), flat.max()])


def nominal_products(
    layers: Sequence[LinearLayer], activations: Mapping[str, ActivationCode]
) -> dict[str, Replacement]:
    """The linear layers as an ideal array computes them: quantised inputs, exact products."""

    def product(layer: LinearLayer, code: ActivationCode) -> Replacement:
        def replacement(x: Float32) -> Float32:
            rows = layer.rows(code.decode(code.encode(x)))
            return layer.tensor(multiply(rows, layer.weight) + layer.bias)

        return replacement

    return {layer.name: product(layer, activations[layer.name]) for layer in layers}


def choose_ranges(  # noqa: PLR0913  # what is prescribed comes on top
    graph: Graph,
    layers: Sequence[LinearLayer],
    samples: Float32,
    bits: int,
    generator: np.random.Generator,
    *,
    prescribed: Prescribed | None = None,
) -> tuple[dict[str, ActivationCode], RangeChoice]:
    """Find ranges by each method and keep the method whose network answers best.

    The weights stay float meanwhile: the surrogate will repair theirs, not what a range clips.

    Args:
        graph: the float network up to its logits.
        layers: its linear layers.
        samples: [n, ...]
        bits: of the activation codes.
        generator: draws which values are looked at.
        prescribed: codes that are taken as they are, or what they have to span.

    Raises:
        GraphError: the network's activations or answers are not finite.
    """
    fixed = prescribed or Prescribed()
    values = input_values(graph, layers, samples, generator, fixed.spans)
    clean = _answers(graph, samples, {})
    if not np.isfinite(clean).all():
        raise GraphError(f"network {graph.name!r} gives answers that are not finite; check it")
    methods = RANGE_METHODS if fixed.codes is None else {}
    codes = {
        method: {name: find(seen, bits) for name, seen in values.items()}
        for method, find in methods.items()
    }
    if fixed.codes is not None:
        codes[GIVEN] = dict(fixed.codes.activations)
    errors = {
        method: _relative(_answers(graph, samples, nominal_products(layers, found)), clean)
        for method, found in codes.items()
    }
    best = min(errors, key=errors.__getitem__)
    return codes[best], RangeChoice(best, errors)


def _answers(graph: Graph, samples: Float32, replace: Mapping[str, Replacement]) -> Float32:
    blocks = [
        run(graph, samples[start : start + BLOCK_SAMPLES], replace=replace)[graph.output]
        for start in range(0, len(samples), BLOCK_SAMPLES)
    ]
    return np.concatenate(blocks)


def _relative(answers: Float32, clean: Float32) -> float:
    power = float(np.linalg.norm(clean))
    return float(np.linalg.norm(answers - clean)) / power if power else 0.0

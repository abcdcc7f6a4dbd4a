"""Each layer's output metric: how much an error of its outputs moves the network's answer.

H = E Σ_positions Σ_c g gᵀ, g the gradient of the c-th centred logit with respect to the layer's
output (a generalised Gauss-Newton form). With many outputs, random signs over all of them stand in
for the single ones: the expectation is the same (Hutchinson 1990). Its leading eigenvectors are
kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calib.decision import Decision
from calib.graph.executor import gradients, run
from calib.graph.linear import LinearLayer
from calib.graph.model import Graph
from calib.references import BLOCK_SAMPLES

Float32 = NDArray[np.float32]
LARGEST_SEEDS = 16
LARGEST_COLUMNS = 32


def metric_columns(
    graph: Graph,
    layers: Sequence[LinearLayer],
    samples: Float32,
    decision: Decision,
    generator: np.random.Generator,
) -> dict[str, NDArray[np.float16]]:
    """The leading columns [m, k] of each layer's metric, all scaled by one number to at most 1."""
    sums = {layer.name: np.zeros((layer.outputs, layer.outputs)) for layer in layers}
    outputs = [layer.output for layer in layers]
    for start in range(0, len(samples), BLOCK_SAMPLES):
        values = run(graph, samples[start : start + BLOCK_SAMPLES], keep=None)
        answers = values[graph.output]
        for seed in _seeds(answers[0].size, generator, centred=decision.classes):
            spread = np.broadcast_to(seed.reshape(answers.shape[1:]), answers.shape)
            pulled = gradients(graph, values, spread, outputs)
            for layer in layers:
                rows = layer.output_rows(pulled[layer.output]).reshape(-1, layer.outputs)
                wide = rows.astype(np.float64)  # squares of tiny gradients must not vanish
                sums[layer.name] += wide.T @ wide
    columns = {name: _columns(total) for name, total in sums.items()}
    largest = max(float(np.abs(found).max()) for found in columns.values()) or 1.0
    with np.errstate(under="ignore"):  # next to the largest, such a number is zero
        return {name: (found / largest).astype(np.float16) for name, found in columns.items()}


def _seeds(outputs: int, generator: np.random.Generator, *, centred: bool) -> Float32:
    """Directions of the answer whose gradients are looked at: [k, outputs]."""
    if outputs <= LARGEST_SEEDS:
        seeds = np.eye(outputs, dtype=np.float32)
    else:
        seeds = generator.choice(np.array([-1, 1], np.float32), size=(LARGEST_SEEDS, outputs))
    return seeds - seeds.mean(axis=1, keepdims=True) if centred else seeds


def _columns(total: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(total)
    columns = vectors * np.sqrt(np.maximum(values, 0))
    return np.asarray(columns[:, ::-1][:, :LARGEST_COLUMNS])

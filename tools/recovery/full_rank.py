"""The limit: a whole matrix beside each layer, fitted in closed form on clean inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.runtimes.cim import CimRuntime
from calib.graph.executor import Replacement, run
from calib.graph.linear import LinearLayer, multiply
from recovery.oracle import BLOCK, by_group, second_moments
from recovery.outcome import Outcome, priced
from recovery.samples import Float32
from recovery.subject import BATCH, Buffered, Subject

Float64 = NDArray[np.float64]
RIDGE = 1e-3
"""Relative to the mean variance of an input."""


@dataclass(frozen=True)
class Whole:
    """What stands beside one layer: y + x D + c."""

    matrix: Float32
    """D, [groups, d, m]"""

    offset: Float32
    """c, [outputs]"""


def ridge_map(moment: Float64, mean: Float64, cross: Float64, error: Float64) -> Float64:
    """The map D [..., d, m] of least ‖r − x D − c‖² plus a ridge, c being free.

    Args:
        moment: E[xᵀ x], [..., d, d].
        mean: E[x], [..., d].
        cross: E[xᵀ r], [..., d, m].
        error: E[r], [..., m].
    """
    covariance = moment - mean[..., :, None] * mean[..., None, :]
    power = np.trace(covariance, axis1=-2, axis2=-1) / mean.shape[-1]
    ridge = RIDGE * np.maximum(power, np.finfo(np.float32).tiny)
    regular = covariance + ridge[..., None, None] * np.eye(mean.shape[-1])
    return np.linalg.solve(regular, cross - mean[..., :, None] * error[..., None, :])


def full_rank(subject: Subject) -> Outcome:
    """A whole matrix and an offset beside every layer, grouped ones too."""
    runtime, layers = subject.runtime(), subject.network.layers
    second_moments(subject.shared)
    found = {layer.name: _fit(subject.shared, runtime, layer) for layer in layers}
    price = priced(layers, lambda layer: (layer.weight.size + layer.outputs, layer.weight.size))
    return Outcome(None, price, lambda x: _answers(subject, found, x))


def _fit(shared: Buffered, runtime: CimRuntime, layer: LinearLayer) -> Whole:
    x, y = shared.clean[layer.input], layer.output_rows(shared.clean[layer.output])
    groups, d, m = layer.weight.shape
    cross, mean, error = np.zeros((groups, d, m)), np.zeros((groups, d)), np.zeros((groups, m))
    for start in range(0, len(x), BLOCK):
        rows = layer.rows(x[start : start + BLOCK])
        wrong = y[start : start + BLOCK] - runtime.probe(layer, rows)
        flat, missed = by_group(rows), by_group(wrong.reshape(*wrong.shape[:2], groups, m))
        cross += flat.swapaxes(1, 2) @ missed
        mean += flat.sum(axis=1, dtype=np.float64)
        error += missed.sum(axis=1, dtype=np.float64)
    n = len(x) * layer.positions
    mean, error = mean / n, error / n
    matrix = ridge_map(second_moments(shared)[layer.name], mean, cross / n, error)
    offset = error - np.einsum("gd,gdm->gm", mean, matrix)
    return Whole(matrix.astype(np.float32), offset.reshape(-1).astype(np.float32))


def _answers(subject: Subject, found: Mapping[str, Whole], x: Float32) -> Float32:
    """The corrected network's logits, a few samples at a time."""
    graph, main = subject.network.decision_graph, subject.runtime().main_paths()
    replace = {
        layer.name: _corrected(layer, main[layer.name], found[layer.name])
        for layer in subject.network.layers
    }
    blocks = (x[start : start + BATCH] for start in range(0, len(x), BATCH))
    return np.concatenate([run(graph, some, replace=replace)[graph.output] for some in blocks])


def _corrected(layer: LinearLayer, main: Replacement, whole: Whole) -> Replacement:
    def corrected(x: Float32) -> Float32:
        branch = multiply(layer.rows(x), whole.matrix) + whole.offset
        return np.asarray(main(x) + layer.tensor(branch))

    return corrected

"""The truncated decomposition of the true weight error, by one who knows the chip's weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calib.factors import Factors, Surrogate, identity
from calib.graph.linear import LinearLayer
from recovery.chip_weights import effective_weights
from recovery.outcome import Outcome, branch_numbers, priced
from recovery.subject import Buffered, Subject

Float64 = NDArray[np.float64]
SMALLEST = 1e-9
"""Of the input's second moment, relative to its largest: less counts as never driven."""

RANK = 8
BLOCK = 8


def best_low_rank(error: Float64, moment: Float64, rank: int) -> tuple[Float64, Float64]:
    """A [rank, d] and B [m, rank] of least E ‖x error − x Aᵀ Bᵀ‖².

    QERA's exact form (arXiv 2410.06040, theorem 1): the singular values of R^½ error, R being the
    second moment E[xᵀ x] of the inputs.

    Args:
        error: true weights less the chip's, [d, m].
        moment: R, [d, d].
        rank: how many components.
    """
    values, vectors = np.linalg.eigh(moment)
    driven = values > SMALLEST * values[-1]
    roots, vectors = np.sqrt(values[driven]), vectors[:, driven]
    left, sizes, right = np.linalg.svd(roots[:, None] * (vectors.T @ error), full_matrices=False)
    a = (vectors / roots) @ left[:, :rank]
    return a.T, (sizes[:rank, None] * right[:rank]).T


def second_moments(shared: Buffered) -> dict[str, Float64]:
    """By layer E[xᵀ x] of each group, [groups, d, d]: all positions of the references, clean."""
    if "moments" not in shared.kept:
        found = {layer.name: _moment(shared, layer) for layer in shared.network.layers}
        shared.kept["moments"] = found
    return shared.kept["moments"]


def _moment(shared: Buffered, layer: LinearLayer) -> Float64:
    x = shared.clean[layer.input]
    total = np.zeros((layer.groups, layer.inputs, layer.inputs))
    for start in range(0, len(x), BLOCK):
        rows = by_group(layer.rows(x[start : start + BLOCK]))
        total += rows.swapaxes(1, 2) @ rows
    return total / (len(x) * layer.positions)


def by_group(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows [n, positions, groups, d] as [groups, n positions, d]."""
    return np.moveaxis(rows.reshape(-1, *rows.shape[2:]), 1, 0)


def oracle(subject: Subject) -> Outcome:
    """Rank 8 beside each dense layer; grouped layers stay as they are."""
    moments, layers = second_moments(subject.shared), subject.network.layers
    weights = effective_weights(subject.runtime(), subject.network)

    def surrogate(layer: LinearLayer) -> Surrogate:
        same = identity(layer)
        if layer.groups > 1:
            return same
        true = subject.shared.float_layers[layer.name].weight[0].astype(np.float64)
        a, b = best_low_rank(true - weights[layer.name][0], moments[layer.name][0], RANK)
        return Surrogate(same.gain, same.offset, a.astype(np.float32), b.astype(np.float32))

    factors = Factors({layer.name: surrogate(layer) for layer in layers})
    price = priced(layers, lambda layer: (branch_numbers(layer, RANK),) * 2)
    return Outcome(factors, price)

"""A correlation matrix as low rank plus diagonal: R ≈ L Lᵀ + diag(1 − rows of L squared).

The loadings L minimise the squared error of the correlations between different variables (principal
axes with iterated communalities: H. Harman, Modern Factor Analysis, ch. 8). The leading
eigenvectors of R minus the unexplained diagonal are found by subspace iteration, so that a step
costs the square of the size times the rank, and there is no decomposition of the whole.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
STEPS = 100
SETTLED = 1e-4
"""A change of the variances explained, below which more steps make no difference: loadings are kept
in steps of 1/127."""

_MORE = 8
"""Columns beyond the rank: the iteration settles faster."""


def loadings_of(correlation: Float64, rank: int) -> Float64:
    """The loadings [d, rank] of a correlation matrix [d, d]; no row is longer than 1.

    Args:
        correlation: symmetric, ones on its diagonal.
        rank: at most d.
    """
    size = len(correlation)
    if not rank:
        return np.zeros((size, 0))
    start = np.random.default_rng(0).standard_normal((size, min(rank + _MORE, size)))
    basis = np.linalg.qr(start)[0]
    explained = np.ones(size)  # so that the principal components come first
    for _ in range(STEPS):
        seen = correlation @ basis - (1.0 - explained[:, None]) * basis
        values, vectors = np.linalg.eigh(_symmetric(basis.T @ seen))
        leading = basis @ vectors[:, ::-1][:, :rank]
        loadings = _bounded(leading * np.sqrt(np.maximum(values[::-1][:rank], 0.0)))
        before, explained = explained, (loadings**2).sum(axis=1)
        if np.abs(explained - before).max() < SETTLED:
            break
        # A step of the shifted matrix: without the shift large negative eigenvalues would lead.
        basis = np.linalg.qr(seen + basis)[0]
    return loadings


def _symmetric(matrix: Float64) -> Float64:
    return (matrix + matrix.T) / 2


def _bounded(loadings: Float64) -> Float64:
    """Rows longer than 1, which no correlations are, cut to 1."""
    lengths = np.sqrt((loadings**2).sum(axis=1, keepdims=True))
    return np.asarray(loadings / np.maximum(lengths, 1.0))

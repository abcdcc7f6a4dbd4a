"""Rounding A to few bits without losing what it does.

Rounding the entries of a row of A one by one, and passing each entry's error on to those that are
still to come, in proportion to how their inputs go together, loses far less than rounding each to
the nearest (optimal brain quantisation, arXiv 2208.11580; GPTQ, arXiv 2210.17323, sec. 3). With
C = R Rᵀ, R upper triangular, that is Babai's nearest plane for the rows of A R (arXiv 2507.18553),
which needs R alone and no inverse of C. B is then fitted anew to the rounded A. The result lies on
the grid that `calib.factor_codes` stores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calib.precision import FLOAT_BITS
from calib.row_codes import steps_of
from calib.row_sums import Covariance, Float64, RowCovariance
from calib.sums import LayerStatistics

Bits = Sequence[int] | NDArray[np.intp]
LARGEST_INPUTS = 2048
"""Rows longer than this are rounded to the nearest: passing errors on costs inputs³."""

_DAMPING = 1e-2


def rounded_rows(a: Float64, covariance: Covariance, bits: Bits) -> Float64:
    """Rows of A [rank, d] on their grids of `bits` [rank], errors passed on by the covariance.

    Also of many A at once, [groups, rank, d], each with a covariance of its own.
    """
    each = np.asarray(bits, np.intp)
    coarse = each < FLOAT_BITS
    if not coarse.any() or not a.size:
        return a
    found = a.copy()
    found[..., coarse, :] = _on_grids(a[..., coarse, :], covariance, each[coarse])
    return found


def _on_grids(a: Float64, covariance: Covariance, bits: NDArray[np.intp]) -> Float64:
    d = a.shape[-1]
    every = np.broadcast_to(bits, a.shape[:-1])
    steps = steps_of(a.reshape(-1, d), every.reshape(-1)).astype(np.float64)
    steps = steps.reshape(a.shape[:-1])
    limit = 2.0 ** (bits - 1) - 1
    passing = None
    if d <= LARGEST_INPUTS and not isinstance(covariance, RowCovariance):
        passing = passing_on(covariance)
    rounded, errors = np.zeros_like(a), np.zeros_like(a)
    for j in range(d):
        wanted = a[..., j]
        if passing is not None:
            wanted = wanted + (errors[..., :j] @ passing[..., j, :j, None])[..., 0]
        rounded[..., j] = np.clip(np.rint(wanted / steps), -limit, limit) * steps
        errors[..., j] = a[..., j] - rounded[..., j]
    return rounded


def passing_on(covariance: Float64) -> Float64:
    """How errors of the inputs before it are made good at each input: row j, [d, d]."""
    d = covariance.shape[-1]
    variance = np.trace(covariance, axis1=-2, axis2=-1) / d
    damping = np.where(variance > 0, _DAMPING * variance, 1.0)
    damped = covariance + damping[..., None, None] * np.eye(d)
    turned = np.linalg.cholesky(damped[..., ::-1, ::-1])  # of the last input first
    columns = turned[..., ::-1, ::-1].swapaxes(-1, -2)
    return columns / np.diagonal(columns, axis1=-2, axis2=-1)[..., None]


def refitted_b(statistics: LayerStatistics, gain: Float64, a: Float64) -> Float64:
    """The B [m, rank] that fits best to a given A [rank, d]; least squares, whatever the metric."""
    if not len(a):
        return np.zeros((len(gain), 0))
    wanted = statistics.map_y - statistics.map_z * gain
    return least_squares_b(statistics.covariance_x, wanted, a)


def least_squares_b(covariance: Covariance, wanted: Float64, a: Float64) -> Float64:
    """The B [m, rank] that fits best to A [rank, d], inputs of this covariance and maps [d, m].

    Also for many layers at once, each array with the same axes in front.
    """
    seen = a @ covariance
    gram = seen @ a.swapaxes(-1, -2)
    diagonal = np.diagonal(gram, axis1=-2, axis2=-1)
    ridge = 1e-6 * diagonal + np.finfo(np.float64).tiny  # of each row, whatever its size
    regular = gram + ridge[..., None] * np.eye(a.shape[-2])
    return np.asarray(np.linalg.solve(regular, seen @ wanted).swapaxes(-1, -2))

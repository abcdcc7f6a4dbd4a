"""Choosing samples that together look like all of them: matching moments, greedily.

A layer is seen along the strongest directions of its clean rows. What a sample looks like is the
mean and the second moments of its rows there, in units in which the rows of all samples are white.
Samples are chosen one after another, so that the mean of the chosen comes as near to the mean of
all as it can (herding: Y. Chen, M. Welling and A. Smola, Super-samples from kernel herding, UAI
2010). It asks nothing of the chip.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
VIEW = 64
"""Random directions that long rows are looked at along: enough for the strongest to show."""

DIRECTIONS = 16
"""The strongest of them, whose moments are matched."""

_FLOOR = 1e-3
"""Added to variances, relative to their mean: directions that hardly vary count less."""


def view(rows: Floats) -> Floats:
    """Rows [n, p, groups, d] as [n, p, k], k at most VIEW; the same directions each time."""
    flat = rows.reshape(*rows.shape[:2], -1)
    size = flat.shape[2]
    if size <= VIEW:
        return flat
    return flat @ _directions(size).astype(flat.dtype)


@cache
def _directions(size: int) -> Floats:
    return np.random.default_rng(0).standard_normal((size, VIEW))


def appearance(views: Mapping[str, Floats]) -> Floats:
    """What samples look like in all layers: [n, f], centred; layers and moments weigh alike."""
    parts = [part for seen in views.values() for part in _moments(seen.astype(np.float64))]
    return np.concatenate([_scaled(part) for part in parts], axis=1)


def _moments(seen: Floats) -> tuple[Floats, Floats]:
    """Means [n, k] and second moments [n, k k] of views [n, p, ...], white."""
    samples, positions, size = seen.shape
    flat = (seen - seen.mean(axis=(0, 1))).reshape(-1, size)
    with np.errstate(under="ignore"):
        variances, directions = np.linalg.eigh(flat.T @ flat / len(flat))
    mean = float(variances.mean())
    if not mean > np.finfo(np.float64).tiny:
        return np.zeros((samples, 1)), np.zeros((samples, 1))
    strongest = slice(-DIRECTIONS, None)
    scales = np.sqrt(np.maximum(variances[strongest], 0) + _FLOOR * mean)
    white = (flat @ (directions[:, strongest] / scales)).reshape(samples, positions, -1)
    second = np.matmul(white.transpose(0, 2, 1), white) / positions
    return white.mean(axis=1), second.reshape(samples, -1)


def _scaled(part: Floats) -> Floats:
    """Centred, and on average of length 1."""
    centred = part - part.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=1).mean())
    return np.asarray(centred / length) if length > 0 else centred


def herded(features: Floats, count: int) -> list[tuple[int, float]]:
    """Choose samples one after another, so that their mean stays near to the mean of all.

    Args:
        features: centred, [n, f].
        count: how many, at most n.

    Returns:
        Places in `features`, and how far the mean of those chosen so far is from that of all, in
        units of the root mean square length of the features. Ties go to the lower place.
    """
    products = features @ features.T
    lengths = np.diag(products)
    unit = float(np.sqrt(lengths.mean())) or 1.0
    chosen: list[tuple[int, float]] = []
    with_chosen, so_far = np.zeros(len(features)), 0.0
    left = np.ones(len(features), bool)
    for number in range(1, min(count, len(features)) + 1):
        squared = so_far + 2 * with_chosen + lengths
        best = int(np.argmin(np.where(left, squared, np.inf)))
        so_far, left[best] = float(squared[best]), False
        with_chosen += products[best]
        chosen.append((best, float(np.sqrt(max(so_far, 0.0))) / number / unit))
    return chosen

"""Choosing samples that lie far from each other: greedy k-centres.

Each choice is the sample farthest from those chosen before (T. F. Gonzalez, Clustering to minimize
the maximum intercluster distance, Theoretical Computer Science 38, 1985): the largest distance from
any sample to the nearest chosen one is at most twice the smallest possible. Used on a network's
features to choose training samples by O. Sener and S. Savarese, Active learning for convolutional
neural networks: a core-set approach, ICLR 2018.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def distances_from(features: Floats, point: Floats) -> Floats:
    """Euclidean distances of features [n, d] from a point [d]: [n]."""
    with np.errstate(under="ignore"):
        return np.asarray(np.sqrt(((features.astype(np.float64) - point) ** 2).sum(axis=1)))


def farthest_first(
    features: Floats, count: int, weights: Floats | None = None
) -> list[tuple[int, float]]:
    """Choose samples one after another, each the farthest from those before.

    Args:
        features: [n, d].
        count: how many, at most n.
        weights: [n], not negative: distances count times these. The first sample is that of the
            largest weight; without weights the one nearest to the mean.

    Returns:
        Places in `features`, and their distances from the chosen ones before; ties go to the
        lower place. The first has its distance from the mean.
    """
    from_mean = distances_from(features, features.astype(np.float64).mean(axis=0))
    start = np.argmin(from_mean) if weights is None else np.argmax(weights)
    nearest = np.full(len(features), np.inf)
    chosen = [(int(start), float(from_mean[start]))]
    left = np.ones(len(features), bool)
    for _ in range(min(count, len(features)) - 1):
        last = chosen[-1][0]
        left[last] = False
        nearest = np.minimum(nearest, distances_from(features, features[last]))
        value = nearest if weights is None else nearest * weights
        # Where all values are equal, zero for instance, the distance decides.
        order = np.lexsort((nearest, value, left))
        best = value[order[-1]], nearest[order[-1]]
        ties = left & (value == best[0]) & (nearest == best[1])
        chosen.append((int(np.flatnonzero(ties)[0]), float(best[1])))
    return chosen

"""Layers made for statistics: many cells of the same target."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from device_models.array import Array, ArrayWeights, State
from device_models.contract import Placement
from device_models.memories.differential_pair import Cells, differential_pairs

ROWS, COLUMNS = 201, 500
COUNT = (ROWS - 1) * COLUMNS
"""Cells of one target."""


def level_weights(code: int, rows: int = ROWS) -> ArrayWeights:
    """A layer of one code, but for its last row, which holds the largest one."""
    codes = np.full((1, rows, COLUMNS), code, np.int8)
    codes[:, -1] = 127
    return ArrayWeights(codes, np.ones((1, 1, COLUMNS), np.float32), rows, 8)


def placed(weights: ArrayWeights, age_s: float = 0.0, seed: int = 1) -> Placement:
    return Placement(seed, State(age_s), "layer", weights, 8)


def level_cells(code: int, seed: int = 1, rows: int = ROWS) -> Cells:
    return differential_pairs(placed(level_weights(code, rows), seed=seed))


def asked(cells: NDArray[np.float32]) -> NDArray[np.float64]:
    """The positive cells of the one target."""
    return cells[0, 0, :-1].ravel().astype(np.float64)


def check_moments(values: NDArray[np.float64], mean: float, deviation: float) -> None:
    """Mean and standard deviation within five standard errors of a normal sample of this size."""
    count = values.size
    assert abs(values.mean() - mean) < 5 * deviation / np.sqrt(count) + 1e-6 * abs(mean)
    assert abs(values.std() / deviation - 1) < 5 / np.sqrt(2 * count)


def held_weights(array: Array, rows: int, groups: int = 1) -> NDArray[np.float64]:
    """[groups, rows, m], read one row at a time."""
    eye = np.repeat(np.eye(rows, dtype=np.uint8)[:, None], groups, axis=1)
    rows_out = array.multiply(eye, 0, np.random.default_rng(0))
    return rows_out.swapaxes(0, 1).astype(np.float64)


def agree(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> None:
    """Equal mean and standard deviation, as far as two samples can tell: five standard errors.

    The error of a sample's variance is taken from its own fourth moment, so that clipped and
    uniform samples are judged as strictly as normal ones. float32 allows 1e-6 of the mean more.
    """
    moments = [(x.mean(), x.var(), np.mean((x - x.mean()) ** 4), x.size) for x in (ours, theirs)]
    means, variances, fourths, counts = np.array(moments).T
    of_mean = np.sqrt((variances / counts).sum())
    assert abs(means[0] - means[1]) < 5 * of_mean + 1e-6 * abs(means[1])
    of_variance = np.sqrt(((fourths - variances**2) / counts).sum())
    assert abs(variances[0] - variances[1]) < 5 * of_variance + 1e-12 * means[1] ** 2

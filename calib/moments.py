"""The moment pass: each channel's mean and spread of the corrected chip brought to the reference's.

After all layers are fitted the corrected chip runs once more over the chosen samples, and layer
after layer, y ← scale · y + shift gives each channel the mean and the standard deviation that the
float network has there: what upstream layers passed on, and what the rank did not reach, is mended
in the first two moments. It folds into the gain, B and the offset and costs nothing.

What few samples differ in is chance in part. Of all channels' differences together so much is taken
as is more than chance, the chance being what samples left out one at a time say: empirical Bayes
(W. James and C. Stein, Berkeley Symposium 4, 1961), with the jackknife's variances (R. Miller,
Biometrika 61, 1974, sec. 2). Many samples that agree are matched fully, one is hardly followed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.floating]
Float64 = NDArray[np.float64]
SMALLEST_SCALE, LARGEST_SCALE = 0.5, 2.0
FEWEST_FOR_SPREAD = 3
"""Samples, or positions of a single one: below, how far spreads agree cannot be told."""


def matching(
    outputs: Float32, reference: Float32
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The scale and shift, [m] each, that bring outputs [n, ..., m] to the reference's moments.

    As far as the n samples agree on them; the positions, where there is only one sample. A channel
    that does not vary, here or there, is only shifted.
    """
    y, wanted = _parts(outputs), _parts(reference)
    size = max(float(np.abs(y).max(initial=0.0)), float(np.abs(wanted).max(initial=0.0)))
    if not size:
        return np.ones(y.shape[-1], np.float32), np.zeros(y.shape[-1], np.float32)
    y, wanted = y / size, wanted / size
    with np.errstate(under="ignore"):  # next to the largest, such a square is zero
        scale = _scale(y, wanted)
        shift = _shift(wanted.mean(axis=1) - scale * y.mean(axis=1))
        return scale.astype(np.float32), (shift * size).astype(np.float32)


def _parts(rows: Float32) -> Float64:
    """Rows as [n, p, m]: what is left out together stands together."""
    samples = rows.reshape(len(rows), -1, rows.shape[-1]).astype(np.float64)
    return samples if len(samples) > 1 else samples.swapaxes(0, 1)


def _scale(y: Float64, wanted: Float64) -> Float64:
    """From the logarithms of the ratios of spreads, each channel weighed by its variance."""
    means = [part.mean(axis=(0, 1)) for part in (y, wanted)]
    centred = [part - mean for part, mean in zip((y, wanted), means, strict=True)]
    sums = np.stack([power.sum(axis=1) for part in centred for power in (part, part**2)])
    whole, rows = sums.sum(axis=1), y.shape[0] * y.shape[1]
    logarithms = _log_ratio(whole, rows, means)
    if len(y) < FEWEST_FOR_SPREAD:
        return np.ones_like(logarithms)
    one_out = _log_ratio(whole[:, None] - sums, rows - y.shape[1], means)
    chance = (len(y) - 1) * one_out.var(axis=0)
    share = _beyond_chance(logarithms, chance, whole[3] / rows)
    return np.clip(np.exp(share * logarithms), SMALLEST_SCALE, LARGEST_SCALE)


def _log_ratio(sums: Float64, rows: int, means: list[Float64]) -> Float64:
    """Of the reference's spread over the outputs', from sums and square sums about the means."""
    variances = [sums[i + 1] / rows - (sums[i] / rows) ** 2 for i in (0, 2)]
    floor = [1e-10 * (mean**2 + sums[i + 1] / rows) for mean, i in zip(means, (0, 2), strict=True)]
    usable = (variances[0] > floor[0]) & (variances[1] > floor[1])
    here, there = (np.where(usable, variance, 1.0) for variance in variances)
    return np.asarray((np.log(there) - np.log(here)) / 2)


def _shift(differences: Float64) -> Float64:
    """From the samples' mean differences [n, m]."""
    if len(differences) == 1:
        return np.zeros(differences.shape[1])
    shift = differences.mean(axis=0)
    chance = differences.var(axis=0, ddof=1) / len(differences)
    return np.asarray(_beyond_chance(shift, chance, np.ones_like(shift)) * shift)


def _beyond_chance(found: Float64, chance: Float64, weights: Float64) -> float:
    """The share, 0 to 1, of what was found that is not its chance variance."""
    seen = float((weights * found**2).sum())
    return max(1 - float((weights * chance).sum()) / seen, 0.0) if seen > 0 else 0.0

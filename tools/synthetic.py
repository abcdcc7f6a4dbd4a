"""Inputs for networks whose data are not at hand: made to look like them, and no more than that."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calib.graph.executor import run
from calib.graph.model import Graph

Float32 = NDArray[np.float32]
IMAGE_SIZE = 96
FRAMES, MEL_BANDS = 5, 128
LEVEL_DB, SPREAD_DB, NOISE_DB = -35.0, 12.0, 3.0
"""Of log-mel spectra; MLPerf Tiny's int8 autoencoder takes -85 to 15 dB."""


def images(count: int, generator: np.random.Generator) -> Float32:
    """Smooth random colour images [n, 96, 96, 3] from 0 to 1, each of its own light and contrast.

    Their amplitude falls with 1 / frequency, as that of natural images does (D. Field, J. Opt. Soc.
    Am. A 4, 1987); the three colours share most of what they show.
    """
    shared = _smooth(count, (IMAGE_SIZE, IMAGE_SIZE), generator)[..., None]
    own = np.stack([_smooth(count, (IMAGE_SIZE, IMAGE_SIZE), generator) for _ in range(3)], axis=-1)
    light = generator.uniform(0.3, 0.6, (count, 1, 1, 1))
    contrast = generator.uniform(0.1, 0.3, (count, 1, 1, 1))
    shown = light + contrast * (0.95 * shared + 0.3 * own)
    return np.asarray(np.clip(shown, 0, 1), np.float32)


def machine_sounds(autoencoder: Graph, count: int, generator: np.random.Generator) -> Float32:
    """Log-mel spectra [n, 640] near those that an autoencoder knows: five frames of 128 bands, dB.

    Smooth random spectra go through the autoencoder, which leaves what it was trained to pass on;
    smooth and white deviations of 3 dB, about what it leaves of real machines, go on top.
    """
    rough = LEVEL_DB + SPREAD_DB * _spectra(count, generator)
    known = run(autoencoder, rough.astype(np.float32))[autoencoder.output]
    white = generator.standard_normal(known.shape)
    deviations = NOISE_DB * np.sqrt(0.5) * (_spectra(count, generator) + white)
    return np.asarray(known + deviations, np.float32)


def _spectra(count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    return _smooth(count, (FRAMES, MEL_BANDS), generator).reshape(count, -1)


def _smooth(
    count: int, shape: tuple[int, int], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Random fields [n, *shape] of mean 0 and deviation 1 whose amplitude is 1 / frequency."""
    height, width = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    amplitude = 1 / np.maximum(frequency, 1 / max(shape))
    white = np.fft.rfft2(generator.standard_normal((count, *shape)))
    fields = np.fft.irfft2(white * amplitude, s=shape)
    fields -= fields.mean(axis=(1, 2), keepdims=True)
    return np.asarray(fields / fields.std(axis=(1, 2), keepdims=True))

"""More images from few: an image moved by a pixel shows the same thing."""

from __future__ import annotations

import numpy as np

from calib.graph.model import Array


def shifted(images: Array, generator: np.random.Generator, pixels: int = 1) -> Array:
    """Move each image [n, channels, height, width] by up to `pixels` in both directions.

    What moves out is lost; what moves in is zero.
    """
    height, width = images.shape[2:]
    padded = np.pad(images, ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels)))
    down, right = generator.integers(0, 2 * pixels + 1, (2, len(images), 1))
    sample = np.arange(len(images))[:, None, None]
    rows = (down + np.arange(height))[:, :, None]
    columns = (right + np.arange(width))[:, None, :]
    picked: Array = padded[sample, :, rows, columns]
    return np.moveaxis(picked, -1, 1)

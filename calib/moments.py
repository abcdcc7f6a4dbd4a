"""The moment pass: each channel's mean and spread of the corrected chip brought to the reference's.

After all layers are fitted the corrected chip runs once more over the chosen samples, and layer
after layer, y ← scale · y + shift gives each channel the mean and the standard deviation that the
float network has there: what upstream layers passed on, and what the rank did not reach, is mended
in the first two moments. It folds into the gain, B and the offset and costs nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.floating]
SMALLEST_SCALE, LARGEST_SCALE = 0.5, 2.0


def matching(
    outputs: Float32, reference: Float32
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The scale and shift, [m] each, that give outputs [..., m] the reference's moments.

    A channel that does not vary, here or there, is only shifted.
    """
    y = outputs.reshape(-1, outputs.shape[-1]).astype(np.float64)
    wanted = reference.reshape(-1, reference.shape[-1]).astype(np.float64)
    spread, wanted_spread = y.std(axis=0), wanted.std(axis=0)
    floor = 1e-5 * np.maximum(np.abs(y).max(axis=0), np.abs(wanted).max(axis=0))
    usable = (spread > floor) & (wanted_spread > floor)
    ratio = np.where(usable, wanted_spread, 1.0) / np.where(usable, spread, 1.0)
    scale = np.clip(ratio, SMALLEST_SCALE, LARGEST_SCALE)
    shift = wanted.mean(axis=0) - scale * y.mean(axis=0)
    return scale.astype(np.float32), shift.astype(np.float32)

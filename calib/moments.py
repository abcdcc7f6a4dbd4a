"""The moment pass: each channel's mean and spread of the corrected chip brought to the reference's.

After all layers are fitted, the corrected chip runs once over reference samples. Where a channel's
mean or standard deviation still differs from the float network's (errors that upstream layers
passed on, what the rank did not reach), y ← scale · y + shift mends it; that folds into the gain,
B and the offset and costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.factors import Surrogate

Float32 = NDArray[np.floating]
SMALLEST_SCALE, LARGEST_SCALE = 0.5, 2.0


@dataclass
class MomentSums:
    """Accumulates a layer's measured and reference outputs, [.., m]."""

    count: int = 0
    sums: NDArray[np.float64] | None = None

    def add(self, outputs: Float32, reference: Float32) -> None:
        """Add rows of equal shape [..., m]."""
        m = outputs.shape[-1]
        y = outputs.reshape(-1, m).astype(np.float64)
        t = reference.reshape(-1, m).astype(np.float64)
        new = np.stack([y.sum(0), (y**2).sum(0), t.sum(0), (t**2).sum(0)])
        self.sums = new if self.sums is None else self.sums + new
        self.count += len(y)

    def matched(self, surrogate: Surrogate) -> Surrogate:
        """The surrogate with its channels' moments matched."""
        if self.sums is None or self.count < 2:
            return surrogate
        mean, square, target, target_square = self.sums / self.count
        variance = square - mean**2
        wanted = target_square - target**2
        floor = 1e-9 * np.maximum(square, target_square) + np.finfo(np.float64).tiny
        usable = (variance > floor) & (wanted > floor)
        ratio = np.where(usable, wanted, 1.0) / np.where(usable, variance, 1.0)
        scale = np.clip(np.sqrt(ratio), SMALLEST_SCALE, LARGEST_SCALE)
        shift = target - scale * mean
        return surrogate.then_scaled(scale.astype(np.float32), shift.astype(np.float32))

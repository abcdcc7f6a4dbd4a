"""How much a layer's array has faded, from the first rows that it was given.

Fits start from the weights that the codes stand for, because rows show only some directions of a
layer's inputs: in all others the array is taken to be as it was written. An array that drifts
(phase-change memory loses four tenths in a month) has faded in these directions too. One factor for
the whole layer, fitted to a few rows, says by how much; without it a gain that is right for what
was seen is wrong by as much for what was not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST_FADE = 4.0
"""Arrays do not gain more; one that answers the wrong way round is taken for dead."""

ROUNDING = 1e-5
"""What varies by less, relative to its size, is rounded float32 and does not vary."""


def fade_of(expected: NDArray[np.floating], outputs: NDArray[np.floating]) -> float:
    """The factor that makes expected outputs [n, m] most like the measured ones, about their means.

    Between 0 and `LARGEST_FADE`; 1 where the expected outputs do not vary.
    """
    wanted = expected.astype(np.float64)
    wanted = wanted - wanted.mean(axis=0)
    largest = np.abs(wanted).max(initial=0.0)
    if not largest > ROUNDING * np.abs(expected).max(initial=0.0):
        return 1.0
    wanted = wanted / largest  # so that squares of any scale are numbers
    found = outputs.astype(np.float64) / largest
    with np.errstate(under="ignore"):  # next to others, such a product is zero
        fade = np.vdot(wanted, found - found.mean(axis=0)) / np.vdot(wanted, wanted)
    return float(np.clip(fade, 0.0, LARGEST_FADE))


@dataclass
class Fading:
    """Of one layer's array; not known before its first rows."""

    factor: float | None = None

    def first(
        self, known: NDArray[np.floating], x: NDArray[np.floating], z: NDArray[np.floating]
    ) -> NDArray[np.floating]:
        """The map from x [n, d] to outputs z [n, m] that is known, scaled if these come first."""
        if self.factor is not None or not np.isfinite(z).all():
            return known
        self.factor = fade_of(x @ known, z)
        return known * self.factor

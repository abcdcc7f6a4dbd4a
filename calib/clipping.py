"""How much of a layer's inputs the main path's codes clip.

A range that was found with other inputs than those of the field cuts what lies beyond it. A branch
beside the main path reads the input itself and can bring some of that back; one that is folded into
the weights reads the codes, and cannot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MATTERS_FROM = 1e-3
"""Of the inputs' mean square: thirty decibels below them. Ranges that were found with inputs like
those of the field clipped a tenth of that at most, in the layers of ResNet-8 and of the keyword
network; with images twice as bright or a microphone 12 dB louder, it was 1.3e-3 to 1.5e-2."""

Limits = tuple[float, float] | tuple[NDArray[np.float32], NDArray[np.float32]]
"""Of all inputs, or of each."""


@dataclass
class Clipping:
    """Of one layer, over the rows that were added."""

    limits: Limits
    """What lies beyond has the code of the end; see `ActivationCode.limits`."""

    lost: float = 0.0
    of: float = 0.0

    def add(self, rows: NDArray[np.floating]) -> None:
        """Add rows of any shape; where each input has limits of its own, [n, groups · d]."""
        beyond = rows - np.clip(rows, *self.limits)
        self.lost += float(np.vdot(beyond, beyond))
        self.of += float(np.vdot(rows, rows))

    @property
    def matters(self) -> bool:
        """Whether a branch had better read the input itself."""
        return self.lost > MATTERS_FROM * self.of

"""Layer errors: how far each layer of a run is from its reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
_CONSTANT = 1e-10
"""A variance below this share of the mean square is rounding."""


@dataclass(frozen=True)
class LayerError:
    """How far measured outputs y are from reference outputs, over samples and positions."""

    relative_error: float
    """‖y − y_ref‖ / ‖y_ref‖; where y_ref is zero throughout, 0 if y is too, else 1."""

    sqnr_db: float
    """10 log₁₀ (‖y_ref‖² / ‖y − y_ref‖²), at most 300"""

    bias: float
    """mean(y − y_ref) / rms(y_ref), or rms(y) where y_ref is zero throughout."""

    gain: float
    """Least-squares slope of y on y_ref, both centred; 1 where y_ref is constant."""


@dataclass
class ErrorSums:
    """Accumulates blocks of one layer's outputs."""

    reference_power: float = 0.0
    error_power: float = 0.0
    error_sum: float = 0.0
    reference_sum: float = 0.0
    cross: float = 0.0
    count: int = 0

    def add(self, outputs: Float32, reference: Float32) -> None:
        """Add measured and reference outputs of equal shape."""
        y = reference.astype(np.float64).ravel()
        e = outputs.astype(np.float64).ravel() - y
        self.reference_power += float(y @ y)
        self.error_power += float(e @ e)
        self.error_sum += float(e.sum())
        self.reference_sum += float(y.sum())
        self.cross += float(e @ y)
        self.count += y.size

    def error(self) -> LayerError:
        """The layer error of all that was added."""
        power, n = self.reference_power or self.error_power or 1.0, max(self.count, 1)
        ratio = self.error_power / power
        spread = self.reference_power - self.reference_sum**2 / n
        varies = spread > _CONSTANT * self.reference_power
        slope = (self.cross - self.error_sum * self.reference_sum / n) / spread if varies else 0.0
        return LayerError(
            relative_error=float(np.sqrt(ratio)),
            sqnr_db=float(-10 * np.log10(max(ratio, 1e-30))),
            bias=float(self.error_sum / n / np.sqrt(power / n)),
            gain=float(1 + slope),
        )


Pairs = Mapping[str, tuple[Float32, Float32]]
"""By layer: measured and reference outputs."""


@dataclass
class LayerErrors:
    """Accumulates blocks of all layers."""

    sums: dict[str, ErrorSums] = field(default_factory=dict)

    def add(self, block: Pairs) -> None:
        """Add a block of samples."""
        for name, (outputs, reference) in block.items():
            self.sums.setdefault(name, ErrorSums()).add(outputs, reference)

    def errors(self) -> dict[str, LayerError]:
        """The layer errors of all that was added."""
        return {name: total.error() for name, total in self.sums.items()}

"""From a column's signed analog sum to a digital code: read noise, bow, clipping, rounding.

A symmetric converter decides the sign first and converts the magnitude with the same capacitors
for either polarity. So the errors of `device_models.sram.column_errors` hold for the magnitude:
the bow is zero at zero and at both ends, and a sum of exactly zero has the code zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.sram.column_errors import ColumnErrors
from device_models.sram.read_noise import read_noise


@dataclass(frozen=True)
class SignedConverter:
    """What happens to a signed column sum before it is digital."""

    step_counts: float
    """Counts of one code; sums are divided by it before they come here."""

    top_code: int | None
    """Highest code; None: the sum is passed on as it is, neither clipped nor rounded."""

    noise_steps: float = 0.0
    """Standard deviation of the read noise of one conversion, in steps."""

    nonlinear_noise_steps: float = 0.0
    """The same of the noise that is divided by sqrt(|S| + 1), S in counts."""

    @property
    def is_noisy(self) -> bool:
        """Whether two conversions of one sum may differ."""
        return bool(self.noise_steps or self.nonlinear_noise_steps)

    def convert(
        self, sums: NDArray[np.float32], generator: np.random.Generator, errors: ColumnErrors
    ) -> None:
        """Convert sums [groups, n, columns] (in steps) in place, each once."""
        self._disturb(sums, generator)
        if self.top_code is None:
            return
        signs = np.sign(sums)
        np.abs(sums, out=sums)
        if errors.bow is not None:
            errors.bend(sums, self.top_code)
        if errors.capacitors is not None:
            sums[...] = errors.approximated(sums)
        else:
            np.rint(sums, out=sums)
        np.clip(sums, np.float32(0), np.float32(self.top_code), out=sums)
        sums *= signs

    def _disturb(self, sums: NDArray[np.float32], generator: np.random.Generator) -> None:
        """Add the noise of one conversion to each sum, in place."""
        if self.nonlinear_noise_steps:
            counts = np.abs(sums) * np.float32(self.step_counts)
            noise = read_noise(generator, sums.shape, self.nonlinear_noise_steps)
            noise /= np.sqrt(counts + np.float32(1))
            sums += noise
        if self.noise_steps:
            sums += read_noise(generator, sums.shape, self.noise_steps)

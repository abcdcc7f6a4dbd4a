"""From a column's analog sum to a digital code: read noise, bow, clipping, rounding.

The sum is counted in *counts*, the share of one cell that holds a one and is driven by a one. A
converter of b bits over a full scale of F counts has steps of F / (2^b - 1). Where that is less
than one count, the step is the next larger of 1, 1/2, 1/4 ... counts, so that whole counts are
codes and none is lost (*lossless*, for cells without variation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.sram.column_errors import NO_ERRORS, ColumnErrors
from device_models.sram.read_noise import ReadNoise, quantiles


@dataclass(frozen=True)
class Converter:
    """What happens to a column sum before it is digital."""

    step_counts: float
    """Counts of one code; sums are divided by it before they come here."""

    top_code: int | None
    """Highest code; None: the sum is passed on as it is, neither clipped nor rounded."""

    noise_steps: float
    """Standard deviation of the read noise of one conversion, in steps."""

    nonlinear_noise_steps: float = 0.0
    """The same of the noise that is divided by sqrt(S + 1), S in counts."""

    reads: int = 1
    """Conversions of one sum; the median of their codes counts."""

    @property
    def is_noisy(self) -> bool:
        """Whether two conversions of one sum may differ."""
        return bool(self.noise_steps or self.nonlinear_noise_steps)

    @property
    def most_noise_steps(self) -> float:
        """No conversion is off by more than this, where the noise is the same for all sums."""
        return float(quantiles(self.noise_steps)[-1]) if self.noise_steps else 0.0

    def convert(
        self,
        sums: NDArray[np.float32],
        noise: ReadNoise | None,
        errors: ColumnErrors = NO_ERRORS,
    ) -> NDArray[np.float32]:
        """Convert sums (in steps) in place; without it the noise is left out."""
        if noise is None or not self.is_noisy:
            return self._digitised(sums, errors)
        if self.reads == 1:
            return self._digitised(self._disturbed(sums, noise), errors)
        votes = [
            self._digitised(self._disturbed(sums.copy(), noise), errors) for _ in range(self.reads)
        ]
        return np.median(votes, axis=0, out=sums)

    def _disturbed(self, sums: NDArray[np.float32], noise: ReadNoise) -> NDArray[np.float32]:
        """Add the noise of one conversion to each sum, in place."""
        if not self.nonlinear_noise_steps:
            sums += noise.figures(sums.shape, self.noise_steps)
            return sums
        counts = np.maximum(sums, 0) * np.float32(self.step_counts)
        figures = noise.figures(sums.shape, self.nonlinear_noise_steps)
        figures /= np.sqrt(counts + np.float32(1))
        if self.noise_steps:
            figures += noise.figures(sums.shape, self.noise_steps)
        sums += figures
        return sums

    def _digitised(self, sums: NDArray[np.float32], errors: ColumnErrors) -> NDArray[np.float32]:
        """Bend, round and clip, in place."""
        if self.top_code is None:
            return sums
        if errors.bow is not None:
            errors.bend(sums, self.top_code)
        if errors.capacitors is not None:
            sums[...] = errors.approximated(sums)
        else:
            np.rint(sums, out=sums)
        np.clip(sums, np.float32(0), np.float32(self.top_code), out=sums)
        return sums


def converter(
    span_counts: float,
    adc_bits: int | None,
    read_noise_counts: float,
    nonlinear_noise_counts: float = 0.0,
    reads: int = 1,
) -> Converter:
    """The converter of columns whose sums reach up to `span_counts`.

    Args:
        span_counts: Full scale, at least one count.
        adc_bits: Resolution; None for no conversion.
        read_noise_counts: Standard deviation of the noise of one conversion.
        nonlinear_noise_counts: The same of the noise that falls with the sum.
        reads: Conversions of each sum.
    """
    step, top = _grid(span_counts, adc_bits)
    return Converter(step, top, read_noise_counts / step, nonlinear_noise_counts / step, reads)


def _grid(span_counts: float, adc_bits: int | None) -> tuple[float, int | None]:
    """Counts of a step, and the top code."""
    if adc_bits is None:
        return 1.0, None
    codes = (1 << adc_bits) - 1
    if span_counts > codes:
        return span_counts / codes, codes
    per_count = 1 << int(codes / span_counts).bit_length() - 1
    return 1 / per_count, max(math.floor(span_counts * per_count + 1e-9), 1)

"""From a column's analog sum to a digital code: read noise, clipping, rounding.

The sum is counted in *counts*, the share of one cell that holds a one and is driven by a one. A
converter of b bits over a full scale of F counts has steps of F / (2^b - 1). Where that is less
than one count, the step is the next larger of 1, 1/2, 1/4 ... counts, so that whole counts are
codes and none is lost (*lossless*, for cells without variation).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_LEVELS = 1 << 16


@dataclass(frozen=True)
class Converter:
    """What happens to a column sum before it is digital."""

    step_counts: float
    """Counts of one code; sums are divided by it before they come here."""

    top_code: int | None
    """Highest code; None: the sum is passed on as it is, neither clipped nor rounded."""

    noise_steps: float
    """Standard deviation of the read noise of one conversion, in steps."""

    def convert(
        self, sums: NDArray[np.float32], generator: np.random.Generator | None
    ) -> NDArray[np.float32]:
        """Convert sums (in steps) in place; without a generator the noise is left out."""
        if self.noise_steps and generator is not None:
            sums += read_noise(generator, sums.shape, self.noise_steps)
        if self.top_code is not None:
            np.rint(sums, out=sums)
            np.clip(sums, np.float32(0), np.float32(self.top_code), out=sums)
        return sums


def converter(
    rows: int, adc_bits: int | None, full_scale: float, read_noise_counts: float
) -> Converter:
    """The converter of an array of so many rows; full_scale is a fraction of them."""
    if adc_bits is None:
        return Converter(1.0, None, read_noise_counts)
    span = full_scale * rows
    codes = (1 << adc_bits) - 1
    if span > codes:
        return Converter(span / codes, codes, read_noise_counts * codes / span)
    per_count = 1 << int(codes / span).bit_length() - 1
    return Converter(1 / per_count, int(span * per_count + 1e-9), read_noise_counts * per_count)


def read_noise(
    generator: np.random.Generator, shape: tuple[int, ...], sigma: float
) -> NDArray[np.float32]:
    """Independent normal figures of standard deviation sigma.

    They are drawn from 65,536 equally likely quantiles, the outermost at 4.3 sigma: an
    emulator spends most of its time here, and this is six times as fast as the exact generator.
    """
    size = int(np.prod(shape))
    words = generator.integers(0, 1 << 64, size=-(-size // 4), dtype=np.uint64)
    picks = words.view(np.uint16)[:size].reshape(shape)
    return np.take(_quantiles(sigma), picks, mode="clip")


@lru_cache(maxsize=8)
def _quantiles(sigma: float) -> NDArray[np.float32]:
    return (_unit_quantiles() * sigma).astype(np.float32)


@lru_cache(maxsize=1)
def _unit_quantiles() -> NDArray[np.float64]:
    """Quantiles at the middle of each of the equal shares, scaled to unit variance."""
    from statistics import NormalDist  # noqa: PLC0415 - only noisy converters need it

    normal = NormalDist()
    upper = np.array(
        [normal.inv_cdf(0.5 + (i + 0.5) / _LEVELS) for i in range(_LEVELS // 2)], np.float64
    )
    both = np.concatenate([-upper[::-1], upper])
    quantiles: NDArray[np.float64] = both / both.std()
    return quantiles

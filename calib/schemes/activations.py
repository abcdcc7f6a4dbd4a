"""Activations into the array: affine codes of 4 to 8 bits, and how their range is found.

The range always holds zero and the zero point is an integer, so that zero (padding, an idle unit)
is exact. Three ways to find it are compared at pack time: the extremes (`min-max`), the extremes
without one value in a thousand (`percentile`), and the range of least mean squared error over a
grid of shrunken extremes (`mean-squared-error`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.errors import CalibError

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class ActivationCode:
    """value = (code − zero_point) × step, code in 0 … 2^bits − 1."""

    step: float
    zero_point: int
    bits: int

    @property
    def limits(self) -> tuple[float, float]:
        """Values beyond these, half a step outside the outermost codes, all have the same code."""
        lowest, highest = -self.zero_point - 0.5, 2**self.bits - 0.5 - self.zero_point
        return lowest * self.step, highest * self.step

    def encode(self, x: FloatArray) -> NDArray[np.uint8]:
        """Values to the nearest codes; what is out of range is clipped."""
        return self._rounded(x).astype(np.uint8)

    def levels(self, x: FloatArray) -> NDArray[np.float32]:
        """The same as signed whole numbers, code − zero_point: zero is zero."""
        codes = self._rounded(x)
        if self.zero_point:
            codes -= np.float32(self.zero_point)
        return codes

    def _rounded(self, x: FloatArray) -> NDArray[np.float32]:
        with np.errstate(over="ignore", under="ignore"):  # beyond the range, or zero: all the same
            codes = np.multiply(x, np.float32(1.0 / self.step), dtype=np.float32)
            if self.zero_point:
                codes += np.float32(self.zero_point)
        np.rint(codes, out=codes)
        np.clip(codes, 0, 2**self.bits - 1, out=codes)
        return codes

    def decode(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Codes to values."""
        return (codes.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.step)


def code_for_range(low: float, high: float, bits: int) -> ActivationCode:
    """The code that spans [low, high], widened to hold zero.

    Raises:
        CalibError: bits outside 4 … 8, or a range that is not finite.
    """
    if not 4 <= bits <= 8:
        raise CalibError(f"activation bits must be 4 to 8, not {bits}")
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if not np.isfinite(high - low):
        raise CalibError(f"activations range from {low} to {high}: the network overflows")
    steps = 2**bits - 1
    step = (high - low) / steps
    if step < np.finfo(np.float32).tiny * 1e6:
        return ActivationCode(1.0, 0, bits)
    return ActivationCode(step, round(-low / step), bits)


def min_max(values: FloatArray, bits: int) -> ActivationCode:
    """The range is that of the values."""
    return code_for_range(values.min(), values.max(), bits)


def percentile(values: FloatArray, bits: int) -> ActivationCode:
    """The range leaves out one value in two thousand at each end."""
    low, high = np.percentile(values, [0.05, 99.95])
    return code_for_range(low, high, bits)


def mean_squared_error(values: FloatArray, bits: int) -> ActivationCode:
    """The range, among shrunken extremes, whose codes come nearest to the values."""
    low, high = float(values.min()), float(values.max())
    candidates = [
        code_for_range(low * shrink, high * shrink, bits) for shrink in np.linspace(1.0, 0.3, 36)
    ]
    errors = [_squared_error(code, values) for code in candidates]
    return candidates[int(np.argmin(errors))]


def _squared_error(code: ActivationCode, values: FloatArray) -> float:
    errors = code.decode(code.encode(values)).astype(np.float64) - values
    return float(np.mean(errors**2))


RANGE_METHODS: Mapping[str, Callable[[FloatArray, int], ActivationCode]] = {
    "min-max": min_max,
    "percentile": percentile,
    "mean-squared-error": mean_squared_error,
}

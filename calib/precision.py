"""The bits of a row of A, and the share of a component's worth that rounding to them loses.

A row whose largest entry is `PEAK` times its root mean square, rounded to the nearest of
2 · limit + 1 levels, has the relative error PEAK² / (12 · limit²); passing errors on to inputs that
go together (`calib.rounding`) leaves `PASSED_ON` of it. With 3 to 8 bits the layers of ResNet-8
lose half to 1.7 times as much as foretold, but the first one, of 27 inputs, two to seven times.
"""

from __future__ import annotations

PEAK = 3.0
PASSED_ON = 0.7
FLOAT_BITS = 16
"""Stored as float16: loses nothing that shows."""

PRECISIONS = (3, 4, 5, 6, 8, FLOAT_BITS)
"""What the rows of A can be stored with."""

MIXED = (3, 4, 5, 6, 8)
"""What a calibration chooses from: large components get many bits, small ones few."""

TYPICAL_BITS = 4
"""Of most components, where calibration chooses."""


def lost_share(bits: int) -> float:
    """The share of a component's worth that is lost when its row of A has so many bits."""
    if bits >= FLOAT_BITS:
        return 0.0
    limit = 2.0 ** (bits - 1) - 1
    noise = PASSED_ON * PEAK**2 / (12 * limit**2)
    return noise / (1 + noise)  # B is fitted again, to the rounded A


def typical_bits(allowed: tuple[int, ...]) -> int:
    """Of the allowed precisions, the one that most components will have."""
    return min(allowed, key=lambda bits: abs(bits - TYPICAL_BITS))


def bits_of_b(bits: int) -> int:
    """Bits of B's codes, where A's row has `bits`: two more, so that B is not the coarse one.

    No errors are passed on within B, and a sixteenth of A's variance of rounding hardly adds to it.
    """
    return FLOAT_BITS if bits == FLOAT_BITS else min(bits + 2, 8)

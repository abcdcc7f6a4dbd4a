"""Rows of numbers as codes of a few bits times a step for each row, and back.

A row lies on a grid: its step times whole codes, or, with 16 bits, its largest entry times float16
numbers. Steps have 16 significant bits, so that a step times a code is exact: what was rounded once
comes back from storage bit for bit, however often.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calib.precision import FLOAT_BITS
from calib.schemes.packing import pack_codes, unpack_codes

Float32 = NDArray[np.float32]
_SMALLEST_STEP = 2.0**-100
"""A row of smaller steps is zero; products of steps and codes never leave the normal numbers."""


def row_bytes(columns: int, bits: int) -> int:
    """What one row takes: its step, and its codes, filled up to a whole byte."""
    return 4 + (columns * bits + 7) // 8


def steps_of(matrix: NDArray[np.floating], bits: Sequence[int] | NDArray[np.intp]) -> Float32:
    """The step of each row's codes, [rows], for the bits of each.

    A row that lies on a grid already (see `calib.rounding`) keeps it, even where its largest code
    is not the largest possible; else the row's largest entry becomes the largest code.
    """
    each = np.asarray(bits, np.intp)
    steps = np.empty(len(matrix), np.float32)
    for one in np.unique(each):
        steps[each == one] = _steps(matrix[each == one], int(one))
    return steps


def _steps(matrix: NDArray[np.floating], bits: int) -> Float32:
    largest = np.abs(matrix).max(axis=1, initial=0.0)
    if bits == FLOAT_BITS:
        return _usable(largest)
    limit = 2 ** (bits - 1) - 1
    steps = _usable(_short(largest / limit))
    for code in range(limit // 2 + 1, limit):
        step = _usable(_short(largest / code))
        on_grid = (np.rint(matrix / step[:, None]) * step[:, None] == matrix).all(axis=1)
        steps = np.where(on_grid, step, steps)
    return steps


def _usable(steps: NDArray[np.floating]) -> Float32:
    narrow = steps.astype("<f4")
    return np.where(narrow > _SMALLEST_STEP, narrow, np.float32(1))


def _short(steps: NDArray[np.floating]) -> Float32:
    """Steps cut to 16 significant bits."""
    return (steps.astype("<f4").view("<u4") & np.uint32(0xFFFFFF00)).view("<f4")


@np.errstate(under="ignore")  # next to its row's largest, such a number is zero
def encode_rows(matrix: Float32, bits: Sequence[int]) -> bytes:
    """All steps, then the rows."""
    steps = steps_of(matrix, bits)
    relative = matrix / steps[:, None]
    rows = [_encode_row(row, one) for row, one in zip(relative, bits, strict=True)]
    return b"".join([steps.astype("<f4").tobytes(), *rows])


def _encode_row(relative: Float32, bits: int) -> bytes:
    if bits == FLOAT_BITS:
        return relative.astype("<f2").tobytes()
    limit = float(2 ** (bits - 1) - 1)
    codes = np.clip(np.rint(relative), -limit, limit).astype(np.int8)
    return pack_codes(codes, bits)


def decode_rows(payload: bytes, columns: int, bits: Sequence[int]) -> Float32:
    """The inverse of `encode_rows`, for a payload of the right length."""
    rows = len(bits)
    steps = np.frombuffer(payload[: 4 * rows], "<f4").astype(np.float32)
    matrix = np.empty((rows, columns), np.float32)
    place = 4 * rows
    for row, one in enumerate(bits):
        size = row_bytes(columns, one) - 4
        matrix[row] = _decode_row(payload[place : place + size], columns, one)
        place += size
    return matrix * steps[:, None]


def _decode_row(packed: bytes, columns: int, bits: int) -> NDArray[np.generic]:
    if bits == FLOAT_BITS:
        return np.frombuffer(packed, "<f2")
    return unpack_codes(packed, columns, bits)

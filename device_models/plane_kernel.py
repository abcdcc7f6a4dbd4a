"""The inner loop of a bit-plane array as numba compiles it; without numba, plain and slow.

Inputs are sparse once they are cut into bits: after a ReLU some 15 % of them are ones. The loop
adds the cells of those and leaves the others alone, and draws only the noise that can change a
code. What it finds is bit for bit what NumPy finds: sums of cells are exact in any order
(`plane_build.on_grid`), and each noise figure follows from a key and its place (`read_noise`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from device_models.read_noise import GAMMA, MIX_ONE, MIX_TWO

njit: Any
try:
    from numba import njit
except ImportError:  # it is an extra
    njit = None

_GAMMA, _MIX_ONE, _MIX_TWO = np.uint64(GAMMA), np.uint64(MIX_ONE), np.uint64(MIX_TWO)
_ONE, _TWO, _THREE, _SIXTEEN = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(16)
_SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)
_LANE = np.uint64(0xFFFF)


def _compiled(function: Callable[..., Any]) -> Any:
    """Compile at the first call and keep the result on disk, where there is a place for it."""
    if njit is None:
        return function
    try:
        return njit(cache=True)(function)
    except RuntimeError:  # neither beside this file nor in the user's cache folder
        return njit(function)


@_compiled
def add_cells(acc: Any, matrix: Any, ones: Any, count: int) -> None:
    """Add the rows of the matrix that are named by the first entries of `ones`."""
    columns, done = len(acc), 0
    while done + 8 <= count:
        a, b = matrix[ones[done]], matrix[ones[done + 1]]
        c, d = matrix[ones[done + 2]], matrix[ones[done + 3]]
        e, f = matrix[ones[done + 4]], matrix[ones[done + 5]]
        g, h = matrix[ones[done + 6]], matrix[ones[done + 7]]
        for j in range(columns):
            acc[j] += ((a[j] + b[j]) + (c[j] + d[j])) + ((e[j] + f[j]) + (g[j] + h[j]))
        done += 8
    if done + 4 <= count:
        a, b = matrix[ones[done]], matrix[ones[done + 1]]
        c, d = matrix[ones[done + 2]], matrix[ones[done + 3]]
        for j in range(columns):
            acc[j] += (a[j] + b[j]) + (c[j] + d[j])
        done += 4
    while done < count:
        a = matrix[ones[done]]
        for j in range(columns):
            acc[j] += a[j]
        done += 1


@_compiled
def disturb(acc: Any, scratch: tuple[Any, Any], noise: tuple[Any, Any, Any], first: int) -> None:
    """Add its noise to each sum that lies more than `near` from a whole number.

    Args:
        acc: [columns] float32.
        scratch: [columns] of float32 and of int32.
        noise: `near`, the key, the table of quantiles.
        first: Place of the first sum in the block.
    """
    near, key, table = noise
    distance, hits = scratch
    for j in range(len(acc)):
        distance[j] = abs(acc[j] - np.rint(acc[j]))
    count = 0
    for j in range(len(acc)):
        hits[count] = j
        count += distance[j] > near
    for hit in range(count):
        j = hits[hit]
        place = np.uint64(first + j)
        word = key + ((place >> _TWO) + _ONE) * _GAMMA
        word = (word ^ (word >> _SHIFTS[0])) * _MIX_ONE
        word = (word ^ (word >> _SHIFTS[1])) * _MIX_TWO
        word = word ^ (word >> _SHIFTS[2])
        acc[j] += table[(word >> (_SIXTEEN * (place & _THREE))) & _LANE]


@_compiled
def add_rows(
    codes: Any,
    cells: tuple[Any, Any, Any],
    live: Any,
    noise: tuple[Any, Any, Any],
    places: tuple[int, Any],
) -> None:
    """One group of a row tile: its codes, weighted by input slice and added over slices.

    Args:
        codes: [n, d] uint8.
        cells: [d + 1, columns] in converter steps, the last row the offset; [columns] the codes
            of columns that nothing drives, empty if they are not certain; the highest code.
        live: Numbers of the slices that are computed.
        noise: See `disturb`; an empty table for none.
        places: Place of the first conversion; [n, columns] float32 for the result.
    """
    (matrix, idle, top), (first, added) = cells, places
    n, inputs = codes.shape
    columns, low = matrix.shape[1], np.float32(0)
    nonzero, ones = np.empty(inputs, np.int32), np.empty(inputs, np.int32)
    acc = np.empty(columns, np.float32)
    scratch = np.empty(columns, np.float32), np.empty(columns, np.int32)
    for r in range(n):
        count = 0
        for i in range(inputs):
            nonzero[count] = i
            count += codes[r, i] != 0
        total = added[r]
        total[:] = low
        for s in range(len(live)):
            worth, driven = np.float32(1 << live[s]), 0
            for t in range(count):
                ones[driven] = nonzero[t]
                driven += (codes[r, nonzero[t]] >> live[s]) & 1
            if driven == 0 and len(idle):
                for j in range(columns):
                    total[j] += worth * idle[j]
                continue
            acc[:] = matrix[inputs]
            add_cells(acc, matrix, ones, driven)
            if len(noise[2]):
                disturb(acc, scratch, noise, first + (s * n + r) * columns)
            for j in range(columns):
                total[j] += worth * min(max(np.rint(acc[j]), low), top)


@_compiled
def add_noise(result: Any, table: Any, places: Any, sigmas: Any, heights: Any) -> None:
    """Add to each row of [groups, n, m] its noise: see `fast_array`."""
    groups, n, outputs = result.shape
    for g in range(groups):
        for r in range(n):
            start, height = places[g, r], heights[g, r]
            for j in range(outputs):
                result[g, r, j] += table[start + j] * sigmas[g, 0, j] * height

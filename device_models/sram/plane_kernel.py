"""The inner loop of a bit-plane array as numba compiles it; without numba, plain and slow.

Inputs are sparse once they are cut into bits: after a ReLU some 15 % of them are ones. The loop
adds the cells of those and leaves the others alone. What it finds is bit for bit what NumPy finds:
sums of cells are exact in any order (`plane_build.on_grid`), and the noise stands in one table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

njit: Any
try:
    from numba import njit
except ImportError:  # it is an extra
    njit = None


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
def add_rows(
    codes: Any,
    cells: tuple[Any, Any, Any],
    live: Any,
    noise: tuple[Any, Any],
    added: Any,
) -> None:
    """One group of a row tile: its codes, weighted by input slice and added over slices.

    Args:
        codes: [n, d] uint8.
        cells: [d + 1, columns] in converter steps, the last row the offset; [columns] the codes
            of columns that nothing drives, empty if they are not certain; the highest code.
        live: Numbers of the slices that are computed.
        noise: The table, empty for none; [slices·n] where in it each row of sums begins.
        added: [n, columns] float32, written.
    """
    (matrix, idle, top), (table, places) = cells, noise
    n, inputs = codes.shape
    columns, low = matrix.shape[1], np.float32(0)
    nonzero, ones = np.empty(inputs, np.int32), np.empty(inputs, np.int32)
    acc = np.empty(columns, np.float32)
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
            if len(table):
                figures = table[places[s * n + r] :]
                for j in range(columns):
                    acc[j] += figures[j]
            for j in range(columns):
                total[j] += worth * min(max(np.rint(acc[j]), low), top)


@_compiled
def add_noise(result: Any, table: Any, places: Any, sigmas: Any, heights: Any) -> None:
    """Add to each row of [groups, n, m] its noise: see `device_models.fast.array`."""
    groups, n, outputs = result.shape
    for g in range(groups):
        for r in range(n):
            start, height = places[g, r], heights[g, r]
            for j in range(outputs):
                result[g, r, j] += table[start + j] * sigmas[g, 0, j] * height

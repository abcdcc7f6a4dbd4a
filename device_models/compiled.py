"""Whether the inner loop of a bit-plane array is compiled, and how it is called.

numba is an extra. With it installed the loop is compiled at its first use, for some seconds; the
result is kept beside this file or, where that cannot be written, in the user's cache folder
(`NUMBA_CACHE_DIR` names another). The variable `NPP_NUMBA` decides: 0 keeps to NumPy, 1 insists on
numba, without it numba is taken where it is. The results are the same, bit for bit.
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_models.converter import Converter
from device_models.errors import DeviceModelError
from device_models.read_noise import new_key, quantiles
from device_models.workspace import Workspace

SWITCH = "NPP_NUMBA"

_ROUNDING = 1e-4
"""Steps by which adding the noise in float32 may be off."""


def is_compiled() -> bool:
    """Whether numba is installed and wanted.

    Raises:
        DeviceModelError: a switch that is neither 0 nor 1, or numba insisted on and not there.
    """
    wish = os.environ.get(SWITCH, "")
    if wish not in {"", "0", "1"}:
        raise DeviceModelError(
            f"{SWITCH} is {wish[:40]!r}; give 1 (insist on numba), 0 (do without), or unset it"
        )
    if wish == "1" and not _has_numba():
        raise DeviceModelError(
            f"{SWITCH} is 1, but numba is not installed; install npp-agent[numba], or unset it"
        )
    return wish != "0" and _has_numba()


@lru_cache(maxsize=1)
def _has_numba() -> bool:
    return find_spec("numba") is not None


def added_codes(
    codes: NDArray[np.uint8],
    tile: Any,
    live: NDArray[np.uint8],
    chain: Converter,
    generator: np.random.Generator,
    work: Workspace,
) -> NDArray[np.float32]:
    """The codes [groups, n, columns] of a tile's columns, weighted and added over input slices.

    Args:
        codes: [groups, n, d].
        tile: The `Columns` of the tile; without bow, capacitors or drop.
        live: The input slices to compute, of one bit each.
        chain: The converter: one read, one noise for all sums.
        generator: Where the key of the noise is drawn from.
        work: Where the result lies.
    """
    from device_models.plane_kernel import add_rows  # noqa: PLC0415 - imports numba

    groups, n = codes.shape[:2]
    columns = tile.matrix.shape[2]
    added = work.array("added", (groups, n, columns), np.float32)
    key = np.uint64(new_key(generator) if chain.is_noisy else 0)
    near = np.float32(max(0.5 - chain.most_noise_steps - _ROUNDING, -1.0))
    numbers, top = live.astype(np.int64), np.float32(chain.top_code)
    for group in range(groups):
        noise = (
            chain.is_noisy,
            near,
            key,
            quantiles(chain.noise_steps),
            (group * len(live) * n * columns),
        )
        rows = np.ascontiguousarray(codes[group])
        idle = tile.idle[group, 0]
        add_rows(rows, tile.matrix[group], idle, numbers, tile.settled, top, noise, added[group])
    return added

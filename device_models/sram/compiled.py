"""Whether the inner loop of a bit-plane array is compiled, and how it is called.

numba is an extra. With it installed the loop is compiled at its first use, for some seconds; the
result is kept beside this file or, where that cannot be written, in the user's cache folder
(`NUMBA_CACHE_DIR` names another). The variable `NPP_NUMBA` decides: 0 keeps to NumPy, 1 insists on
numba, without it numba is taken where it is. The results are the same, bit for bit.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from device_models.errors import DeviceModelError
from device_models.sram.converter import Converter
from device_models.sram.read_noise import ReadNoise
from device_models.sram.workspace import Workspace

SWITCH = "NPP_NUMBA"


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
    from device_models.sram.plane_kernel import njit  # noqa: PLC0415 - imports numba, half a second

    return njit is not None


@dataclass(frozen=True)
class TileWork:
    """One row tile of bit planes at work."""

    matrix: NDArray[np.float32]
    """[groups, d + 1, columns]: cells in converter steps; the last row is the offset."""

    idle: NDArray[np.float32] | None
    """[groups, 1, columns]: the code of a column that nothing drives, if it is certain."""

    live: NDArray[np.uint8]
    """Input slices to compute, of one bit each."""

    converter: Converter
    """With a range, one read, and one noise for all sums."""

    def added_codes(
        self, codes: NDArray[np.uint8], noise: ReadNoise, work: Workspace
    ) -> NDArray[np.float32]:
        """Convert, and add over the input slices: [groups, n, d] to [groups, n, columns]."""
        from device_models.sram.plane_kernel import add_rows  # noqa: PLC0415 - imports numba

        chain, (groups, n) = self.converter, codes.shape[:2]
        columns, count = self.matrix.shape[2], len(self.live)
        added = work.array("added", (groups, n, columns), np.float32)
        none = np.empty(0, np.float32)
        table, places = none, np.zeros((groups, count * n), np.uint16)
        if chain.is_noisy:
            table = noise.table(chain.noise_steps, columns)
            places = noise.places((groups, count * n))
        live, top = self.live.astype(np.int64), np.float32(chain.top_code or 0)
        for group in range(groups):
            idle = none if self.idle is None else self.idle[group, 0]
            rows = np.ascontiguousarray(codes[group])
            cells = self.matrix[group], idle, top
            add_rows(rows, cells, live, (table, places[group].astype(np.int64)), added[group])
        return added

"""What the C library does with memory that is freed, and why it is told to wait.

A block that is freed at the end of the heap goes back to the system, and comes back page by page at
the next block: with arrays of a megabyte that is a tenth of a calibration's time. The GNU C library
learns from the largest block that a program gave back (mallopt(3), M_MMAP_THRESHOLD): from then on
it keeps up to twice as much. Elsewhere nothing changes.
"""

from __future__ import annotations

import numpy as np

LARGEST_BYTES = 8 * 2**20
"""As large as the temporary arrays of a small network."""


def keep_freed_memory() -> None:
    """Ask for a large block, never touch it, and give it back."""
    np.empty(LARGEST_BYTES, np.uint8)

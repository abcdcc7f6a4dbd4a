"""References that tell how many of their blocks were asked for: what a progress bar follows."""

from __future__ import annotations

from collections.abc import Callable

from calib.references import BLOCK_SAMPLES, Indices, ReferenceBlock, References


class WatchedReferences:
    """Passes everything on to other references, and counts.

    Args:
        references: where the blocks come from.
        report: is told how many blocks are done, and of how many.
        passes: how many samples will be asked for, over all passes.
    """

    def __init__(
        self, references: References, report: Callable[[int, int], None], passes: int
    ) -> None:
        """Nothing is done yet."""
        self._references = references
        self._report = report
        self._total = -(-passes // BLOCK_SAMPLES)
        self._done = 0

    @property
    def count(self) -> int:
        """See `References.count`."""
        return self._references.count

    @property
    def held_back(self) -> int:
        """See `References.held_back`."""
        return self._references.held_back

    def block(
        self, indices: Indices, *, with_gradients: bool = False, with_rows: bool = True
    ) -> ReferenceBlock:
        """See `References.block`."""
        found = self._references.block(indices, with_gradients=with_gradients, with_rows=with_rows)
        self._done += 1
        self._report(min(self._done, self._total), self._total)
        return found

"""References that keep what was computed and will be wanted again.

Held-back samples are compared twice, before and after a fit, and the moment pass wants the outputs
of samples that were looked at for the fit: outputs and answers are small, so they are kept. Rows
are large; those of a block whose gradients were asked for, to choose samples, are kept until they
are asked for once more, for the fit, and then forgotten. Both have a limit of bytes; what does not
fit is recomputed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calib.references import (
    Indices,
    LayerReference,
    RecomputedReferences,
    ReferenceBlock,
    References,
    SampleCodes,
    no_rows,
)

Float32 = NDArray[np.float32]
Rows = dict[str, Float32]
"""By layer: [n, p, groups, d]."""

CAPACITY_BYTES = 4 * 2**20
"""Of outputs and answers."""

ROW_BYTES = 9 * 2**20
"""Of rows that wait for the fit."""


def remembering(references: References) -> References:
    """The same references, which keep what they compute where they compute anything."""
    if isinstance(references, RecomputedReferences):
        return RememberedReferences(references, CAPACITY_BYTES, ROW_BYTES)
    return references


class RememberedReferences:
    """Recomputed references that keep outputs and answers, and rows for one more time.

    Args:
        source: what computes.
        capacity_bytes: what outputs and answers may take.
        row_bytes: what rows may take.
    """

    def __init__(self, source: RecomputedReferences, capacity_bytes: int, row_bytes: int) -> None:
        """Nothing is known yet."""
        self._source = source
        self._capacity_bytes = capacity_bytes
        self._row_bytes = row_bytes
        self._rows: dict[tuple[int, ...], Rows] = {}
        self._known = np.zeros(source.count, np.bool_)
        self._answers: Float32 | None = None
        self._outputs: dict[str, Float32] = {}

    @property
    def count(self) -> int:
        """See `References.count`."""
        return self._source.count

    @property
    def held_back(self) -> int:
        """See `References.held_back`."""
        return self._source.held_back

    @property
    def samples(self) -> SampleCodes:
        """The samples as they are kept."""
        return self._source.samples

    def block(
        self, indices: Indices, *, with_gradients: bool = False, with_rows: bool = True
    ) -> ReferenceBlock:
        """See `References.block`."""
        if not with_gradients and self._known[indices].all():
            rows = self._rows.pop(tuple(indices.tolist()), None) if with_rows else {}
            if rows is not None:
                return self._recalled(indices, rows)
        found = self._source.block(indices, with_gradients=with_gradients, with_rows=with_rows)
        self._remember(found)
        if with_gradients and with_rows:
            self._remember_rows(found)
        return found

    def _remember(self, block: ReferenceBlock) -> None:
        """Keep what there is room for, of samples that are not known yet."""
        outputs = {name: layer.outputs for name, layer in block.layers.items()}
        if self._answers is None:
            # Memory that is never written to is never taken.
            self._answers = np.empty((self.count, *block.answers.shape[1:]), np.float32)
            for name, some in outputs.items():
                self._outputs[name] = np.empty((self.count, *some.shape[1:]), np.float32)
        kept = [self._answers, *self._outputs.values()]
        sample_bytes = sum(part[0].nbytes for part in kept)
        room = self._capacity_bytes // sample_bytes - int(self._known.sum())
        new = np.flatnonzero(~self._known[block.indices])[: max(room, 0)]
        samples = block.indices[new]
        self._answers[samples] = block.answers[new]
        for name, some in outputs.items():
            self._outputs[name][samples] = some[new]
        self._known[samples] = True

    def _remember_rows(self, block: ReferenceBlock) -> None:
        rows = {name: layer.rows for name, layer in block.layers.items()}
        self._rows.pop(tuple(block.indices.tolist()), None)
        if _bytes(rows) + sum(map(_bytes, self._rows.values())) <= self._row_bytes:
            self._rows[tuple(block.indices.tolist())] = rows

    def _recalled(self, indices: Indices, rows: Rows) -> ReferenceBlock:
        assert self._answers is not None, "a known sample has an answer"
        positions = {name: at[indices] for name, at in self._source.positions.items()}
        layers = {
            layer.name: LayerReference(
                rows=rows.get(layer.name, no_rows(layer, positions[layer.name].shape[1])),
                outputs=self._outputs[layer.name][indices],
                gradients=None,
            )
            for layer in self._source.layers
        }
        inputs = self._source.samples.decoded(indices)
        return ReferenceBlock(indices, inputs, self._answers[indices], positions, layers)


def _bytes(rows: Rows) -> int:
    return sum(array.nbytes for array in rows.values())

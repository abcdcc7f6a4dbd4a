"""References whose outputs are kept once they were computed: who only judges need not wait again.

Held-back samples are compared twice, before and after a fit, and the moment pass wants the outputs
of samples that were looked at for the fit. Outputs and answers are small beside rows and gradients,
so they are kept, up to a limit of bytes; what does not fit is recomputed.
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
    no_rows,
)

Float32 = NDArray[np.float32]
CAPACITY_BYTES = 4 * 2**20


def remembering(references: References, capacity_bytes: int = CAPACITY_BYTES) -> References:
    """The same references, which compute outputs only once where they are computed at all."""
    if isinstance(references, RecomputedReferences):
        return RememberedReferences(references, capacity_bytes)
    return references


class RememberedReferences:
    """Recomputed references that keep outputs and answers.

    Args:
        source: what computes.
        capacity_bytes: what may be kept.
    """

    def __init__(self, source: RecomputedReferences, capacity_bytes: int) -> None:
        """Nothing is known yet."""
        self._source = source
        self._capacity_bytes = capacity_bytes
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

    def block(
        self, indices: Indices, *, with_gradients: bool = False, with_rows: bool = True
    ) -> ReferenceBlock:
        """See `References.block`."""
        if not (with_gradients or with_rows) and self._known[indices].all():
            return self._recalled(indices)
        found = self._source.block(indices, with_gradients=with_gradients, with_rows=with_rows)
        self._remember(found)
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

    def _recalled(self, indices: Indices) -> ReferenceBlock:
        assert self._answers is not None, "a known sample has an answer"
        positions = {name: at[indices] for name, at in self._source.positions.items()}
        layers = {
            layer.name: LayerReference(
                rows=no_rows(layer, positions[layer.name].shape[1]),
                outputs=self._outputs[layer.name][indices],
                gradients=None,
            )
            for layer in self._source.layers
        }
        inputs = self._source.samples.decoded(indices)
        return ReferenceBlock(indices, inputs, self._answers[indices], positions, layers)

"""References stored in the bundle: rows and gradients as int8, outputs as float16, with scales.

Fewer positions fit than can be recomputed, but the board needs no float weights and computes
nothing. Held-back samples need no rows and no gradients: nothing is fitted to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.errors import CalibError
from calib.graph.linear import LinearLayer
from calib.references import (
    Indices,
    LayerReference,
    ReferenceBlock,
    References,
    SampleCodes,
    in_blocks,
)

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class StoredLayer:
    """One layer's references: codes of the fit samples' rows and gradients, all outputs."""

    rows: NDArray[np.int8]
    """[fit samples, p, groups, d]"""

    row_scale: float
    outputs: NDArray[np.float16]
    """[samples, p, m]"""

    output_scale: float
    gradients: NDArray[np.int8]
    """[fit samples, p, m]"""

    gradient_scales: Float32
    """[fit samples]: gradients differ by orders of magnitude between samples."""

    @property
    def bytes(self) -> int:
        """What the layer takes."""
        parts = (self.rows, self.outputs, self.gradients, self.gradient_scales)
        return sum(part.nbytes for part in parts)


@dataclass(frozen=True)
class StoredReferences:
    """References read from the bundle."""

    layers: Mapping[str, StoredLayer]
    answers: Float32
    samples: SampleCodes
    held_back: int
    positions: Mapping[str, Indices]

    @property
    def count(self) -> int:
        """All samples, held-back ones included."""
        return len(self.samples.codes)

    def block(
        self, indices: Indices, *, with_gradients: bool = False, with_rows: bool = True
    ) -> ReferenceBlock:
        """The references of a few samples; rows of held-back ones are not there.

        Raises:
            CalibError: gradients of held-back samples are asked for.
        """
        fit = indices - self.held_back
        if with_gradients and fit.min(initial=0) < 0:
            raise CalibError("held-back samples have no stored gradients: they only judge")
        layers = {
            name: self._layer(
                stored, indices, fit, with_gradients=with_gradients, with_rows=with_rows
            )
            for name, stored in self.layers.items()
        }
        positions = {name: at[indices] for name, at in self.positions.items()}
        inputs = self.samples.decoded(indices)
        return ReferenceBlock(indices, inputs, self.answers[indices], positions, layers)

    def _layer(
        self,
        stored: StoredLayer,
        indices: Indices,
        fit: Indices,
        *,
        with_gradients: bool,
        with_rows: bool,
    ) -> LayerReference:
        known = fit[fit >= 0]
        gradients = None
        if with_gradients:
            scales = stored.gradient_scales[known][:, None, None]
            gradients = stored.gradients[known].astype(np.float32) * scales
        wanted = known if with_rows else known[:0]
        return LayerReference(
            rows=stored.rows[wanted].astype(np.float32) * np.float32(stored.row_scale),
            outputs=stored.outputs[indices].astype(np.float32) * np.float32(stored.output_scale),
            gradients=gradients,
        )


def stored_bytes_per_position(layers: Sequence[LinearLayer]) -> int:
    """Bytes of one position of all layers of one fit sample."""
    return sum(layer.groups * layer.inputs + 3 * layer.outputs for layer in layers)


def store_references(
    references: References, layers: Sequence[LinearLayer], samples: SampleCodes
) -> StoredReferences:
    """Write down what recomputed references answer."""
    everything = np.arange(references.count)
    clean = list(in_blocks(references, everything[: references.held_back]))
    clean += list(in_blocks(references, everything[references.held_back :], with_gradients=True))
    return StoredReferences(
        layers={layer.name: _stored_layer(layer, clean) for layer in layers},
        answers=np.concatenate([block.answers for block in clean]).astype(np.float32),
        samples=samples,
        held_back=references.held_back,
        positions={
            layer.name: np.concatenate([block.positions[layer.name] for block in clean])
            for layer in layers
        },
    )


def _stored_layer(layer: LinearLayer, clean: Sequence[ReferenceBlock]) -> StoredLayer:
    looks = [block.layers[layer.name] for block in clean]
    fit = [look for look in looks if look.gradients is not None]
    rows = np.concatenate([look.rows for look in fit])
    outputs = np.concatenate([look.outputs for look in looks])
    gradients = np.concatenate([look.gradients for look in fit if look.gradients is not None])
    row_scale = _scale(np.abs(rows).max(), 127)
    output_scale = _scale(np.abs(outputs).max(), 1)
    gradient_scales = np.array([_scale(np.abs(g).max(), 127) for g in gradients], np.float32)
    with np.errstate(under="ignore"):  # next to the largest, such a number is zero
        halved = (outputs / np.float32(output_scale)).astype(np.float16)
    return StoredLayer(
        rows=np.rint(rows / row_scale).astype(np.int8),
        row_scale=row_scale,
        outputs=halved,
        output_scale=output_scale,
        gradients=np.rint(gradients / gradient_scales[:, None, None]).astype(np.int8),
        gradient_scales=gradient_scales,
    )


def _scale(largest: float, limit: int) -> float:
    return float(largest) / limit if largest > 0 else 1.0

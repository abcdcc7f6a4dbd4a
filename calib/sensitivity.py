"""Sensitivity: how much a sample's layer errors are predicted to change the network's decision.

With g the gradient of the sample's margin at a layer's output and e the layer's *local* error (what
the layer itself does wrong), the margin is predicted to change by Σ ⟨g, e⟩ over all layers, scaled
up from the sampled positions to all. The sensitivity is the predicted rise of the sample's loss.
The metric is this project's own; a published one (arXiv 2411.05845) is not public in detail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.decision import Decision
from calib.graph.linear import LinearLayer
from calib.references import ReferenceBlock

Float32 = NDArray[np.floating]


@dataclass(frozen=True)
class Sensitivity:
    """Predictions for a block of samples."""

    indices: NDArray[np.integer]
    margins: Float32
    """[n]: clean."""

    shares: Mapping[str, Float32]
    """By layer, [n]: its part of the predicted change of the margin."""

    rises: Float32
    """[n]: predicted rise of the loss; the sample's sensitivity."""

    @property
    def changes(self) -> Float32:
        """[n]: predicted change of the margin."""
        return _total(self.shares)

    def at(self, places: NDArray[np.integer]) -> Sensitivity:
        """The predictions at some places of the block."""
        shares = {name: share[places] for name, share in self.shares.items()}
        return Sensitivity(self.indices[places], self.margins[places], shares, self.rises[places])


def predict(
    layers: Sequence[LinearLayer],
    block: ReferenceBlock,
    local_errors: Mapping[str, Float32],
    decision: Decision,
) -> Sensitivity:
    """Predict what local errors [n, p, m] of the layers do to a block's decisions."""
    margins = decision.margins(block.answers)
    shares = {}
    for layer in layers:
        gradient = block.layers[layer.name].gradients
        assert gradient is not None, "the block was asked for without gradients"
        scale = layer.positions / gradient.shape[1]
        shares[layer.name] = scale * np.einsum("npm,npm->n", gradient, local_errors[layer.name])
    changes = _total(shares)
    return Sensitivity(block.indices, margins, shares, decision.predicted_rise(margins, changes))


def _total(shares: Mapping[str, Float32]) -> Float32:
    return np.asarray(np.sum(list(shares.values()), axis=0))


def joined(parts: Sequence[Sensitivity]) -> Sensitivity:
    """The predictions of several blocks as one."""
    return Sensitivity(
        indices=np.concatenate([part.indices for part in parts]),
        margins=np.concatenate([part.margins for part in parts]),
        shares={
            name: np.concatenate([part.shares[name] for part in parts]) for name in parts[0].shares
        },
        rises=np.concatenate([part.rises for part in parts]),
    )

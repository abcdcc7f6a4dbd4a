"""What layers' own errors do to the network's answer, where no network can be run.

With H a layer's output metric, an error e of its outputs changes the answer by E eᵀ H e, to first
order, squared and summed over the layers as if their errors were independent. Over the same of the
outputs themselves this is a loss without unit: 0 for the float network, near 1 for noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.layer_error import Pairs
from calib.layer_fit import METRIC_FLOOR, layer_weights
from calib.reduced_rank import metric_from
from calib.row_sums import Float64


@dataclass
class PredictedLoss:
    """Accumulates blocks of outputs; of each layer as many rows."""

    metrics: Mapping[str, Float64]
    """By layer, [m, m]."""

    errors: float = 0.0
    outputs: float = 0.0

    @classmethod
    def of(cls, columns: Mapping[str, NDArray[np.floating]]) -> PredictedLoss:
        """Start with the output metrics of a packed network's layers, as columns [m, k]."""
        found = {name: metric_from(some, METRIC_FLOOR) for name, some in columns.items()}
        weights = layer_weights({name: one.weight for name, one in found.items()})
        return cls({name: weights[name] * one.full for name, one in found.items()})

    @np.errstate(under="ignore")  # next to others, such a square is zero
    def add(self, pairs: Pairs) -> None:
        """Add measured and reference outputs [n, p, m] of all layers."""
        for name, (outputs, reference) in pairs.items():
            clean = reference.reshape(-1, reference.shape[-1]).astype(np.float64)
            error = outputs.reshape(clean.shape) - clean
            self.errors += _power(error, self.metrics[name])
            self.outputs += _power(clean, self.metrics[name])

    def loss(self) -> float:
        """Of all that was added; where the reference is zero throughout, 0 or 1."""
        return self.errors / (self.outputs or self.errors or 1.0)


def _power(rows: Float64, metric: Float64) -> float:
    return float(np.einsum("ni,ni->", rows @ metric, rows))

"""References without samples: rows drawn from the moments of each layer's inputs.

The board draws rows for each layer by itself and computes what the float weights make of them. No
network input stands behind them: they drive single layers, and are no use for a runtime that can
only run whole networks. What stands for one sample is a *draw*: the same number of rows for each
layer, always the same ones for the same number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from calib.errors import CalibError
from calib.graph.linear import LinearLayer, multiply
from calib.input_moments import InputMoments, input_moments
from calib.references import (
    Indices,
    LayerReference,
    RecomputedReferences,
    ReferenceBlock,
    in_blocks,
)
from calib.schemes.activations import ActivationCode


@dataclass(frozen=True)
class DrawnReferences:
    """References that are drawn from moments."""

    layers: Sequence[LinearLayer]
    """With the float network's weights."""

    activations: Mapping[str, ActivationCode]
    moments: Mapping[str, InputMoments]
    """By layer."""

    samples: int
    """How many the moments were taken over; none is kept."""

    count: int
    held_back: int
    rows: int
    """Of each layer, in one draw."""

    seed: int

    @property
    def rank(self) -> int:
        """Of the correlations; less where a layer has fewer inputs."""
        return max(int(moments.loadings.shape[2]) for moments in self.moments.values())

    @np.errstate(under="ignore")  # next to others of a row, such a number is zero
    def block(
        self,
        indices: Indices,
        *,
        with_gradients: bool = False,
        with_rows: bool = True,  # noqa: ARG002  # outputs are made of them
    ) -> ReferenceBlock:
        """A few draws: rows and outputs of each layer; inputs, answers and positions are empty.

        Raises:
            CalibError: gradients are asked for.
        """
        if with_gradients:
            raise CalibError("drawn rows have no gradients: no network answer hangs on them")
        layers = {layer.name: self._layer(i, layer, indices) for i, layer in enumerate(self.layers)}
        nothing = np.zeros((len(indices), 0), np.float32)
        return ReferenceBlock(indices, nothing, nothing, {}, layers)

    def _layer(self, number: int, layer: LinearLayer, indices: Indices) -> LayerReference:
        moments, code = self.moments[layer.name], self.activations[layer.name]
        streams = (np.random.default_rng([self.seed, number, int(index)]) for index in indices)
        rows = np.stack([moments.drawn(self.rows, code, stream) for stream in streams])
        return LayerReference(rows, multiply(rows, layer.weight) + layer.bias, None)


def references_from_moments(
    references: RecomputedReferences,
    activations: Mapping[str, ActivationCode],
    *,
    rank: int,
    rows: int,
    seed: int,
) -> DrawnReferences:
    """Take the moments of all samples, held-back ones too, and forget the samples.

    As many draws as there were samples stand in their places.

    Args:
        references: with the float network's weights.
        activations: by layer.
        rank: of the correlations.
        rows: of each layer, in one draw.
        seed: of the draws.
    """
    blocks = in_blocks(references, np.arange(references.count))
    return DrawnReferences(
        layers=references.layers,
        activations=activations,
        moments=input_moments(references.layers, activations, blocks, rank),
        samples=references.count,
        count=references.count,
        held_back=references.held_back,
        rows=rows,
        seed=seed,
    )

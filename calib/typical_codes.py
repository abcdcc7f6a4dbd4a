"""Activations as the layers usually get them: clean references, encoded for the array."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from calib.graph.linear import LinearLayer
from calib.packed import PackedNetwork
from calib.references import ReferenceBlock, fit_indices

SAMPLES = 64
"""References that are looked at, the first ones that may take part in a fit."""


class TypicalCodes:
    """Clean activations of a network's layers; nothing is computed before it is asked for."""

    def __init__(self, network: PackedNetwork) -> None:
        """Remember the network."""
        self._network = network

    def of(self, layer: LinearLayer) -> NDArray[np.uint8]:
        """Codes [n, groups, d] of one layer, the same at every call."""
        return self._network.activations[layer.name].encode(self.rows(layer))

    def rows(self, layer: LinearLayer) -> NDArray[np.float32]:
        """The same as values [n, groups, d], not encoded."""
        rows = self._block.layers[layer.name].rows
        return rows.reshape(-1, layer.groups, layer.inputs)

    @cached_property
    def _block(self) -> ReferenceBlock:
        references = self._network.references
        return references.block(fit_indices(references)[:SAMPLES])

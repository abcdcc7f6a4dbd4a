"""The surrogate of a layer and of a network: the only numbers that ever change on the device.

y = g ⊙ main(x) + B (A x) + c
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.graph.linear import LinearLayer

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Surrogate:
    """One layer's gain g, offset c, and low-rank factors A and B (rank 0: none)."""

    gain: Float32
    """[outputs]"""

    offset: Float32
    """[outputs]"""

    a: Float32
    """[rank, inputs]"""

    b: Float32
    """[outputs, rank]"""

    @property
    def rank(self) -> int:
        """Rows of A."""
        return int(self.a.shape[0])

    @property
    def parameters(self) -> int:
        """How many numbers the surrogate has."""
        return self.gain.size + self.offset.size + self.a.size + self.b.size

    def apply(self, main: Float32, rows: Float32) -> Float32:
        """Correct main-path outputs [..., outputs] made of rows [..., groups, inputs]."""
        corrected = main * self.gain
        corrected += self.offset
        if self.rank:
            flat = rows.reshape(-1, self.a.shape[1])
            corrected += ((flat @ self.a.T) @ self.b.T).reshape(corrected.shape)
        return corrected

    def then_scaled(self, scale: Float32, shift: Float32) -> Surrogate:
        """The surrogate followed by y ← scale · y + shift, at no cost."""
        return Surrogate(
            self.gain * scale, self.offset * scale + shift, self.a, self.b * scale[:, None]
        )


def identity(layer: LinearLayer) -> Surrogate:
    """The surrogate that changes nothing."""
    return Surrogate(
        gain=np.ones(layer.outputs, np.float32),
        offset=np.zeros(layer.outputs, np.float32),
        a=np.zeros((0, layer.inputs), np.float32),
        b=np.zeros((layer.outputs, 0), np.float32),
    )


@dataclass(frozen=True)
class Factors:
    """The surrogates of all linear layers, by layer name."""

    surrogates: Mapping[str, Surrogate]

    def __getitem__(self, layer: str) -> Surrogate:
        """The surrogate of a layer."""
        return self.surrogates[layer]

    def replaced(self, layer: str, surrogate: Surrogate) -> Factors:
        """The same with another surrogate for one layer."""
        return Factors({**self.surrogates, layer: surrogate})


def no_factors(layers: Sequence[LinearLayer]) -> Factors:
    """Factors that change nothing: the main path alone."""
    return Factors({layer.name: identity(layer) for layer in layers})

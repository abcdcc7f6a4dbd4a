"""The surrogate of a layer and of a network: the only numbers that ever change on the device.

y = g ⊙ main(x) + B (A x) + c

A grouped layer has an A and a B in each group, all of the same rank. A depthwise layer's are of
rank 1: a correction of each channel's kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calib.graph.linear import LinearLayer, multiply

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Surrogate:
    """One layer's gain g, offset c, and low-rank factors A and B (rank 0: none)."""

    gain: Float32
    """[outputs]"""

    offset: Float32
    """[outputs]"""

    a: Float32
    """[groups · rank, inputs]: the rows of the first group, then those of the second, …"""

    b: Float32
    """[outputs, rank]: an output takes what A made in its own group."""

    bits: tuple[int, ...] = ()
    """[rank]: of each component's rows of A as they are stored (`calib.precision`); empty: not
    decided, and then they are stored as float16."""

    beside: bool = False
    """Whether the branch stays beside weights that would have room for it: where the codes of the
    input clip, it has to read the input itself."""

    @property
    def rank(self) -> int:
        """Columns of B."""
        return int(self.b.shape[1])

    @property
    def groups(self) -> int:
        """How many A and B stand side by side; 1 where there are none."""
        return len(self.a) // self.rank if self.rank else 1

    @property
    def parameters(self) -> int:
        """How many numbers the surrogate has."""
        return self.gain.size + self.offset.size + self.a.size + self.b.size

    @property
    def has_branch(self) -> bool:
        """Whether A and B change anything."""
        return bool(self.a.any() and self.b.any())

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return not self.rank and bool((self.gain == 1).all() and not self.offset.any())

    def apply(self, main: Float32, rows: Float32) -> Float32:
        """Correct main-path outputs [..., outputs] made of rows [..., groups, inputs]."""
        corrected = main * self.gain
        corrected += self.offset
        if self.rank:
            flat = rows.reshape(-1, self.groups, self.a.shape[1])
            corrected += self._low_rank(flat).reshape(corrected.shape)
        return corrected

    def _low_rank(self, rows: Float32) -> Float32:
        """B (A x) for rows [n, groups, inputs]: [n, outputs]."""
        if self.groups == 1:
            return np.asarray((rows[:, 0] @ self.a.T) @ self.b.T)
        a, b = self.by_group
        low = multiply(rows, a.swapaxes(1, 2)).reshape(len(rows), self.groups, self.rank)
        return multiply(low, b.swapaxes(1, 2))

    @property
    def by_group(self) -> tuple[Float32, Float32]:
        """A [groups, rank, inputs] and B [groups, outputs/groups, rank]."""
        a = self.a.reshape(self.groups, self.rank, self.a.shape[1])
        return a, self.b.reshape(self.groups, len(self.b) // self.groups, self.rank)

    def then_scaled(self, scale: Float32, shift: Float32) -> Surrogate:
        """The surrogate followed by y ← scale · y + shift, at no cost."""
        return replace(
            self,
            gain=self.gain * scale,
            offset=self.offset * scale + shift,
            b=self.b * scale[:, None],
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

    def in_bits_of(self, other: Factors) -> Factors:
        """The same, to be stored as finely as other factors of the same ranks."""
        return Factors(
            {name: replace(one, bits=other[name].bits) for name, one in self.surrogates.items()}
        )

    def replaced(self, layer: str, surrogate: Surrogate) -> Factors:
        """The same with another surrogate for one layer."""
        return Factors({**self.surrogates, layer: surrogate})


def no_factors(layers: Sequence[LinearLayer]) -> Factors:
    """Factors that change nothing: the main path alone."""
    return Factors({layer.name: identity(layer) for layer in layers})

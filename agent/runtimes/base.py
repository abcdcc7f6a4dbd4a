"""The seam between the loop and whatever runs the main path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from calib.factors import Factors
from calib.graph.linear import LinearLayer

Float32 = NDArray[np.float32]
Positions = Mapping[str, NDArray[np.integer]]
"""By layer to tap: the positions to look at in each sample, [n, p]."""


@dataclass(frozen=True)
class LayerTrace:
    """What one tapped layer was given and made."""

    rows: Float32
    """[n, p, groups, d]"""

    main: Float32
    """[n, p, m]: the main path's output, before the surrogate."""

    outputs: Float32
    """[n, p, m]: after the surrogate, before the activation."""


@dataclass(frozen=True)
class Trace:
    """What one run shows: the answer and the tapped layers."""

    answers: Float32
    """[n, ...]: logits where there are classes."""

    layers: Mapping[str, LayerTrace]


class Runtime(Protocol):
    """Executes the main path with given factors."""

    @property
    def layers(self) -> Sequence[LinearLayer]:
        """The linear layers that make up the main path, in order."""
        ...

    def run(self, samples: Float32, factors: Factors, taps: Positions) -> Trace:
        """Run samples [n, ...] through the whole network."""
        ...

    def close(self) -> None:
        """Give back what the runtime holds."""
        ...


class ProbingRuntime(Runtime, Protocol):
    """A runtime that can also drive one layer alone, on inputs of the caller's choice."""

    def probe(self, layer: LinearLayer, rows: Float32) -> Float32:
        """The main path's outputs [..., m] for rows [..., groups, d]."""
        ...


def can_probe(runtime: Runtime) -> bool:
    """Whether single layers can be driven."""
    return hasattr(runtime, "probe")

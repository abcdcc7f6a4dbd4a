"""The seam between the loop and whatever runs the main path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from calib.factors import Factors
from calib.graph.executor import Replacement
from calib.graph.linear import LinearLayer

Float32 = NDArray[np.float32]
Positions = Mapping[str, NDArray[np.integer]]
"""By layer to tap: the positions to look at in each sample, [n, p]."""

Adjust = Callable[[LinearLayer, Float32], tuple[Float32, Float32]]
"""From a layer and its corrected outputs [n, positions, m] to a scale and a shift, [m] each."""

Answer = Callable[[Float32], Float32]
"""From samples [n, ...] to answers [n, ...], logits where there are classes."""


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

    def loaded(self, factors: Factors) -> Answer:
        """The network with these factors, ready to answer.

        It stands beside everything else that the runtime has loaded, holds its own memory until it
        is forgotten, and may be called from any thread, whatever the runtime does meanwhile.

        Raises:
            RuntimeUnavailableError: the network cannot be loaded with them.
        """
        ...

    def close(self) -> None:
        """Give back what the runtime holds."""
        ...


class ProbingRuntime(Runtime, Protocol):
    """A runtime that can also drive one layer alone, on inputs of the caller's choice."""

    def probe(self, layer: LinearLayer, rows: Float32) -> Float32:
        """The main path's outputs [..., m] for rows [..., groups, d]."""
        ...


class LayerwiseRuntime(Runtime, Protocol):
    """A runtime that can stop after each layer and go on with what the caller makes of it."""

    def run_adjusting(self, samples: Float32, factors: Factors, adjust: Adjust) -> None:
        """Run samples once; each layer's outputs are adjusted before the next layer sees them."""
        ...


class TrainableRuntime(Runtime, Protocol):
    """A runtime whose main path can stand in the nodes of a graph, so that gradients pass it."""

    def main_paths(self) -> Mapping[str, Replacement]:
        """By layer: from its input tensor to its main path's output tensor, no surrogate."""
        ...


class BranchedRuntime(Runtime, Protocol):
    """A runtime whose branches were made beforehand, each with room for so many components."""

    @property
    def largest_ranks(self) -> Mapping[str, int]:
        """By layer; 0: it has no branch."""
        ...


def largest_ranks(runtime: Runtime) -> Mapping[str, int]:
    """By layer, the largest rank that the runtime has room for; not named: any."""
    found: Mapping[str, int] = getattr(runtime, "largest_ranks", {})
    return found


class TimedRuntime(Runtime, Protocol):
    """A runtime that is fast or slow here, on the very processor, and can tell by how much."""

    def slowdowns(self, variants: Sequence[Mapping[str, int]]) -> Sequence[float]:
        """The time of one sample with branches, in times of that without any, as measured.

        Args:
            variants: each by layer the rank of its branch; not named: none.
        """
        ...


def can_time(runtime: Runtime) -> bool:
    """Whether the runtime tells what branches cost in time."""
    return hasattr(runtime, "slowdowns")


def can_probe(runtime: Runtime) -> bool:
    """Whether single layers can be driven."""
    return hasattr(runtime, "probe")


def is_layerwise(runtime: Runtime) -> bool:
    """Whether the outputs of one layer can be changed before the next one runs."""
    return hasattr(runtime, "run_adjusting")


def can_train(runtime: Runtime) -> bool:
    """Whether surrogates can be trained through the network."""
    return hasattr(runtime, "main_paths")


def slices(count: int, step: int) -> list[slice]:
    """The batches of so many samples or rows."""
    return [slice(start, start + step) for start in range(0, count, step)]


def joined(parts: Sequence[LayerTrace]) -> LayerTrace:
    """What batches showed of one layer, as of one run."""
    if len(parts) == 1:
        return parts[0]
    return LayerTrace(
        rows=np.concatenate([part.rows for part in parts]),
        main=np.concatenate([part.main for part in parts]),
        outputs=np.concatenate([part.outputs for part in parts]),
    )

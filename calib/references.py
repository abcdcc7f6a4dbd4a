"""References: what the float network answers for each reference sample.

For every layer and sample a few positions are looked at: the layer's clean input rows, its clean
outputs there, and the gradient of the sample's margin. They are *recomputed* by the NumPy network
(here), or were *stored* when the bundle was made (`calib.stored_references`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from calib.decision import Decision, decision_graph
from calib.graph.executor import gradients, run
from calib.graph.linear import LinearLayer, linear_layers
from calib.graph.model import Graph
from calib.uniform import UniformNumbers

Float32 = NDArray[np.float32]
Indices = NDArray[np.integer]
BLOCK_SAMPLES = 8
_OFF_GRID = 2e-5
"""How far off a grid values may lie, relative to all of it: a tenth of what float16 loses."""


@dataclass(frozen=True)
class LayerReference:
    """One layer's clean rows, outputs and margin gradients at sampled positions."""

    rows: Float32
    """[n, p, groups, d]; [0, p, groups, d] where they were not asked for or are not there."""

    outputs: Float32
    """[n, p, m]"""

    gradients: Float32 | None
    """[n, p, m]: of the margin with respect to the output."""


@dataclass(frozen=True)
class ReferenceBlock:
    """References of a few samples."""

    indices: Indices
    inputs: Float32
    answers: Float32
    """What the float network answers: logits where there are classes."""

    positions: Mapping[str, Indices]
    """By layer: the sampled positions, [n, p]."""

    layers: Mapping[str, LayerReference]


class References(Protocol):
    """Reference samples: the first `held_back` never take part in a fit."""

    @property
    def count(self) -> int:
        """All samples, held-back ones included."""
        ...

    @property
    def held_back(self) -> int:
        """How many samples only judge."""
        ...

    def block(
        self, indices: Indices, *, with_gradients: bool = False, with_rows: bool = True
    ) -> ReferenceBlock:
        """The references of a few samples; without what is not asked for, it may cost less."""
        ...


def held_back_indices(references: References) -> Indices:
    """The samples that judge."""
    return np.arange(references.held_back)


def fit_indices(references: References) -> Indices:
    """The samples that may be chosen for a fit."""
    return np.arange(references.held_back, references.count)


def in_blocks(
    references: References,
    indices: Indices,
    *,
    with_gradients: bool = False,
    with_rows: bool = True,
) -> Iterator[ReferenceBlock]:
    """The references of many samples, a few at a time."""
    for start in range(0, len(indices), BLOCK_SAMPLES):
        some = indices[start : start + BLOCK_SAMPLES]
        yield references.block(some, with_gradients=with_gradients, with_rows=with_rows)


def position_bytes(layer: LinearLayer) -> int:
    """What the number of one position takes."""
    return 2 if layer.positions <= 2**16 else 4


def draw_positions(
    layers: Sequence[LinearLayer],
    samples: int,
    per_sample: int,
    generator: np.random.Generator | UniformNumbers,
) -> dict[str, Indices]:
    """For each layer, which positions of each sample are looked at: [samples, p], no repeats."""
    drawn: dict[str, Indices] = {}
    for layer in layers:
        count = min(per_sample, layer.positions)
        kind = np.uint16 if position_bytes(layer) == 2 else np.uint32
        drawn[layer.name] = np.empty((samples, count), kind)
        for start in range(0, samples, BLOCK_SAMPLES):  # of all at once there would be megabytes
            some = drawn[layer.name][start : start + BLOCK_SAMPLES]
            order = generator.random((len(some), layer.positions)).argsort(axis=1)[:, :count]
            some[:] = np.sort(order, axis=1)
    return drawn


@dataclass(frozen=True)
class RecomputedReferences:
    """References that the board computes itself, from float weights and the samples."""

    graph: Graph
    """The float network up to its logits."""

    layers: Sequence[LinearLayer]
    decision: Decision
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
        """The references of a few samples: one run of the float network, and one back."""
        inputs = self.samples.decoded(indices)
        names = [layer.output for layer in self.layers]
        names += [layer.input for layer in self.layers if with_rows]
        values = run(self.graph, inputs, keep=None if with_gradients else names)
        answers = values[self.graph.output]
        pulled: Mapping[str, Float32] = {}
        if with_gradients:
            outputs = [layer.output for layer in self.layers]
            pulled = gradients(self.graph, values, self.decision.seeds(answers), outputs)
        positions = {name: at[indices] for name, at in self.positions.items()}
        layers = {
            layer.name: _look(layer, values, pulled, positions[layer.name], with_rows=with_rows)
            for layer in self.layers
        }
        return ReferenceBlock(indices, inputs, answers, positions, layers)


def no_rows(layer: LinearLayer, positions: int) -> Float32:
    """What stands in the place of rows that were not asked for."""
    return np.zeros((0, positions, layer.groups, layer.inputs), np.float32)


def _look(
    layer: LinearLayer,
    values: Mapping[str, Float32],
    pulled: Mapping[str, Float32],
    positions: Indices,
    *,
    with_rows: bool,
) -> LayerReference:
    gradient = pulled.get(layer.output)
    rows = no_rows(layer, positions.shape[1])
    if with_rows:
        rows = layer.rows_at(values[layer.input], positions)
    return LayerReference(
        rows=rows,
        outputs=layer.output_at(values[layer.output], positions),
        gradients=None if gradient is None else layer.output_at(gradient, positions),
    )


@dataclass(frozen=True)
class SampleCodes:
    """Samples as they are kept: uint8 where that is exact, else float16 with a scale."""

    codes: NDArray[np.generic]
    scale: float = 1.0
    offset: float = 0.0

    def decoded(self, indices: Indices) -> Float32:
        """The samples as float32."""
        values = self.codes[indices].astype(np.float32)
        return values * np.float32(self.scale) + np.float32(self.offset)

    @property
    def bytes_per_sample(self) -> int:
        """What one sample takes."""
        return int(self.codes.nbytes // max(len(self.codes), 1))


def encode_samples(samples: Float32) -> SampleCodes:
    """Keep samples in the fewest bytes that lose nothing that matters.

    Values on a regular grid of at most 256 levels (images, dequantised features) become uint8;
    others float16, scaled to at most 1, from their middle where they all lie far from zero.
    """
    levels = np.unique(samples).astype(np.float64)
    low, high = float(levels[0]), float(levels[-1])
    intervals = _grid_intervals(levels)
    if intervals is not None:
        step = (high - low) / intervals or 1.0
        codes = np.rint((samples - np.float32(low)) / np.float32(step))
        return SampleCodes(codes.astype(np.uint8), step, low)
    scale, offset = max(abs(low), abs(high)), 0.0
    if scale > 2 * (high - low):
        scale, offset = (high - low) / 2, (high + low) / 2
    with np.errstate(under="ignore"):  # next to the largest, such a number is zero
        halved = ((samples - np.float32(offset)) / np.float32(scale)).astype(np.float16)
    return SampleCodes(halved, scale, offset)


def _grid_intervals(levels: NDArray[np.float64]) -> int | None:
    """How many equal intervals the grid has that ascending levels lie on; None: more than 255."""
    if len(levels) > 256:
        return None
    span = levels[-1] - levels[0]
    relative = (levels - levels[0]) / (span or 1.0)
    counts = np.arange(1, 256)
    places = counts[:, None] * relative
    off = np.abs(places - np.rint(places)).max(axis=1) / counts
    fitting = np.flatnonzero(off <= _OFF_GRID)
    return int(counts[fitting[0]]) if len(fitting) else None


def recompute_references(  # noqa: PLR0913 -- what makes references: a network, samples, positions
    network: Graph,
    decision: Decision,
    samples: SampleCodes,
    *,
    held_back: int,
    positions: int,
    seed: int,
) -> RecomputedReferences:
    """References that the float network recomputes; positions follow from the seed."""
    graph = decision_graph(network)
    layers = linear_layers(graph)
    drawn = draw_positions(layers, len(samples.codes), positions, UniformNumbers(seed))
    return RecomputedReferences(graph, layers, decision, samples, held_back, drawn)

"""Units in which the constants of surrogates are trained: one learning rate suits all layers.

Adam moves every entry of every constant by about as much, but layers differ by orders of magnitude
in their inputs and outputs. In these units a step moves a layer's output by about the learning rate
times the output's size, whichever constant it is: a gain by itself, an offset by outputs, an entry
of A by inputs over their number, an entry of B by outputs over the rank (the 1/fan-in of G. Yang et
al., Tensor Programs V, arXiv 2203.03466, table 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from calib.adam import Weights
from calib.factors import Factors, Surrogate
from calib.graph.executor import Replacement, run
from calib.graph.linear import LinearLayer
from calib.graph.model import Array, Graph
from calib.surrogate_graph import GAIN, OFFSET, A, B, constant_name


@dataclass(frozen=True)
class LayerSizes:
    """Root mean squares of what a layer is given and of what it makes; 1 where that is zero."""

    input: float
    output: float


def sizes_in(
    graph: Graph, layers: Sequence[LinearLayer], chip: Mapping[str, Replacement], samples: Array
) -> dict[str, LayerSizes]:
    """The sizes of each layer's input and output in one run of samples [n, ...]."""
    names = [name for layer in layers for name in (layer.input, layer.output)]
    seen = run(graph, samples, keep=names, replace=chip)
    return {
        layer.name: LayerSizes(_size(seen[layer.input]), _size(seen[layer.output]))
        for layer in layers
    }


def _size(values: Array) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).mean())) or 1.0


def units_of(
    layers: Sequence[LinearLayer], factors: Factors, sizes: Mapping[str, LayerSizes]
) -> dict[str, np.float32]:
    """The unit of each constant of the surrogate graph."""
    units: dict[str, float] = {}
    for layer in layers:
        size, rank = sizes[layer.name], factors[layer.name].rank
        parts = {GAIN: 1.0, OFFSET: size.output}
        if rank:
            parts |= {A: 1 / (layer.inputs * size.input), B: size.output / rank}
        units |= {constant_name(layer.name, part): unit for part, unit in parts.items()}
    return {name: np.float32(unit) for name, unit in units.items()}


def times(arrays: Weights, units: Mapping[str, np.float32]) -> dict[str, Array]:
    """Each array times its unit: from units to values, and for gradients the other way."""
    return {name: array * units[name] for name, array in arrays.items()}


def normalised(factors: Factors, sizes: Mapping[str, LayerSizes]) -> Factors:
    """The same surrogates, A and B scaled so that A makes something of size 1 of its input.

    Scaled by powers of two: rounded factors stay on their grids, and B A is the same to the bit.
    """
    return Factors(
        {name: _normalised(one, sizes[name].input) for name, one in factors.surrogates.items()}
    )


def _normalised(surrogate: Surrogate, input_size: float) -> Surrogate:
    lengths = np.linalg.norm(surrogate.a, axis=1) * input_size
    powers = np.rint(np.log2(np.where(lengths > 0, lengths, 1.0)))
    scale = np.exp2(np.clip(powers, -60, 60)).astype(np.float32)
    _, b = surrogate.by_group
    scaled = b * scale.reshape(surrogate.groups, 1, surrogate.rank)
    return replace(surrogate, a=surrogate.a / scale[:, None], b=scaled.reshape(surrogate.b.shape))

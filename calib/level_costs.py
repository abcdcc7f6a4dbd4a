"""What a level costs each input channel: the predicted change of the network's answer.

A channel's error is e = Σ over taps (x̂ ŵ − x w), x̂ and ŵ rounded to the level and everything else
left as it is. The layer's output metric H = M Mᵀ (`calib.output_metric`) says how much an error of
its outputs moves the answer: the predicted loss is the mean of ‖Mᵀ e‖² over rows that the layer is
usually given. It is added up over channels, as if their errors were independent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calib.graph.executor import run
from calib.graph.linear import LinearLayer
from calib.graph.model import Graph
from calib.references import BLOCK_SAMPLES
from calib.schemes.channelwise import bare_level, nearest_weights

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
ROWS = 4096
"""Of each layer, at most, that codes are fitted to."""

COST_ROWS = 256
"""Of these, that costs are taken over."""


def taps_of(layer: LinearLayer) -> int:
    """Rows that each input channel has."""
    return 1 if layer.window is None else int(np.prod(layer.window.kernel))


def channels_of(layer: LinearLayer) -> int:
    """Input channels of each group."""
    return layer.inputs // taps_of(layer)


def sampled_rows(
    graph: Graph,
    layers: Sequence[LinearLayer],
    samples: Float32,
    generator: np.random.Generator,
) -> dict[str, Float32]:
    """By layer, rows [n, groups, d] that it is given, from positions drawn at random."""
    names = [layer.input for layer in layers]
    found: dict[str, list[Float32]] = {layer.name: [] for layer in layers}
    for start in range(0, len(samples), BLOCK_SAMPLES):
        block = samples[start : start + BLOCK_SAMPLES]
        values = run(graph, block, keep=names)
        for layer in layers:
            count = min(max(ROWS // len(samples), 1), layer.positions)
            at = generator.random((len(block), layer.positions)).argsort(axis=1)[:, :count]
            rows = layer.rows_at(values[layer.input], at)
            found[layer.name].append(rows.reshape(-1, layer.groups, layer.inputs))
    return {name: np.concatenate(parts) for name, parts in found.items()}


@np.errstate(under="ignore")  # the square of a small error is zero
def level_costs(
    layer: LinearLayer, rows: Float32, metric: NDArray[np.floating], levels: Sequence[int]
) -> Float64:
    """The predicted loss of each channel with each level: [channels, levels].

    Args:
        layer: a linear layer with its float weights.
        rows: [n, groups, d]
        metric: [outputs, k]
        levels: bits.
    """
    taps, channels = taps_of(layer), channels_of(layer)
    few = rows[np.linspace(0, len(rows) - 1, min(COST_ROWS, len(rows))).astype(int)]
    costs = np.zeros((channels, len(levels)))
    for place, bits in enumerate(levels):
        level = bare_level(rows, np.arange(channels), bits, taps, layer.weight.shape[2])
        codes = level.encode_rows(few, taps).astype(np.float32) - np.float32(level.zero_point)
        weight = nearest_weights(layer.weight, level, taps)
        steps = np.tile(level.steps, taps)
        for group in range(layer.groups):
            parts = (
                (codes[:, group] * steps[group], weight[group]),
                (
                    few[:, group],
                    layer.weight[group],
                ),
            )
            costs[:, place] += _channel_losses(parts, _columns(layer, metric, group), taps)
    return costs


def _columns(layer: LinearLayer, metric: NDArray[np.floating], group: int) -> Float32:
    """The metric of one group's outputs."""
    outputs = layer.weight.shape[2]
    return metric[group * outputs : (group + 1) * outputs].astype(np.float32)


def _channel_losses(
    parts: tuple[tuple[Float32, Float32], tuple[Float32, Float32]], columns: Float32, taps: int
) -> Float64:
    """Mean of ‖Mᵀ e‖² for each channel, from (inputs, weights) rounded and as they were."""
    terms = []
    for sign, (inputs, weight) in zip((1, -1), parts, strict=True):
        by_channel = inputs.reshape(len(inputs), taps, -1).transpose(2, 0, 1)
        seen = (weight @ columns).reshape(taps, -1, columns.shape[1]).transpose(1, 0, 2)
        terms.append(sign * np.matmul(by_channel, seen))
    return np.asarray(np.square(terms[0] + terms[1], dtype=np.float64).sum(axis=2).mean(axis=1))

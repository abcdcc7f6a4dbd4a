"""The weights that a chip effectively has, read from it row by row."""

from __future__ import annotations

import numpy as np

from agent.runtimes.cim import CimRuntime
from calib.graph.linear import LinearLayer
from calib.packed import PackedNetwork
from recovery.samples import Float32


def effective_weights(runtime: CimRuntime, network: PackedNetwork) -> dict[str, Float32]:
    """By layer [groups, d, m]: one input at a time is driven with the largest code.

    Exact, up to rounding, where the array is linear.
    """
    return {layer.name: _weights_of(runtime, network, layer) for layer in network.layers}


def _weights_of(runtime: CimRuntime, network: PackedNetwork, layer: LinearLayer) -> Float32:
    code = network.activations[layer.name]
    top = 2**code.bits - 1 - code.zero_point
    value = np.float32(code.step * (top if top >= code.zero_point else -code.zero_point))
    rows = np.zeros((layer.inputs, layer.groups, layer.inputs), np.float32)
    rows[np.arange(layer.inputs), :, np.arange(layer.inputs)] = value
    idle = runtime.probe(layer, np.zeros_like(rows[:1]))
    answer = (runtime.probe(layer, rows) - idle) / value
    return answer.reshape(layer.inputs, layer.groups, -1).swapaxes(0, 1)

"""The network with its surrogates as nodes of the graph, so that gradients reach them.

Beside each linear layer stand

    layer's input → clip → main → × gain → + → + offset → the layer's output
              └───→ A → B ─────────────────↗

For a convolution A is a convolution of the layer's own geometry and groups, with `rank` outputs for
each group, and B one of a single tap; for a matrix product both are matrix products. Rank 0 has no
A and B. Gain, offset, A and B are constants, named after the layer. The clip is to the range of the
codes in which the main path gets its input: it changes nothing on a chip, and keeps gradients from
passing where the chip does not look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from calib.factors import Factors, Surrogate
from calib.graph.linear import LinearLayer
from calib.graph.model import Array, Graph, Node
from calib.schemes.activations import ActivationCode

GAIN, OFFSET, A, B = "gain", "offset", "a", "b"
_MATRIX_AXES = 2


def constant_name(layer: str, part: str) -> str:
    """The name of the constant that holds a part of a layer's surrogate."""
    return f"{layer}@{part}"


def surrogate_graph(
    graph: Graph,
    layers: Sequence[LinearLayer],
    activations: Mapping[str, ActivationCode],
    factors: Factors,
) -> Graph:
    """The graph with a surrogate beside each linear layer.

    Args:
        graph: the network that the layers are of.
        layers: its linear layers; their nodes keep their names.
        activations: by layer, the codes of its main path's input.
        factors: values of the surrogates' constants; they decide the ranks.
    """
    by_name = {layer.name: layer for layer in layers}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in by_name:
            nodes += _corrected(node, by_name[node.name], factors[node.name].rank)
        else:
            nodes.append(node)
    constants = {**graph.constants, **constants_of(layers, factors)}
    for name in by_name:
        ends = zip(_limit_names(name), activations[name].limits, strict=True)
        constants |= {limit: np.asarray(value, np.float32) for limit, value in ends}
    return replace(graph, nodes=tuple(nodes), constants=constants)


def constants_of(layers: Sequence[LinearLayer], factors: Factors) -> dict[str, Array]:
    """Factors as the constants of the surrogate graph."""
    found: dict[str, Array] = {}
    for layer in layers:
        surrogate = factors[layer.name]
        parts = {
            GAIN: surrogate.gain.reshape(_channel_shape(layer)),
            OFFSET: surrogate.offset.reshape(_channel_shape(layer)),
        }
        if surrogate.rank:
            parts |= {A: a_tensor(layer, surrogate.a), B: b_tensor(layer, surrogate.b)}
        found |= {constant_name(layer.name, part): value for part, value in parts.items()}
    return found


def factors_of(layers: Sequence[LinearLayer], constants: Mapping[str, Array]) -> Factors:
    """The inverse of `constants_of`."""
    return Factors({layer.name: _surrogate(layer, constants) for layer in layers})


def _surrogate(layer: LinearLayer, constants: Mapping[str, Array]) -> Surrogate:
    gain, offset = (constants[constant_name(layer.name, part)] for part in (GAIN, OFFSET))
    a = constants.get(constant_name(layer.name, A))
    b = constants.get(constant_name(layer.name, B))
    if a is None or b is None:
        a_rows, b_rows = np.zeros((0, layer.inputs)), np.zeros((layer.outputs, 0))
    else:
        a_rows, b_rows = _a_rows(layer, a), _b_rows(layer, b)
    return Surrogate(
        gain=gain.reshape(-1).astype(np.float32),
        offset=offset.reshape(-1).astype(np.float32),
        a=a_rows.astype(np.float32),
        b=b_rows.astype(np.float32),
    )


def _channel_shape(layer: LinearLayer) -> tuple[int, ...]:
    """One number a channel, beside a tensor of the layer's output."""
    return (layer.outputs, *(1,) * (0 if layer.window is None else layer.window.axes))


def a_tensor(layer: LinearLayer, a: Array) -> Array:
    """A [rows, d] as its node reads it: [rows, channels of a group, *kernel], or [d, rows]."""
    if layer.window is None:
        return np.ascontiguousarray(a.T)
    taps_first = a.reshape(len(a), *layer.window.kernel, -1)
    return np.ascontiguousarray(np.moveaxis(taps_first, -1, 1))


def _a_rows(layer: LinearLayer, tensor: Array) -> Array:
    if layer.window is None:
        return np.ascontiguousarray(tensor.T)
    return np.moveaxis(tensor, 1, -1).reshape(len(tensor), -1)


def b_tensor(layer: LinearLayer, b: Array) -> Array:
    """B [outputs, rank] as its node reads it: [outputs, rank, 1, …], or [rank, outputs]."""
    if layer.window is None:
        return np.ascontiguousarray(b.T)
    return np.ascontiguousarray(b.reshape(*b.shape, *(1,) * layer.window.axes))


def _b_rows(layer: LinearLayer, tensor: Array) -> Array:
    if layer.window is None:
        return np.ascontiguousarray(tensor.T)
    return tensor.reshape(tensor.shape[:_MATRIX_AXES])


def _limit_names(layer: str) -> tuple[str, str]:
    return f"{layer}@lowest", f"{layer}@highest"


def _corrected(node: Node, layer: LinearLayer, rank: int) -> Iterator[Node]:
    """The layer's node and those of its surrogate; the last one makes the layer's output."""
    name = node.name
    gain, offset, a, b = (constant_name(name, part) for part in (GAIN, OFFSET, A, B))
    seen, main, scaled, low, wide, both = (
        f"{name}@{step}" for step in ("seen", "main", "scaled", "low", "wide", "both")
    )
    yield Node(seen, "Clip", (layer.input, *_limit_names(name)), (seen,))
    yield replace(node, inputs=(seen, *node.inputs[1:]), outputs=(main,))
    yield Node(scaled, "Mul", (main, gain), (scaled,))
    if rank and layer.window is None:
        yield Node(low, "MatMul", (layer.input, a), (low,))
        yield Node(wide, "MatMul", (low, b), (wide,))
    elif rank:
        groups = MappingProxyType({"group": layer.groups})
        yield Node(low, "Conv", (layer.input, a), (low,), node.attributes)
        yield Node(wide, "Conv", (low, b), (wide,), groups)
    if rank:
        yield Node(both, "Add", (scaled, wide), (both,))
    yield Node(f"{name}@shifted", "Add", (both if rank else scaled, offset), (layer.output,))

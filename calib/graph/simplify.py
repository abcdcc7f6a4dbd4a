"""Makes a graph smaller without changing what it computes: pure passes from graph to graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from calib.graph.executor import run
from calib.graph.folding import fold_into_linear
from calib.graph.model import Array, Graph, Node
from calib.graph.operations.geometry import window_of

_TRIAL_BATCH = 3
"""Samples of the run that finds shapes; odd, so that it is not taken for another axis."""


def simplify(graph: Graph, *, fold: bool = True) -> Graph:
    """All passes: dead nodes, identities, pairs of transposes, explicit pads, folded layers.

    Args:
        graph: the network.
        fold: take what follows a layer into its weights; else they stay as they are.
    """
    graph = merge_transposes(drop_dead(graph))
    trial = _trial(graph)
    graph = drop_identities(graph, trial)
    graph = explicit_pads(graph, trial)
    if fold:
        graph = fold_into_linear(graph, {name: value.ndim for name, value in trial.items()})
    return drop_dead(graph)


def _trial(graph: Graph) -> dict[str, Array]:
    """Every tensor of one run, for shapes and types."""
    with np.errstate(all="ignore"):
        zeros = np.zeros((_TRIAL_BATCH, *graph.input.shape[1:]), np.float32)
        return run(graph, zeros, keep=None)


def drop_dead(graph: Graph) -> Graph:
    """Without the nodes and constants that the output does not need."""
    needed = {graph.output}
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            nodes.append(node)
            needed.update(node.inputs)
    constants = {name: value for name, value in graph.constants.items() if name in needed}
    return replace(graph, nodes=tuple(reversed(nodes)), constants=constants)


def merge_transposes(graph: Graph) -> Graph:
    """Two transposes in a row become one; the first stays while others read it."""
    made: dict[str, Node] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        before = made.get(node.inputs[0]) if node.op == "Transpose" else None
        merged = _merged(before, node) if before else node
        made.update((name, merged) for name in merged.outputs)
        nodes.append(merged)
    return drop_dead(replace(graph, nodes=tuple(nodes)))


def _merged(before: Node, node: Node) -> Node:
    first, second = before.attributes.get("perm"), node.attributes.get("perm")
    if before.op != "Transpose" or not isinstance(first, tuple) or not isinstance(second, tuple):
        return node
    perm = tuple(int(first[int(axis)]) for axis in second)
    return replace(node, inputs=before.inputs, attributes=MappingProxyType({"perm": perm}))


def drop_identities(graph: Graph, trial: Mapping[str, Array]) -> Graph:
    """Without nodes that hand on their input unchanged.

    Args:
        graph: the network.
        trial: all tensors of one run with a batch of more than one sample.
    """
    stands_for: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(stands_for.get(name, name) for name in node.inputs)
        current = replace(node, inputs=inputs)
        if _is_identity(current, trial) and inputs[0] not in graph.constants:
            stands_for[node.outputs[0]] = inputs[0]
        else:
            nodes.append(current)
    output = stands_for.get(graph.output, graph.output)
    return drop_dead(replace(graph, nodes=tuple(nodes), output=output))


def _is_identity(node: Node, trial: Mapping[str, Array]) -> bool:
    if node.op in {"Identity", "Dropout"}:
        return True
    if len(node.outputs) != 1 or not node.inputs or not node.inputs[0]:
        return False
    before, after = trial[node.inputs[0]], trial[node.outputs[0]]
    if node.op == "Cast":
        return before.dtype == after.dtype
    if node.op in {"Concat", "Sum", "Mean", "Max", "Min"}:
        return len(node.inputs) == 1
    if node.op == "Transpose":
        return node.attributes.get("perm") == tuple(range(before.ndim))
    return node.op in {"Flatten", "Reshape", "Expand"} and before.shape == after.shape


def explicit_pads(graph: Graph, trial: Mapping[str, Array]) -> Graph:
    """With the pads of convolutions and poolings written out instead of `auto_pad`."""
    nodes = tuple(_with_pads(node, graph, trial) for node in graph.nodes)
    return replace(graph, nodes=nodes)


def _with_pads(node: Node, graph: Graph, trial: Mapping[str, Array]) -> Node:
    if "auto_pad" not in node.attributes:
        return node
    if node.op == "Conv" and node.inputs[1] in graph.constants:
        kernel = graph.constants[node.inputs[1]].shape[2:]
    elif isinstance(size := node.attributes.get("kernel_shape"), tuple):
        kernel = tuple(int(k) for k in size)
    else:
        return node
    window = window_of(node.attributes, kernel, trial[node.inputs[0]].shape[2:])
    kept = {k: v for k, v in node.attributes.items() if k != "auto_pad"}
    return replace(node, attributes=MappingProxyType({**kept, "pads": window.pads}))

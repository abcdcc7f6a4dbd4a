"""The codes of every tensor that is computed: the file's own, or found on samples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from agent.workstation.tflite.kernels import data_inputs, keeps_code
from agent.workstation.tflite.source import TfliteSource
from calib.decision import decision_graph
from calib.given import GIVEN_BITS
from calib.graph.executor import run
from calib.graph.linear import linear_layers
from calib.graph.model import Graph
from calib.importers.tflite_codes import SIGNED_ZERO
from calib.packed import PackedNetwork
from calib.references import BLOCK_SAMPLES
from calib.schemes.activations import ActivationCode, code_for_range

Codes = Mapping[int, ActivationCode]
"""By tensor of the file."""


def code_groups(source: TfliteSource) -> dict[int, int]:
    """By tensor: one that stands for all that must have the same code."""
    leader: dict[int, int] = {}

    def find(tensor: int) -> int:
        while leader.get(tensor, tensor) != tensor:
            tensor = leader[tensor]
        return tensor

    for number in source.live:
        operator = source.model.operators[number]
        if keeps_code(source.model, operator):
            for tensor in (*data_inputs(operator), *operator.outputs):
                leader[find(tensor)] = find(operator.outputs[0])
    return {tensor: find(tensor) for tensor in source.origin.carriers}


def spans(source: TfliteSource) -> dict[str, tuple[str, ...]]:
    """By layer of a float file: the tensors of its network that the code of its input spans."""
    groups, graph = code_groups(source), decision_graph(source.graph)
    members = _members(source, graph, groups)
    return {
        layer.name: members[groups[source.operator(layer).inputs[0]]] or (layer.input,)
        for layer in linear_layers(graph)
    }


def _members(
    source: TfliteSource, graph: Graph, groups: Mapping[int, int]
) -> dict[int, tuple[str, ...]]:
    """By group: the tensors of the network that have its values, each once."""
    there = {graph.input.name, *(name for node in graph.nodes for name in node.outputs)}
    found: dict[int, list[str]] = {leader: [] for leader in groups.values()}
    for tensor, names in source.origin.carriers.items():
        if tensor in groups:
            name = next((name for name in names if name in there), None)
            if name is not None and name not in found[groups[tensor]]:
                found[groups[tensor]].append(name)
    return {leader: tuple(names) for leader, names in found.items()}


def file_codes(source: TfliteSource) -> dict[int, ActivationCode]:
    """Those of a quantised file."""
    codes = {}
    for tensor in source.origin.carriers:
        stored = source.model.tensors[tensor]
        if stored.quantization is not None and stored.type in {"INT8", "UINT8"}:
            lowest = SIGNED_ZERO if stored.type == "INT8" else 0
            zero = int(stored.quantization.zero_point[0]) + lowest
            codes[tensor] = ActivationCode(float(stored.quantization.scale[0]), zero, GIVEN_BITS)
    return codes


def found_codes(
    source: TfliteSource, network: PackedNetwork, samples: NDArray[np.float32]
) -> dict[int, ActivationCode]:
    """Those of a float file: of what layers read, the network's; of the rest, what samples span.

    Args:
        source: the file.
        network: the same, packed with `spans` prescribed.
        samples: [n, ...], at least one.
    """
    groups, graph = code_groups(source), decision_graph(source.graph)
    known = {
        groups[source.operator(layer).inputs[0]]: network.activations[layer.name]
        for layer in network.layers
    }
    rest = {
        leader: names
        for leader, names in _members(source, graph, groups).items()
        if leader not in known and names
    }
    ends = _extremes(graph, sorted({n for names in rest.values() for n in names}), samples)
    for leader, names in rest.items():
        low, high = min(ends[n][0] for n in names), max(ends[n][1] for n in names)
        known[leader] = code_for_range(low, high, GIVEN_BITS)
    return {tensor: known[leader] for tensor, leader in groups.items() if leader in known}


def _extremes(
    graph: Graph, names: list[str], samples: NDArray[np.float32]
) -> dict[str, tuple[float, float]]:
    ends = dict.fromkeys(names, (0.0, 0.0))
    for start in range(0, len(samples), BLOCK_SAMPLES):
        values = run(graph, samples[start : start + BLOCK_SAMPLES], keep=names)
        for name, (low, high) in ends.items():
            seen = values[name]
            ends[name] = (min(low, float(seen.min())), max(high, float(seen.max())))
    return ends

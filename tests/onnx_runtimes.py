"""Networks on onnxruntime, the same on an ideal chip, and factors that change every layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from agent.runtimes.base import LayerTrace, Positions, Trace
from agent.runtimes.cim import CimRuntime
from agent.runtimes.onnxruntime import OnnxRuntime
from calib.factors import Factors, Surrogate
from calib.folded_weights import folded_integers, has_room
from calib.graph.executor import Replacement, run
from calib.graph.linear import LinearLayer, multiply
from calib.graph.model import Graph, Node, Port
from calib.integer_weights import integer_weights
from calib.output_ranges import output_codes
from calib.packed import PackedNetwork
from calib.schemes.activations import ActivationCode
from device_models.array import Chip, State
from device_models.presets import preset
from tests.small_networks import packed, samples_for

SAMPLES = 24


def residual(seed: int = 0) -> Graph:
    """Images [n, 2, 6, 6]: a convolution beside which its input passes, and a grouped one."""
    generator = np.random.default_rng(seed)
    shapes = {"w1": (4, 2, 3, 3), "w2": (4, 4, 3, 3), "w3": (6, 2, 3, 3), "w4": (6, 5)}
    constants = {
        name: (generator.standard_normal(shape) / 4).astype(np.float32)
        for name, shape in shapes.items()
    }
    same = {"pads": (1, 1, 1, 1)}
    nodes = (
        Node("first", "Conv", ("x", "w1"), ("a",), same),
        Node("relu1", "Relu", ("a",), ("b",)),
        Node("second", "Conv", ("b", "w2"), ("c",), same),
        Node("sum", "Add", ("b", "c"), ("d",)),
        Node("relu2", "Relu", ("d",), ("e",)),
        Node("grouped", "Conv", ("e", "w3"), ("f",), {"group": 2}),
        Node("pool", "GlobalAveragePool", ("f",), ("g",)),
        Node("flat", "Flatten", ("g",), ("h",)),
        Node("head", "MatMul", ("h", "w4"), ("y",)),
    )
    return Graph("residual", Port("x", (1, 2, 6, 6)), "y", nodes, constants)


def sequences(seed: int = 0) -> Graph:
    """Sequences [n, 5, 6] through two products at each place."""
    generator = np.random.default_rng(seed)
    constants = {
        "w1": generator.standard_normal((6, 8)).astype(np.float32),
        "w2": generator.standard_normal((8, 4)).astype(np.float32),
    }
    nodes = (
        Node("wide", "MatMul", ("x", "w1"), ("a",)),
        Node("tanh", "Tanh", ("a",), ("b",)),
        Node("narrow", "MatMul", ("b", "w2"), ("y",)),
    )
    return Graph("sequences", Port("x", (1, 5, 6)), "y", nodes, constants)


def on_both(
    graph: Graph, *, fold: bool = False, **options: Any
) -> tuple[PackedNetwork, OnnxRuntime, CimRuntime]:
    """A packed network on onnxruntime, and on a chip that computes what the codes say.

    Branches stand beside their layers, unless they shall be folded where they can be.
    """
    with np.errstate(under="ignore"):  # as outside the tests
        network = packed(graph, SAMPLES, **options)
    outputs = output_codes(graph, network, samples_for(graph, SAMPLES))
    generator = np.random.default_rng(0)
    chip = CimRuntime(network, Chip(preset("ideal"), 0), State(), generator)
    return network, OnnxRuntime(network, outputs, fold=fold), chip


def some_factors(network: PackedNetwork, rank: int, size: float = 0.1, seed: int = 0) -> Factors:
    """Factors that differ from the identity by about `size` everywhere."""
    generator = np.random.default_rng(seed)

    def drawn(*shape: int) -> Any:
        return (size * generator.standard_normal(shape)).astype(np.float32)

    return Factors(
        {
            layer.name: Surrogate(
                gain=1 + drawn(layer.outputs),
                offset=drawn(layer.outputs),
                a=drawn(layer.groups * rank, layer.inputs),
                b=drawn(layer.outputs, rank),
            )
            for layer in network.layers
        }
    )


def all_positions(network: PackedNetwork, count: int) -> Positions:
    """Every position of every layer."""
    return {layer.name: np.tile(np.arange(layer.positions), (count, 1)) for layer in network.layers}


def relative(found: Any, wanted: Any) -> float:
    """Relative error."""
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


class NumpyIntegers:
    """A packed network in whole numbers of NumPy: each convolution's output is rounded once."""

    def __init__(self, network: PackedNetwork, outputs: Mapping[str, ActivationCode]) -> None:
        self.layers, self.network, self.outputs = network.layers, network, outputs

    def run(self, samples: Any, factors: Factors, taps: Positions) -> Trace:
        seen: dict[str, LayerTrace] = {}
        replaced = {
            layer.name: self._replacement(layer, factors[layer.name], taps.get(layer.name), seen)
            for layer in self.layers
        }
        graph = self.network.decision_graph
        with np.errstate(under="ignore"):
            return Trace(run(graph, samples, replace=replaced)[graph.output], seen)

    def _replacement(
        self, layer: LinearLayer, surrogate: Surrogate, positions: Any, seen: dict[str, LayerTrace]
    ) -> Replacement:
        code, weights = self.network.activations[layer.name], self.network.weights[layer.name]
        beside = not has_room(weights)
        made_of = integer_weights if beside or not surrogate.rank else folded_integers
        integers = made_of(weights, layer.bias, code.step, surrogate)
        branch = replace(surrogate, gain=np.ones_like(surrogate.gain), offset=0 * surrogate.offset)

        def computed(given: Any) -> Any:
            rows = layer.rows(given)
            levels = code.encode(rows).astype(np.int64) - code.zero_point
            sums = multiply(levels, integers.codes.astype(np.int64)) + integers.bias
            made = sums * integers.bias_scales.astype(np.float64)
            if layer.window is not None:
                made = self.outputs[layer.name].decode(self.outputs[layer.name].encode(made))
            made = made.astype(np.float32)
            made = branch.apply(made, rows) if beside else made
            if positions is not None:
                at = (np.arange(len(given))[:, None], positions)
                seen[layer.name] = LayerTrace(rows[at], made[at], made[at])
            return layer.tensor(made)

        return computed

    def close(self) -> None:
        """Nothing is held."""

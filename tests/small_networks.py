"""Small float networks of every kind that packing, references and runtimes must take."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from calib.graph.linear import LinearLayer
from calib.graph.model import Graph, Node, Port
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare

Array = np.ndarray[Any, Any]
SAME = {"pads": (1, 1, 1, 1)}


def _weight(generator: np.random.Generator, *shape: int) -> Array:
    fan_in = math.prod(shape[1:])
    return (generator.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)


def classifier(seed: int = 0, classes: int = 5, groups: int = 6) -> Graph:
    """Images [n, 2, 8, 8]: a dense, a depthwise and a strided convolution, a Gemm, a Softmax.

    With fewer than 6 groups the second convolution is grouped, or dense.
    """
    generator = np.random.default_rng(seed)
    constants = {
        "w1": _weight(generator, 6, 2, 3, 3),
        "b1": _weight(generator, 6),
        "w2": _weight(generator, 6, 6 // groups, 3, 3),
        "w3": _weight(generator, 8, 6, 3, 3),
        "w4": _weight(generator, classes, 8),
        "b4": _weight(generator, classes),
    }
    nodes = (
        Node("first", "Conv", ("x", "w1", "b1"), ("a",), SAME),
        Node("relu1", "Relu", ("a",), ("b",)),
        Node("depthwise", "Conv", ("b", "w2"), ("c",), {**SAME, "group": groups}),
        Node("relu2", "Relu", ("c",), ("d",)),
        Node("strided", "Conv", ("d", "w3"), ("e",), {**SAME, "strides": (2, 2)}),
        Node("relu3", "Relu", ("e",), ("f",)),
        Node("pool", "GlobalAveragePool", ("f",), ("g",)),
        Node("flat", "Flatten", ("g",), ("h",)),
        Node("head", "Gemm", ("h", "w4", "b4"), ("logits",), {"transB": 1}),
        Node("softmax", "Softmax", ("logits",), ("y",)),
    )
    return Graph("classifier", Port("x", (1, 2, 8, 8)), "y", nodes, constants)


def signal_network(seed: int = 0) -> Graph:
    """Signals [n, 2, 16] to three numbers, no classes: 1-D convolutions that do not pad evenly."""
    generator = np.random.default_rng(seed)
    constants = {
        "w1": _weight(generator, 4, 2, 3),
        "w2": _weight(generator, 6, 4, 3),
        "w3": _weight(generator, 6, 3),
    }
    nodes = (
        Node("first", "Conv", ("x", "w1"), ("a",), {"pads": (2, 1), "strides": (2,)}),
        Node("tanh", "Tanh", ("a",), ("b",)),
        Node("second", "Conv", ("b", "w2"), ("c",), {"dilations": (2,)}),
        Node("pool", "GlobalMaxPool", ("c",), ("d",)),
        Node("flat", "Flatten", ("d",), ("e",)),
        Node("out", "MatMul", ("e", "w3"), ("y",)),
    )
    return Graph("signal", Port("x", (1, 2, 16)), "y", nodes, constants)


def chain(depth: int, width: int = 6, seed: int = 0, *, relu: bool = False) -> Graph:
    """Vectors [n, width] through `depth` matrix products, linear throughout unless `relu`."""
    generator = np.random.default_rng(seed)
    constants = {f"w{i}": _weight(generator, width, width) for i in range(depth)}
    nodes: list[Node] = []
    last = "x"
    for i in range(depth):
        nodes.append(Node(f"layer{i}", "MatMul", (last, f"w{i}"), (f"y{i}",)))
        last = f"y{i}"
        if relu and i < depth - 1:
            nodes.append(Node(f"relu{i}", "Relu", (last,), (f"r{i}",)))
            last = f"r{i}"
    return Graph("chain", Port("x", (1, width)), last, tuple(nodes), constants)


def on_int8_grid(graph: Graph, seed: int = 0) -> Graph:
    """The chain with weights that int8 holds exactly: whole numbers over 128, 127 in each row."""
    generator = np.random.default_rng(seed)
    constants = {}
    for name, weight in graph.constants.items():
        codes = generator.integers(-127, 128, weight.shape)
        codes[0] = 127
        constants[name] = (codes / 128).astype(np.float32)
    return replace(graph, constants=constants)


def samples_for(graph: Graph, count: int, seed: int = 1) -> Array:
    """Normal samples."""
    shape = (count, *graph.input.shape[1:])
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def packed(
    graph: Graph, count: int = 24, seed: int = 1, *, labels: bool = False, **options: Any
) -> PackedNetwork:
    """A network packed from normal samples, a quarter held back; labels make outputs classes."""
    chosen = {"held_back": count // 4, "references": count - count // 4, **options}
    named = np.zeros(count, np.intp) if labels else None
    return prepare(graph, samples_for(graph, count, seed), named, PackOptions(**chosen))


def dense_layer(inputs: int, outputs: int, name: str = "dense") -> LinearLayer:
    """A matrix product that stands alone."""
    return LinearLayer(
        name,
        "Gemm",
        "x",
        "y",
        weight=np.ones((1, inputs, outputs), np.float32),
        bias=np.zeros(outputs, np.float32),
        window=None,
        input_shape=(inputs,),
        output_shape=(outputs,),
    )

"""One layer's products alone, as a graph, to be driven with rows of the caller's choice."""

from __future__ import annotations

import numpy as np

from calib.graph.linear import LinearLayer
from calib.graph.model import Array, Graph, Node, Port
from calib.integer_weights import is_integer
from calib.schemes.activations import ActivationCode
from calib.schemes.weights import QuantisedWeights

_SWAPPED = {"perm": (1, 0, 2)}


def layer_graph(layer: LinearLayer, weights: QuantisedWeights, code: ActivationCode) -> Graph:
    """From rows [n, groups, d], values that the codes hold, to products [n, groups, m].

    The products are int32 where the weights are integers, before scales and bias; else float.
    """
    constants: dict[str, Array] = {"weight": np.ascontiguousarray(weights.values())}
    inner: list[Node] = [Node("sums", "MatMul", ("swapped", "weight"), ("sums",))]
    if is_integer(weights):
        constants = {
            "weight": np.ascontiguousarray(weights.codes),
            "step": np.asarray(code.step, np.float32),
            "zero": np.asarray(code.zero_point, np.uint8),
        }
        inner = [
            Node("codes", "QuantizeLinear", ("swapped", "step", "zero"), ("codes",)),
            Node("sums", "MatMulInteger", ("codes", "weight", "zero"), ("sums",)),
        ]
    nodes = (
        Node("swapped", "Transpose", ("rows",), ("swapped",), _SWAPPED),
        *inner,
        Node("products", "Transpose", ("sums",), ("products",), _SWAPPED),
    )
    port = Port("rows", (1, layer.groups, layer.inputs))
    return Graph(layer.name, port, "products", nodes, constants)

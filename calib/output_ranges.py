"""The codes of convolutions' outputs, for runtimes whose kernels give 8 bits.

A range is two-sided, before the activation, over what the float network and the quantised one make
of the same samples: the surrogate brings one to the other, and what a kernel clips no branch brings
back.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from calib.decision import decision_graph
from calib.graph.executor import run
from calib.graph.model import Graph
from calib.packed import PackedNetwork
from calib.ranges import nominal_products
from calib.references import BLOCK_SAMPLES
from calib.schemes.activations import ActivationCode, code_for_range

OUTPUT_BITS = 8


def output_codes(
    graph: Graph, network: PackedNetwork, samples: NDArray[np.float32]
) -> dict[str, ActivationCode]:
    """By layer, the codes that span its outputs.

    Args:
        graph: the float network.
        network: the same, packed.
        samples: [n, ...], at least one.

    Raises:
        CalibError: outputs that are not finite.
    """
    ends: dict[str, list[float]] = {layer.name: [0.0, 0.0] for layer in network.layers}
    tensors = {layer.name: layer.output for layer in network.layers}
    for values in _passes(decision_graph(graph), network, samples):
        for name, (low, high) in ends.items():
            seen = values[tensors[name]]
            ends[name] = [min(low, float(seen.min())), max(high, float(seen.max()))]
    return {name: code_for_range(low, high, OUTPUT_BITS) for name, (low, high) in ends.items()}


def _passes(
    graph: Graph, network: PackedNetwork, samples: NDArray[np.float32]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """What the float network makes of some samples, then what the quantised one does."""
    keep = [layer.output for layer in network.layers]
    products = nominal_products(network.layers, network.activations)
    for start in range(0, len(samples), BLOCK_SAMPLES):
        some = samples[start : start + BLOCK_SAMPLES]
        yield run(graph, some, keep=keep)
        yield run(network.decision_graph, some, keep=keep, replace=products)

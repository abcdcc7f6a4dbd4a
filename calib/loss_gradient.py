"""Small batches of samples, and the gradient of their loss with respect to constants that learn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calib.adam import Weights
from calib.graph.executor import Replacement, gradients, run
from calib.graph.model import Array, Graph
from calib.losses import Loss


def with_constants(graph: Graph, changed: Weights) -> Graph:
    """The graph with other values for some of its constants."""
    return replace(graph, constants={**graph.constants, **changed})


def loss_and_gradients(  # noqa: PLR0913 -- network, constants, samples and aim, and what may be left out
    graph: Graph,
    weights: Weights,
    samples: Array,
    indices: NDArray[np.integer],
    loss: Loss,
    *,
    chip: Mapping[str, Replacement] | None = None,
) -> tuple[float, dict[str, Array]]:
    """The loss of some samples, and its gradient with respect to each of the weights.

    Args:
        graph: the network.
        weights: values in place of the graph's constants of these names.
        samples: [n, ...].
        indices: [n], the samples' numbers, for the loss.
        loss: of the graph's answers.
        chip: by node name, what runs in place of a linear layer on the way forward. On the way back
            the node's own weights stand in for it: a straight-through gradient (Bengio et al.,
            arXiv 1308.3432, sec. 4).
    """
    network = with_constants(graph, weights)
    values = run(network, samples, keep=None, replace=chip)
    value, seed = loss(values[network.output], indices)
    return value, gradients(network, values, seed, weights.keys())


def batches(
    samples: int, size: int, generator: np.random.Generator
) -> Iterator[NDArray[np.integer]]:
    """The numbers of all samples in random order, `size` at a time; the last batch may be short."""
    order = generator.permutation(samples)
    for begin in range(0, samples, size):
        yield order[begin : begin + size]

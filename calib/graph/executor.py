"""Runs a graph forwards, and backwards for gradients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np

from calib.errors import GraphError, SampleError
from calib.graph.model import Array, Graph, Node
from calib.graph.registry import Tape, operation_of

Replacement = Callable[[Array], Array]
"""What runs in place of a linear layer: from the layer's input to its output."""

JointReplacement = Callable[[Iterator[Array]], Sequence[Array]]
"""The same for several blocks of samples, of which each is forgotten when the next is taken."""


@np.errstate(under="ignore")  # a number too small for its type is zero
def run(
    graph: Graph,
    samples: Array,
    *,
    keep: Collection[str] | None = (),
    replace: Mapping[str, Replacement] | None = None,
) -> dict[str, Array]:
    """Run the graph on samples [n, ...].

    Args:
        graph: the network.
        samples: input, batch in front.
        keep: names of tensors wanted besides the output; None keeps all, for `gradients`.
        replace: by node name, what to run instead of a node with one data input.

    Returns:
        The tensors asked for, by name; always with the output.

    Raises:
        SampleError: samples of a wrong shape.
        GraphError: an operation fails on what it is given.
    """
    check_samples(graph, samples)
    values: dict[str, Array] = {**graph.constants, graph.input.name: samples}
    wanted = None if keep is None else {graph.output, *keep}
    last_use = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    for i, node in enumerate(graph.nodes):
        outputs = _run_node(node, values, (replace or {}).get(node.name))
        values.update((name, y) for name, y in zip(node.outputs, outputs, strict=False) if name)
        if wanted is not None:
            _forget(values, node, i, last_use, wanted)
    return values if wanted is None else {name: values[name] for name in wanted}


@np.errstate(under="ignore")  # a number too small for its type is zero
def run_abreast(
    graph: Graph, blocks: Sequence[Array], replace: Mapping[str, JointReplacement]
) -> list[Array]:
    """Run blocks of samples node after node: all have passed one before any comes to the next.

    What replaces a node sees all samples together; everything else only needs memory for a block.

    Args:
        graph: the network.
        blocks: inputs, batch in front.
        replace: by node name, what to run instead of a node with one data input.

    Returns:
        The output of each block.

    Raises:
        SampleError: samples of a wrong shape.
        GraphError: an operation fails on what it is given.
    """
    for block in blocks:
        check_samples(graph, block)
    states = [{**graph.constants, graph.input.name: block} for block in blocks]
    last_use = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}

    def forget(values: dict[str, Array], i: int) -> None:
        _forget(values, graph.nodes[i], i, last_use, {graph.output})

    def taken(name: str, i: int) -> Iterator[Array]:
        for values in states:
            x = values[name]
            forget(values, i)
            yield x

    for i, node in enumerate(graph.nodes):
        joint = replace.get(node.name)
        made = joint(taken(node.inputs[0], i)) if joint else None
        for number, values in enumerate(states):
            outputs = (made[number],) if made else _run_node(node, values, None)
            values.update((name, y) for name, y in zip(node.outputs, outputs, strict=False) if name)
            forget(values, i)
    return [values[graph.output] for values in states]


def check_samples(graph: Graph, samples: Array) -> None:
    """Raise SampleError unless samples have the shape [n, ...] that the graph takes."""
    if samples.shape[1:] != graph.input.shape[1:] or not samples.ndim:
        takes = ["n", *graph.input.shape[1:]]
        raise SampleError(
            f"network {graph.name!r} takes samples of shape [{', '.join(map(str, takes))}], "
            f"not {list(samples.shape)}; give them in the model's own layout"
        )


def _run_node(
    node: Node, values: Mapping[str, Array], replacement: Replacement | None
) -> tuple[Array, ...]:
    inputs = [values[name] if name else None for name in node.inputs]
    if replacement is not None:
        return (replacement(values[node.inputs[0]]),)
    try:
        return operation_of(node).forward(inputs, node.attributes)
    except (ValueError, IndexError, TypeError) as error:
        shapes = [None if x is None else list(x.shape) for x in inputs]
        raise GraphError(
            f"node {node.name!r} ({node.op}) cannot run on inputs of shapes {shapes}: {error}"
        ) from error


def _forget(
    values: dict[str, Array], node: Node, i: int, last_use: Mapping[str, int], wanted: set[str]
) -> None:
    for name in (*node.inputs, *node.outputs):
        if last_use.get(name, -1) <= i and name not in wanted:
            values.pop(name, None)


@np.errstate(under="ignore")  # a number too small for its type is zero
def gradients(
    graph: Graph, values: Mapping[str, Array], seed: Array, wanted: Collection[str]
) -> dict[str, Array]:
    """Reverse mode: the gradient of ⟨seed, output⟩ with respect to tensors.

    Args:
        graph: the network.
        values: all tensors of one run, from `run(..., keep=None)`.
        seed: as the output, [n, ...].
        wanted: names of the tensors whose gradients are asked for; constants are allowed.

    Returns:
        By name, of the tensor's shape; zeros where the output does not depend on it.
    """
    found: dict[str, Array] = {graph.output: seed}
    useful = _dependent(graph, wanted)
    for node in reversed(graph.nodes):
        incoming = tuple(found.get(name) for name in node.outputs)
        if all(g is None for g in incoming) or not useful.intersection(node.inputs):
            continue
        inputs = tuple(values[name] if name else None for name in node.inputs)
        outputs = tuple(values[name] for name in node.outputs if name)
        asked = tuple(name in useful for name in node.inputs)
        tape = Tape(inputs, outputs, incoming, node.attributes, asked)
        _accumulate(found, node, operation_of(node).pullback(tape), useful)
        for name in node.outputs:
            if name not in wanted:
                found.pop(name, None)
    return {name: found.get(name, np.zeros_like(values[name])) for name in wanted}


def _dependent(graph: Graph, wanted: Collection[str]) -> set[str]:
    """The wanted tensors and all that are computed from them."""
    useful = set(wanted)
    for node in graph.nodes:
        if useful.intersection(node.inputs):
            useful.update(name for name in node.outputs if name)
    return useful


def _accumulate(
    found: dict[str, Array], node: Node, new: tuple[Array | None, ...], useful: set[str]
) -> None:
    for name, gradient in zip(node.inputs, new, strict=False):
        if gradient is None or name not in useful:
            continue
        found[name] = np.add(found[name], gradient) if name in found else gradient

"""Frees the batch axis: a model exported for one batch size becomes one for any.

The graph is run at its own batch size and at the next one, side by side. Where the two shapes of
a tensor differ lies its batch axis. What is equal in both and made of constants and shapes alone
is a constant. A Reshape is the one operation that pins the batch down; its target gets a −1 where
the batch must go: rows keep their order, so that is the axis with as many elements before it as
lie before the batch axis of the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from calib.errors import GraphError, UnsupportedError
from calib.graph.executor import run
from calib.graph.model import Array, Graph, Node
from calib.graph.registry import operation_of
from calib.importers.limits import check_growth
from calib.importers.names import unique

Evaluate = Callable[[Node, list[Array | None]], tuple[Array, ...]]
"""Runs one node all of whose inputs are constant."""

_DAMAGE = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)


@dataclass(frozen=True)
class _Pair:
    """A tensor at the model's own batch size and at the next one."""

    own: Array
    next: Array
    static: bool
    """Made of constants and shapes alone."""

    @property
    def settled(self) -> bool:
        """Whether it is a constant."""
        return self.static and np.array_equal(self.own, self.next)

    def batch_axis(self) -> int | None:
        """The axis that grows with the batch; None where none does.

        Raises:
            GraphError: more than one does.
        """
        grown = [
            axis
            for axis, sizes in enumerate(zip(self.own.shape, self.next.shape, strict=False))
            if sizes[0] != sizes[1]
        ]
        if len(grown) > 1 or self.own.ndim != self.next.ndim:
            raise GraphError(
                f"its batch cannot be told apart from its other axes: {list(self.own.shape)} "
                f"becomes {list(self.next.shape)} with one more sample"
            )
        return grown[0] if grown else None


def run_operation(node: Node, inputs: list[Array | None]) -> tuple[Array, ...]:
    """Run a node by the table of operations."""
    return operation_of(node).forward(inputs, node.attributes)


def free_batch(graph: Graph, evaluate: Evaluate = run_operation) -> Graph:
    """The same network for any batch size, with constants folded.

    Args:
        graph: shapes hold for the batch size of its input port.
        evaluate: runs nodes with constant inputs; may know more operations than the executor.

    Raises:
        GraphError: a node does not fit its inputs, or mixes the samples of a batch.
    """
    batch = graph.input.shape[0]
    pairs = {name: _Pair(value, value, static=True) for name, value in graph.constants.items()}
    rest = graph.input.shape[1:]
    pairs[graph.input.name] = _Pair(
        np.zeros((batch, *rest), np.float32), np.zeros((batch + 1, *rest), np.float32), static=False
    )
    constants, nodes = dict(graph.constants), []
    for original in graph.nodes:
        node, found = _settle(original, pairs, constants, evaluate)
        pairs.update(found)
        if all(pair.settled for pair in found.values()):
            constants.update((name, pair.own) for name, pair in found.items())
        else:
            nodes.append(node)
    if pairs[graph.output].batch_axis() != 0:
        raise UnsupportedError(
            f"the model's output {graph.output!r} of shape {list(pairs[graph.output].own.shape)} "
            "has no batch axis in front; export the model with the batch first"
        )
    port = replace(graph.input, shape=(1, *rest))
    return replace(graph, input=port, nodes=tuple(nodes), constants=constants)


def _settle(
    node: Node, pairs: Mapping[str, _Pair], constants: dict[str, Array], evaluate: Evaluate
) -> tuple[Node, dict[str, _Pair]]:
    """A node with its batch freed, and its outputs at both batch sizes."""
    inputs = [pairs[name] if name else None for name in node.inputs]
    static = node.op == "Shape" or all(pair is None or pair.static for pair in inputs)
    runner = evaluate if static else run_operation
    where = f"node {node.name!r} ({node.op})"
    if not static:
        operation_of(node)
    try:
        node = _freed(node, inputs, constants)
        own = [constants.get(n, pairs[n].own if n in pairs else None) for n in node.inputs]
        after = [constants.get(n, pairs[n].next if n in pairs else None) for n in node.inputs]
        outputs = [_outputs(node, values, runner) for values in (own, after)]
    except UnsupportedError as error:
        raise UnsupportedError(f"{where}: {error}") from error
    except GraphError as error:
        raise GraphError(f"{where}: {error}") from error
    except _DAMAGE as error:
        shapes = [None if pair is None else list(pair.own.shape) for pair in inputs]
        raise GraphError(
            f"{where} cannot run on inputs of shapes {shapes} and on one sample more: {error}"
        ) from error
    return node, {
        name: _Pair(first, second, static)
        for name, first, second in zip(node.outputs, *outputs, strict=False)
        if name
    }


def _outputs(node: Node, inputs: list[Array | None], runner: Evaluate) -> tuple[Array, ...]:
    check_growth(node, inputs)
    with np.errstate(all="ignore"):
        outputs = runner(node, inputs)
    if len(outputs) < len(node.outputs):
        raise UnsupportedError(f"its output number {len(node.outputs)} is not supported")
    return outputs


def _freed(node: Node, inputs: list[_Pair | None], constants: dict[str, Array]) -> Node:
    data = inputs[0] if inputs else None
    if data is None:
        return node
    if node.op == "Reshape":
        shape = inputs[1] if len(inputs) > 1 else None
        if shape is None or not shape.static:
            raise UnsupportedError("its shape depends on the samples' values")
        target = _free_target(node, data, shape)
        pinned = _with_list(node, "shape", target, constants)
        return replace(pinned, attributes=MappingProxyType({}))
    if node.op == "Squeeze" and len([name for name in node.inputs if name]) == 1:
        ones = [a for a, size in enumerate(data.own.shape) if size == 1 == data.next.shape[a]]
        return _with_list(node, "axes", tuple(ones), constants)
    if node.op == "Expand" and data.batch_axis() is not None and inputs[1] and inputs[1].static:
        axis = inputs[1].own.size - data.own.ndim + (data.batch_axis() or 0)
        target = tuple(int(v) for v in inputs[1].own)
        return _with_list(
            node,
            "shape",
            (*target[:axis], 1, *target[axis + 1 :]) if axis >= 0 else target,
            constants,
        )
    return node


def _with_list(node: Node, what: str, values: tuple[int, ...], constants: dict[str, Array]) -> Node:
    name = unique(f"{node.name}/{what}", constants)
    constants[name] = np.array(values, np.int64)
    return replace(node, inputs=(node.inputs[0], name))


def _free_target(node: Node, data: _Pair, wanted: _Pair) -> tuple[int, ...]:
    """The target shape of a Reshape with −1 where the batch goes."""
    own = run_operation(node, [data.own, wanted.own])[0]
    if wanted.settled:
        place = _batch_place(data, own.shape)
    else:
        after = run_operation(node, [data.next, wanted.next])[0]
        place = _Pair(own, after, static=False).batch_axis()
    return own.shape if place is None else (*own.shape[:place], -1, *own.shape[place + 1 :])


def _batch_place(data: _Pair, target: tuple[int, ...]) -> int | None:
    """The axis of a fixed target shape in which the batch must lie."""
    axis = data.batch_axis()
    if axis is None:
        return None
    shape = data.own.shape
    if target[: axis + 1] == shape[: axis + 1]:
        return axis
    before = math.prod(shape[:axis])
    one_sample = data.next.shape[axis] - shape[axis]
    samples = shape[axis] // one_sample
    fits = (i for i in range(len(target)) if math.prod(target[:i]) == before)
    place = next((i for i in fits if target[i] % samples == 0), None)
    if place is None:
        raise GraphError(
            f"reshaping {list(shape)} to {list(target)} tears the samples of a batch apart; export "
            "the model with a dynamic batch"
        )
    return place


def check_independent(graph: Graph) -> None:
    """Raise GraphError if a sample's answer depends on the rest of its batch."""
    generator = np.random.default_rng(0)
    samples = generator.normal(size=(2, *graph.input.shape[1:])).astype(np.float32)
    with np.errstate(all="ignore"):
        together = run(graph, samples)[graph.output]
        alone = [run(graph, samples[i : i + 1])[graph.output] for i in range(2)]
        single = np.concatenate(alone)
        same = together.shape == single.shape and np.allclose(
            together,
            single,
            rtol=1e-3,
            atol=1e-3 * float(np.abs(single).max(initial=0)),
            equal_nan=True,
        )
    if not same:
        raise GraphError(
            "the samples of a batch do not stay apart: two samples together give another answer "
            "than each alone; export the model with a dynamic batch"
        )

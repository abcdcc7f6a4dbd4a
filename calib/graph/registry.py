"""The table of operations: ONNX name to forward and vector-Jacobian product."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from calib.errors import UnsupportedError
from calib.graph.model import Array, Attribute, Node

Inputs = Sequence[Array | None]
Attributes = Mapping[str, Attribute]
Forward = Callable[[Inputs, Attributes], tuple[Array, ...]]


NOT_SUPPORTED = "which is not supported"
LINEAR = frozenset({"ConvTranspose", "DeformConv", "Einsum", "GRU", "LSTM", "RNN"})
"""Operations that hold linear layers of other forms than ours."""


@dataclass(frozen=True)
class Tape:
    """What a vector-Jacobian product needs to know of one run of a node."""

    inputs: Inputs
    outputs: tuple[Array, ...]
    gradients: tuple[Array | None, ...]
    """One for each output: the gradient of a scalar with respect to it; None counts as zero."""

    attributes: Attributes
    wanted: tuple[bool, ...] | None = None
    """One for each input: whether its gradient is looked at; None: all are."""

    def wants(self, index: int) -> bool:
        """Whether the gradient with respect to an input is looked at."""
        if self.wanted is None:
            return index < len(self.inputs)
        return index < len(self.wanted) and self.wanted[index]


Pullback = Callable[[Tape], tuple[Array | None, ...]]
"""The gradient with respect to each input; None where there is none (indices, shapes).

What is not wanted may be None too; only the products, where it costs, look."""


@dataclass(frozen=True)
class Operation:
    """An operation's two directions."""

    forward: Forward
    pullback: Pullback


_OPERATIONS: dict[str, Operation] = {}
_ROOMS = (
    "activation",
    "arithmetic",
    "convolution",
    "matrix",
    "normalization",
    "pooling",
    "reduction",
    "selection",
    "shape",
)


def register(name: str, forward: Forward, pullback: Pullback) -> None:
    """Enter an operation under its ONNX name; called by the files in `operations`."""
    _OPERATIONS[name] = Operation(forward, pullback)


@cache
def operations() -> Mapping[str, Operation]:
    """All operations by name."""
    for room in _ROOMS:
        importlib.import_module(f"calib.graph.operations.{room}")
    return dict(sorted(_OPERATIONS.items()))


def operation_of(node: Node) -> Operation:
    """The operation that a node runs.

    Raises:
        UnsupportedError: there is none of that name.
    """
    table = operations()
    if node.op not in table:
        linear = node.op in LINEAR
        why = "which is linear and which no surrogate here corrects" if linear else NOT_SUPPORTED
        raise UnsupportedError(
            f"node {node.name!r} is a {node.op}, {why}; supported are: " + ", ".join(table)
        )
    return table[node.op]

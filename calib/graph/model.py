"""The graph: nodes in order of execution, constants, and what goes in and out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from calib.errors import GraphError

Array = NDArray[Any]
"""An array of any type; operations keep the type of what they are given."""

Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True)
class Node:
    """One operation, with ONNX's name and the semantics of its newest version.

    An input or output that is left out is the empty string, as in ONNX.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Port:
    """A tensor that enters the graph: its shape for one sample has 1 (the batch) in front."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """A network: one input, one output, nodes in an order in which they can be run.

    The first axis of input and output is the batch; any batch size may be run.
    """

    name: str
    input: Port
    output: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]

    def __post_init__(self) -> None:
        """Check that each name is made once and before it is used.

        Raises:
            GraphError: a tensor is used before it is made, or made twice.
        """
        known = {self.input.name, *self.constants, ""}
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in known]
            if missing:
                raise GraphError(
                    f"node {node.name!r} ({node.op}) reads tensor {missing[0]!r}, which nothing "
                    "before it makes; the model is damaged or was cut: export it again"
                )
            made = [name for name in node.outputs if name]
            twice = [name for name in made if name in known]
            if twice:
                raise GraphError(
                    f"node {node.name!r} ({node.op}) makes tensor {twice[0]!r}, which exists "
                    "already; the model is damaged: export it again"
                )
            known.update(made)
        if self.output not in known:
            raise GraphError(
                f"the graph's output {self.output!r} is made by no node; the model is damaged or "
                "was cut: export it again"
            )

    @property
    def producers(self) -> dict[str, Node]:
        """The node that makes each tensor."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    @property
    def consumers(self) -> dict[str, list[Node]]:
        """The nodes that read each tensor."""
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers.setdefault(name, []).append(node)
        return readers

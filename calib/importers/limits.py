"""Bounds on what the importer allocates: a damaged size must not fill the memory."""

from __future__ import annotations

import math
from collections.abc import Iterable

from calib.errors import GraphError
from calib.graph.model import Array, Node

LARGEST_BYTES = 1 << 31
"""Of a model: both formats count their bytes in 32 bits with a sign."""

LARGEST_ELEMENTS = 1 << 27
"""Elements of one tensor at most: half a gigabyte of float32."""


def check_elements(shape: Iterable[int], what: str) -> None:
    """Raise GraphError for a shape with negative sizes or too many elements."""
    sizes = [int(size) for size in shape]
    if min(sizes, default=0) < 0 or math.prod(sizes) > LARGEST_ELEMENTS:
        raise GraphError(
            f"{what} has shape {sizes}, and at most {LARGEST_ELEMENTS} elements are supported; "
            "the model is damaged or too large"
        )


def check_growth(node: Node, inputs: list[Array | None]) -> None:
    """Raise GraphError if a node would make far more than it is given.

    Args:
        node: what is about to be run.
        inputs: its inputs.
    """
    data = inputs[0] if inputs else None
    if data is None:
        return
    if node.op == "Pad" and len(inputs) > 1 and inputs[1] is not None:
        _check_padded(node, data.shape, inputs[1].reshape(-1).tolist())
    elif isinstance(pads := node.attributes.get("pads"), tuple):
        _check_padded(node, data.shape, [int(p) for p in pads])
    elif node.op in {"Expand", "Tile"} and len(inputs) > 1 and inputs[1] is not None:
        sizes = inputs[1].reshape(-1).tolist()
        times = [data.size] if node.op == "Tile" else []
        check_elements([*sizes, *times], f"the result of node {node.name!r} ({node.op})")
    elif node.op == "Range" and all(x is not None and x.size == 1 for x in inputs):
        start, limit, step = (float(x.reshape(())) for x in inputs if x is not None)
        check_elements([math.ceil(abs(limit - start) / abs(step))], f"node {node.name!r} (Range)")
    else:
        _check_broadcast(node, inputs)


def _check_padded(node: Node, shape: tuple[int, ...], pads: list[int]) -> None:
    """Pads stand for the last axes: all begins, then all ends."""
    axes = min(len(pads) // 2, len(shape))
    grown = list(shape)
    for i in range(axes):
        both = abs(int(pads[i])) + abs(int(pads[len(pads) // 2 + i]))
        grown[len(shape) - axes + i] += both
    check_elements(grown, f"the padded input of node {node.name!r} ({node.op})")


def _check_broadcast(node: Node, inputs: list[Array | None]) -> None:
    given = [x.shape for x in inputs if x is not None]
    if node.op in {"MatMul", "Gemm"} or len(given) < 2:
        rows = sum(math.prod(shape[:-1]) for shape in given[:1])
        columns = given[1][-1] if len(given) > 1 and given[1] else 1
        check_elements([rows, columns], f"the result of node {node.name!r} ({node.op})")
        return
    rank = max(map(len, given))
    wide = [(1,) * (rank - len(shape)) + shape for shape in given]
    if all(len({size for size in sizes if size != 1}) <= 1 for sizes in zip(*wide, strict=True)):
        largest = [max(sizes) for sizes in zip(*wide, strict=True)]
        check_elements(largest, f"the result of node {node.name!r} ({node.op})")

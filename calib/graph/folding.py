"""Folds what follows a linear layer into its weights: batch normalisation, factors, biases.

Anything of the form s·y + t with one s and one t for each output channel is exact to fold,

    s (W x + b) + t = (s W) x + (s b + t),

and is computed in float64, so that the only loss is the rounding of the new weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from calib.graph.model import Array, Graph, Node


@dataclass(frozen=True)
class _Affine:
    """s·y + t; each a scalar or one number for each output channel."""

    scale: Array
    shift: Array


def fold_into_linear(graph: Graph, ranks: Mapping[str, int]) -> Graph:
    """The graph with batch normalisations and constant Mul, Add, Sub, Div folded into weights.

    Args:
        graph: the network.
        ranks: number of axes of each tensor.
    """
    with np.errstate(all="ignore"):  # a weight may overflow float32: then so does the network
        return _fold(graph, ranks)


def _fold(graph: Graph, ranks: Mapping[str, int]) -> Graph:
    constants = dict(graph.constants)
    readers = graph.consumers
    made: dict[str, Node] = {}
    for node in graph.nodes:
        between = next((name for name in node.inputs if name and name not in constants), "")
        alone = between != graph.output and len(readers.get(between, ())) == 1
        linear = made.get(between) if alone else None
        folded = _folded(linear, node, between, ranks, constants) if linear else None
        if folded is None:
            made[next(filter(None, node.outputs))] = node
        else:
            # In the linear node's own place: what it reads exists there.
            made = {
                (node.outputs[0] if name == between else name): (
                    folded if name == between else other
                )
                for name, other in made.items()
            }
    return replace(graph, nodes=tuple(made.values()), constants=constants)


def _folded(
    linear: Node,
    node: Node,
    between: str,
    ranks: Mapping[str, int],
    constants: dict[str, Array],
) -> Node | None:
    """The linear node with the node behind it taken in; None where that is not exact."""
    rank = ranks[between]
    width = _outputs_of(linear, constants)
    affine = _affine(node, between, constants) if width and rank >= 2 else None
    channel = rank - 1 if linear.op == "MatMul" else 1
    normalised = node.op == "BatchNormalization"
    if affine is None or (normalised and channel != 1):
        return None
    scale = _per_channel(affine.scale, rank, channel, width, normalised=normalised)
    shift = _per_channel(affine.shift, rank, channel, width, normalised=normalised)
    if scale is None or shift is None:
        return None
    if linear.op == "MatMul" and rank != 2 and shift.any():  # a MatMul has no bias, a Gemm no stack
        return None
    absorbed = _absorb(linear, scale, shift, constants, rank)
    return replace(absorbed, outputs=node.outputs[:1])


def _outputs_of(node: Node, constants: Mapping[str, Array]) -> int:
    """Output channels of a linear node with constant weights; 0 for any other node."""
    if node.op not in {"Conv", "Gemm", "MatMul"} or node.inputs[0] in constants:
        return 0
    if any(name and name not in constants for name in node.inputs[1:]):
        return 0
    weight = constants[node.inputs[1]]
    if weight.dtype.kind != "f" or (node.op != "Conv" and weight.ndim != 2):
        return 0
    if node.op == "Gemm" and node.attributes.get("transA", 0):
        return 0
    rows = node.op == "Conv" or node.attributes.get("transB", 0)
    outputs = int(weight.shape[0] if rows else weight.shape[1])
    bias = constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
    return outputs if bias is None or bias.shape in {(), (1,), (outputs,), (1, outputs)} else 0


def _affine(node: Node, between: str, constants: Mapping[str, Array]) -> _Affine | None:
    """What a node does to `between`, as s·y + t with constant s and t."""
    if node.inputs.count(between) != 1 or len(node.outputs) != 1:
        return None
    others = [constants.get(name) for name in node.inputs if name != between]
    if any(x is None or x.dtype.kind != "f" for x in others):
        return None
    values = [x.astype(np.float64) for x in others if x is not None]
    first = node.inputs[0] == between
    if node.op == "BatchNormalization" and first:
        return _normalisation(node, values)
    if len(values) != 1:
        return None
    (value,) = values
    return _arithmetic(node.op, value, first=first)


def _normalisation(node: Node, values: list[Array]) -> _Affine:
    """γ (y − μ) / √(σ² + ε) + β."""
    scale, bias, mean, variance = values
    epsilon = float(node.attributes.get("epsilon", 1e-5))  # type: ignore[arg-type]  # a float
    factor = scale / np.sqrt(variance + epsilon)
    return _Affine(factor, bias - mean * factor)


def _arithmetic(op: str, value: Array, *, first: bool) -> _Affine | None:
    one, zero = np.ones(()), np.zeros(())
    if op == "Add":
        return _Affine(one, value)
    if op == "Sub":
        return _Affine(one, -value) if first else _Affine(-one, value)
    if op == "Mul":
        return _Affine(value, zero)
    divides = op == "Div" and first and value.all()
    return _Affine(1 / value, zero) if divides else None


def _per_channel(
    value: Array, rank: int, channel: int, width: int, *, normalised: bool
) -> Array | None:
    """A constant as one number for each output channel; None where it varies along other axes."""
    if normalised or value.size == 1:
        fits = (value.size == 1 and value.ndim <= rank) or value.shape == (width,)
        return np.broadcast_to(value.reshape(-1), (width,)) if fits else None
    if value.ndim > rank:
        return None
    wide = (1,) * (rank - value.ndim) + value.shape
    expected = tuple(width if axis == channel else 1 for axis in range(rank))
    return value.reshape(-1) if wide == expected else None


def _absorb(node: Node, scale: Array, shift: Array, constants: dict[str, Array], rank: int) -> Node:
    """The linear node with its outputs scaled and shifted."""
    weight = constants[node.inputs[1]]
    alpha, beta = (float(node.attributes.get(k, 1.0)) for k in ("alpha", "beta"))  # type: ignore[arg-type]  # floats
    rows = node.op == "Conv" or node.attributes.get("transB", 0)
    factors = scale.reshape(-1, *(1,) * (weight.ndim - 1)) if rows else scale
    scaled = weight.astype(np.float64) * (factors * alpha)
    biased = len(node.inputs) > 2 and bool(node.inputs[2])
    bias = constants[node.inputs[2]].astype(np.float64).reshape(-1) * beta if biased else 0.0
    inputs: tuple[str, ...] = (
        node.inputs[0],
        _enter(constants, f"{node.name}/weight", scaled.astype(weight.dtype)),
    )
    if biased or shift.any():
        total = (bias * scale + shift).astype(weight.dtype)
        inputs = (*inputs, _enter(constants, f"{node.name}/bias", total))
    kept = {k: v for k, v in node.attributes.items() if k not in {"alpha", "beta"}}
    op = "Gemm" if node.op == "MatMul" and rank == 2 and len(inputs) == 3 else node.op
    return replace(node, op=op, inputs=inputs, attributes=MappingProxyType(kept))


def _enter(constants: dict[str, Array], name: str, value: Array) -> str:
    while name in constants:
        name += "'"
    constants[name] = value
    return name

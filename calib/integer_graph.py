"""The network as an integer runtime executes it: quantise and dequantise nodes, and surrogates.

Each linear layer becomes, in the operations of ONNX,

    input → Quantize → Dequantize → main → Quantize → Dequantize → + → the layer's output
       └──────────────→ A → B ─────────────────────────────────────↗

where main has weights and bias as dequantised integers, so that a runtime fuses what stands between
dequantise and quantise into one integer kernel. Codes of 4 bits are computed as 8. Gain and offset
lie in the weights' scales and the bias and cost nothing; only a rank has a branch, and none where
the weights that are computed have room for it (`calib.folded_weights`). A convolution
that the next layer alone reads, without branches, hands over its codes: its output is quantised
once, as the next layer's input. Matrix products come out of their kernel in float, so they need no
code of their own. NormalFloat-4 has no integer kernel: such weights are computed in float, on
inputs that are rounded to their codes all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from calib.factors import Factors
from calib.folded_weights import folded_integers, folded_values, has_room
from calib.graph.linear import LinearLayer
from calib.graph.model import Array, Graph, Node
from calib.integer_weights import (
    INTEGER_BITS,
    IntegerWeights,
    float_weights,
    integer_weights,
    is_integer,
)
from calib.packed import PackedNetwork, weight_tensor
from calib.schemes.activations import ActivationCode
from calib.surrogate_graph import a_tensor, b_tensor

_MIDDLE = 128
"""The zero point of signed bytes that are written unsigned."""


def sums_name(layer: str) -> str:
    """The tensor of a tapped layer's own products, before bias, scale and surrogate."""
    return f"{layer}@sums"


def integer_graph(
    network: PackedNetwork,
    outputs: Mapping[str, ActivationCode],
    factors: Factors,
    tapped: Collection[str] = (),
    *,
    fold: bool = False,
) -> Graph:
    """The network up to its logits, quantised, with its surrogates.

    Args:
        network: what the bundle holds, quantised.
        outputs: by layer, the codes of a convolution's output before a branch is added.
        factors: the surrogates; they decide where there is a branch.
        tapped: layers whose inputs and outputs shall be tensors of the graph; each has its
            products, int32 or float32, beside it as `sums_name`.
        fold: whether branches lie in the weights where these have room.
    """
    making = _Making(network, outputs, factors, frozenset(tapped), fold)
    graph = network.decision_graph
    by_name = {layer.name: layer for layer in network.layers}
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes += making.layer(node, by_name[node.name]) if node.name in by_name else [node]
    constants = {**graph.constants, **making.constants}
    used = {name for node in nodes for name in node.inputs}
    kept = {name: value for name, value in constants.items() if name in used}
    return replace(graph, nodes=tuple(nodes), constants=kept)


@dataclass
class _Making:
    """The nodes and constants of one graph while it is made."""

    network: PackedNetwork
    outputs: Mapping[str, ActivationCode]
    factors: Factors
    tapped: frozenset[str]
    fold: bool
    constants: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph = self.network.decision_graph
        self._readers = graph.consumers
        self._answer = graph.output
        self._layers = {layer.name: layer for layer in self.network.layers}

    def layer(self, node: Node, layer: LinearLayer) -> Iterator[Node]:
        """What stands in the place of a linear layer's node."""
        name, rank = layer.name, self._rank_beside(layer.name)
        rounds = self._is_rounded(layer)
        finished = f"{name}@finished" if rank else layer.output
        main = f"{name}@main" if rounds else finished
        yield from self._entry(layer, f"{name}@input")
        yield from self._main(node, layer, f"{name}@input", main)
        if rounds:
            yield from self._rounded(f"{name}@output", self.outputs[name], main, finished)
        if rank:
            yield from self._branch(node, layer, finished)
        if name in self.tapped:
            yield from self._sums(node, layer)

    def _rank_beside(self, name: str) -> int:
        """Of the branch that stands beside a layer."""
        surrogate = self.factors[name]
        room = self.fold and has_room(self.network.weights[name])
        return 0 if room and not surrogate.beside else surrogate.rank

    def _is_rounded(self, layer: LinearLayer) -> bool:
        """Whether the kernel needs codes for its output, and the next layer's will not do."""
        integer = is_integer(self.network.weights[layer.name])
        return integer and layer.window is not None and not self._hands_over(layer)

    def _hands_over(self, layer: LinearLayer) -> bool:
        """Whether the next layer's input codes are all that anyone wants of this layer."""
        if layer.name in self.tapped or self._rank_beside(layer.name):
            return False
        reader = self._only_reader(layer.output)
        through_relu = reader is not None and reader.op == "Relu"
        if reader is not None and through_relu:
            reader = self._only_reader(reader.outputs[0])
        if reader is None or reader.name not in self._layers or reader.name in self.tapped:
            return False
        code = self.network.activations[reader.name]
        whole = code.bits == INTEGER_BITS and not (through_relu and code.zero_point)
        return whole and not self._rank_beside(reader.name)

    def _only_reader(self, tensor: str) -> Node | None:
        readers = self._readers.get(tensor, [])
        return readers[0] if len(readers) == 1 and tensor != self._answer else None

    def _entry(self, layer: LinearLayer, made: str) -> Iterator[Node]:
        """The layer's input, rounded to its codes."""
        name, code = layer.name, self.network.activations[layer.name]
        source = layer.input
        if code.bits < INTEGER_BITS:
            ends = (-code.zero_point, 2**code.bits - 1 - code.zero_point)
            limits = [
                self._constant(f"{name}@{end}", np.asarray(level * code.step, np.float32))
                for end, level in zip(("lowest", "highest"), ends, strict=True)
            ]
            source = f"{name}@clipped"
            yield Node(source, "Clip", (layer.input, *limits), (source,))
        yield from self._rounded(f"{name}@activation", code, source, made)

    def _rounded(self, label: str, code: ActivationCode, given: str, made: str) -> Iterator[Node]:
        step = self._constant(f"{label}/step", np.asarray(code.step, np.float32))
        zero = self._constant(f"{label}/zero", np.asarray(code.zero_point, np.uint8))
        codes = f"{label}/codes"
        yield Node(codes, "QuantizeLinear", (given, step, zero), (codes,))
        yield Node(f"{label}/values", "DequantizeLinear", (codes, step, zero), (made,))

    def _main(self, node: Node, layer: LinearLayer, given: str, made: str) -> Iterator[Node]:
        """The layer with what lies in its weights, on an input that is rounded to its codes."""
        name, surrogate = layer.name, self.factors[layer.name]
        weights = self.network.weights[name]
        folded = surrogate.has_branch and not self._rank_beside(name)
        if is_integer(weights):
            step = self.network.activations[name].step
            made_of = folded_integers if folded else integer_weights
            integers = made_of(weights, layer.bias, step, surrogate)
            weight, bias = yield from self._dequantised(node, layer, integers)
        else:
            values, shift = float_weights(weights, layer.bias, surrogate)
            values = folded_values(weights, surrogate).astype(np.float32) if folded else values
            weight = self._constant(f"{name}@weight", self._tensor(node, layer, values))
            bias = self._constant(f"{name}@bias", shift)
        if layer.window is not None:
            yield Node(name, "Conv", (given, weight, bias), (made,), node.attributes)
        elif len(layer.input_shape) == 1:
            yield Node(name, "Gemm", (given, weight, bias), (made,))
        else:
            product = f"{name}@product"
            yield Node(name, "MatMul", (given, weight), (product,))
            yield Node(f"{name}@biased", "Add", (product, bias), (made,))

    def _dequantised(
        self, node: Node, layer: LinearLayer, integers: IntegerWeights
    ) -> Generator[Node, None, tuple[str, str]]:
        """Nodes that make weight and bias of integers; returns their names."""
        name = layer.name
        codes = self._tensor(node, layer, integers.codes)
        parts = (
            ("weight", codes, integers.scales, 0 if layer.window is not None else 1),
            ("bias", integers.bias, integers.bias_scales, 0),
        )
        for part, values, scales, axis in parts:
            label = f"{name}@{part}"
            held = self._constant(f"{label}/codes", values)
            step = self._constant(f"{label}/scales", scales)
            # Left out, it is zero as well; onnxruntime 1.32 then fails on a Gemm.
            zero = self._constant(f"{label}/zero", np.zeros(len(scales), values.dtype))
            yield Node(label, "DequantizeLinear", (held, step, zero), (label,), {"axis": axis})
        return f"{name}@weight", f"{name}@bias"

    def _branch(self, node: Node, layer: LinearLayer, main: str) -> Iterator[Node]:
        name, surrogate = layer.name, self.factors[layer.name]
        low, wide = f"{name}@low", f"{name}@wide"
        a = self._constant(f"{name}@a", a_tensor(layer, surrogate.a))
        b = self._constant(f"{name}@b", b_tensor(layer, surrogate.b))
        if layer.window is None:
            yield Node(low, "MatMul", (layer.input, a), (low,))
            yield Node(wide, "MatMul", (low, b), (wide,))
        else:
            yield Node(low, "Conv", (layer.input, a), (low,), node.attributes)
            yield Node(wide, "Conv", (low, b), (wide,), {"group": layer.groups})
        yield Node(f"{name}@both", "Add", (main, wide), (layer.output,))

    def _sums(self, node: Node, layer: LinearLayer) -> Iterator[Node]:
        """The products of codes alone, beside the layer."""
        name, weights, made = layer.name, self.network.weights[layer.name], sums_name(layer.name)
        window = layer.window is not None
        attributes = node.attributes if window else {}
        if not is_integer(weights):
            values = self._tensor(node, layer, weights.values())
            held = self._constant(f"{name}@nominal", values)
            op = "Conv" if window else "MatMul"
            yield Node(made, op, (f"{name}@input", held), (made,), attributes)
            return
        codes = self._tensor(node, layer, weights.codes)
        inputs = [f"{name}@activation/codes", f"{name}@nominal", f"{name}@activation/zero"]
        if window:  # onnxruntime has had no ConvInteger of signed weights until lately
            codes = (codes.astype(np.int16) + _MIDDLE).astype(np.uint8)
            inputs.append(self._constant(f"{name}@middle", np.asarray(_MIDDLE, np.uint8)))
        self._constant(f"{name}@nominal", codes)
        op = "ConvInteger" if window else "MatMulInteger"
        yield Node(made, op, tuple(inputs), (made,), attributes)

    def _tensor(self, node: Node, layer: LinearLayer, weight: NDArray[np.generic]) -> Array:
        """Weights [groups, d, m] as a Conv reads them, or [d, m]."""
        if layer.window is None:
            return np.ascontiguousarray(weight[0])
        shape = self.network.graph.constants[node.inputs[1]].shape
        return weight_tensor(layer, shape, weight, {})  # type: ignore[arg-type]  # any type is moved alike

    def _constant(self, name: str, value: Array) -> str:
        self.constants[name] = value
        return name

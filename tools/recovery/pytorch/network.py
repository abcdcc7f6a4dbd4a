"""A packed network on one chip as a function of PyTorch tensors, so that rivals can train it.

The chip's effective weights are constants. Activations go into it quantised as `CimRuntime` has
them, with gradients straight through where they are in range. Beside and around it stand tensors
that learn: gain and offset of each channel, A and B, which see the input before quantisation, as on
the board; or, for a full fine-tune, all weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as functional  # noqa: PLR0402 -- mypy knows it by this name
from numpy.typing import NDArray

from calib.graph.linear import LinearLayer
from calib.graph.model import Graph, Node
from calib.packed import PackedNetwork, weight_tensor

Tensor: TypeAlias = torch.Tensor
Attributes = Mapping[str, Any]
CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d}


@dataclass(frozen=True)
class Correction:
    """What stands around one layer's main path; None: nothing."""

    gain: Tensor | None = None
    offset: Tensor | None = None
    a: Tensor | None = None
    """[rank, channels, *kernel], or [rank, d]."""

    b: Tensor | None = None
    """[m, rank, 1, ...], or [m, rank]."""

    weight: Tensor | None = None
    """In the place of the chip's weights."""


@dataclass(frozen=True)
class TorchLayer:
    """One linear layer with the chip's weights."""

    layer: LinearLayer
    node: Node
    weight: Tensor
    """As a convolution reads it, [m, channels, *kernel]; or [m, d]."""

    bias: Tensor
    step: float
    zero_point: int
    top: int

    def __call__(self, x: Tensor, correction: Correction) -> Tensor:
        """The corrected outputs for a layer's input."""
        x = self.padded(x)
        seen = self.seen(x)
        weight = self.weight if correction.weight is None else correction.weight
        bias = self.bias
        if correction.gain is not None:
            # The gain of the product, at the price of one small product of the weights.
            weight = weight * correction.gain.reshape(-1, *[1] * (weight.ndim - 1))
            bias = bias * correction.gain
        if correction.offset is not None:
            bias = bias + correction.offset
        y = self._product(seen, weight, bias)
        if correction.a is None or correction.b is None:
            return y
        return y + self._expanded(self._product(x, correction.a, None), correction.b)

    def seen(self, x: Tensor) -> Tensor:
        """What the array gets of an input: quantised as the board does it."""
        return torch.fake_quantize_per_tensor_affine(x, self.step, self.zero_point, 0, self.top)

    def padded(self, x: Tensor) -> Tensor:
        """An input with the zeros of the layer's window around it."""
        window = self.layer.window
        if window is None or not any(window.pads):
            return x
        axes = window.axes
        sides = [(window.pads[i], window.pads[i + axes]) for i in reversed(range(axes))]
        return functional.pad(x, [side for pair in sides for side in pair])

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        window = self.layer.window
        if window is None:
            return functional.linear(x, weight, bias)
        convolve = CONVOLUTIONS[window.axes]
        grouped = self.layer.groups if weight.shape[0] == self.layer.outputs else 1
        return convolve(x, weight, bias, window.strides, 0, window.dilations, grouped)

    def _expanded(self, low: Tensor, b: Tensor) -> Tensor:
        if self.layer.window is None:
            return functional.linear(low, b)
        return CONVOLUTIONS[self.layer.window.axes](low, b)


def torch_layers(
    network: PackedNetwork, weights: Mapping[str, NDArray[np.float32]]
) -> dict[str, TorchLayer]:
    """The layers of a packed network with a chip's effective weights [groups, d, m]."""
    nodes = {node.name: node for node in network.decision_graph.nodes}
    found = {}
    for layer in network.layers:
        node, code = nodes[layer.name], network.activations[layer.name]
        found[layer.name] = TorchLayer(
            layer=layer,
            node=node,
            weight=weight_of(network.graph, layer, node, weights[layer.name]),
            bias=torch.tensor(layer.bias),
            step=code.step,
            zero_point=code.zero_point,
            top=2**code.bits - 1,
        )
    return found


def weight_of(graph: Graph, layer: LinearLayer, node: Node, weight: NDArray[np.float32]) -> Tensor:
    """Weights [groups, d, m] as PyTorch reads them."""
    if layer.window is None:
        return torch.from_numpy(np.ascontiguousarray(weight[0].T))
    shape = graph.constants[node.inputs[1]].shape
    tensor = torch.from_numpy(weight_tensor(layer, shape, weight, node.attributes))
    return channels_last(tensor)


def channels_last(tensor: Tensor) -> Tensor:
    """Images lie channels last: PyTorch's convolutions are faster so."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


Corrections = Mapping[str, Correction]
NOTHING = Correction()


def forward(
    graph: Graph, layers: Mapping[str, TorchLayer], corrections: Corrections, x: Tensor
) -> Tensor:
    """The network's logits [n, classes] for samples [n, ...].

    Raises:
        KeyError: the network has an operation that no rival needed so far; add it to `OPERATIONS`.
    """
    values: dict[str, Tensor] = {graph.input.name: x}
    for node in graph.nodes:
        if node.name in layers:
            correction = corrections.get(node.name, NOTHING)
            values[node.outputs[0]] = layers[node.name](values[node.inputs[0]], correction)
            continue
        inputs = [values[name] if name in values else graph.constants[name] for name in node.inputs]
        values[node.outputs[0]] = OPERATIONS[node.op](inputs, node.attributes)
    return values[graph.output]


def _average(inputs: list[Any], attributes: Attributes) -> Tensor:
    if any(attributes.get("pads", ())):
        raise KeyError("AveragePool with padding")
    kernel, strides = attributes["kernel_shape"], attributes["strides"]
    return functional.avg_pool2d(inputs[0], kernel, strides)


OPERATIONS: Mapping[str, Callable[[list[Any], Attributes], Tensor]] = {
    "Add": lambda inputs, _: inputs[0] + inputs[1],
    "AveragePool": _average,
    "Flatten": lambda inputs, _: inputs[0].flatten(1),
    "GlobalAveragePool": lambda inputs, _: inputs[0].mean(
        dim=tuple(range(2, inputs[0].ndim)), keepdim=True
    ),
    "Relu": lambda inputs, _: functional.relu(inputs[0]),
    "Reshape": lambda inputs, _: inputs[0].reshape(len(inputs[0]), *inputs[1][1:].tolist()),
    "Transpose": lambda inputs, attributes: inputs[0].permute(*attributes["perm"]),
}
"""What the benchmarked networks are made of, besides their linear layers."""

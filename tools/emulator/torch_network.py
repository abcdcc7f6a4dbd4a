"""A packed network in PyTorch, with a rival's modules in the place of its linear layers.

Weights are the ones that the codes stand for, inputs of each layer are quantised as the board has
them; so a rival computes the same network, up to what it emulates itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recovery.pytorch.network import Correction, Tensor, TorchLayer, forward, torch_layers

from agent.store.bundle import open_bundle
from agent.store.package import read_package
from calib.packed import PackedNetwork

Convert = Callable[[Any], Any]
"""From a PyTorch convolution or linear module to a rival's."""

CONVOLUTIONS: Mapping[int, Any] = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d}


@dataclass(frozen=True)
class ReplacedLayer:
    """One layer whose product a module computes; scales and biases are digital."""

    given: TorchLayer
    module: Callable[[Tensor], Tensor]
    """With each output's weights divided by its scale."""

    scale: Tensor
    """[m, 1, ...]"""

    bias: Tensor
    """[m, 1, ...]"""

    def __call__(self, x: Tensor, correction: Correction) -> Tensor:
        """The module's outputs for a layer's input; rivals are not corrected here."""
        del correction
        return self.module(self.given.seen(self.given.padded(x))) * self.scale + self.bias


@dataclass(frozen=True)
class TorchNetwork:
    """A packed network whose layers are modules."""

    network: PackedNetwork
    layers: Mapping[str, ReplacedLayer]

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Answers [n, classes] to samples [n, ...]."""
        layers: Mapping[str, Any] = self.layers
        with torch.no_grad():
            answers = forward(self.network.decision_graph, layers, {}, torch.from_numpy(x))
        return np.asarray(answers.numpy(), np.float32)


def read_network(bundle: Path) -> PackedNetwork:
    """The network of a bundle."""
    return read_package(open_bundle(bundle)).network


def torch_network(
    network: PackedNetwork, convert: Convert, *, by_output: bool = False
) -> TorchNetwork:
    """Put converted modules in the place of all linear layers.

    Args:
        network: what a bundle holds.
        convert: from a plain module to a rival's.
        by_output: give the rival weights of which each output's largest is 1, and scale behind it.
    """
    given = torch_layers(network, {layer.name: layer.weight for layer in network.layers})
    layers = {name: _replaced(one, convert, by_output=by_output) for name, one in given.items()}
    return TorchNetwork(network, layers)


def _replaced(one: TorchLayer, convert: Convert, *, by_output: bool) -> ReplacedLayer:
    scale = one.weight.abs().flatten(1).amax(dim=1)
    if not by_output:
        scale = torch.ones_like(scale)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    of_outputs = (-1, *[1] * (one.weight.ndim - 2))
    of_weights = (-1, *[1] * (one.weight.ndim - 1))
    module = convert(_module(one, one.weight / scale.reshape(of_weights)))
    return ReplacedLayer(one, module, scale.reshape(of_outputs), one.bias.reshape(of_outputs))


def _module(one: TorchLayer, weight: Tensor) -> Any:
    """A plain PyTorch module of one layer, without padding and bias."""
    layer, window = one.layer, one.layer.window
    if window is None:
        module: Any = torch.nn.Linear(layer.inputs, layer.outputs, bias=False)
    else:
        kernel = tuple(one.weight.shape[2:])
        module = CONVOLUTIONS[window.axes](
            one.weight.shape[1] * layer.groups,
            layer.outputs,
            kernel,
            stride=tuple(window.strides),
            dilation=tuple(window.dilations),
            groups=layer.groups,
            bias=False,
        )
    with torch.no_grad():
        module.weight.copy_(weight)
    return module.eval()

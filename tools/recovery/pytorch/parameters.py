"""What learns: tensors in natural units, so that one learning rate suits all layers.

Adam moves every number by about its learning rate, whatever the number's unit. So offsets and B are
counted in the spread of the layer's clean outputs, A in the inverse of the size of its inputs, and
changes of weights in the spread of its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from calib.factors import Factors, Surrogate, identity
from calib.graph.linear import LinearLayer
from recovery.pytorch.network import Correction, Tensor, TorchLayer, channels_last
from recovery.recipes import Form
from recovery.samples import Float32
from recovery.subject import Buffered

Learning = dict[str, Tensor]
"""Tensors that learn, by `layer@part`."""


@dataclass(frozen=True)
class Units:
    """Of one layer."""

    inputs: float
    """Root mean square of its clean inputs, times √d: the size of a row's random projection."""

    outputs: float
    """Standard deviation of its clean outputs."""

    weights: float
    """Standard deviation of the chip's weights."""


def units_of(shared: Buffered, layers: Mapping[str, TorchLayer]) -> dict[str, Units]:
    """The natural units of all layers; 1 where nothing varies."""

    def units(one: TorchLayer) -> Units:
        x, y = shared.clean[one.layer.input], shared.clean[one.layer.output]
        inputs = float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
        inputs *= float(np.sqrt(one.layer.inputs))
        return Units(inputs or 1.0, float(y.std()) or 1.0, float(one.weight.std()) or 1.0)

    return {name: units(one) for name, one in layers.items()}


def learning(
    layers: Mapping[str, TorchLayer], form: Form, generator: np.random.Generator
) -> Learning:
    """Tensors that change nothing yet: A is drawn, B and all others are zero (LoRA, 2106.09685)."""
    found: Learning = {}
    for name, one in layers.items():
        layer = one.layer
        if form.gains:
            found[f"{name}@gain"] = torch.zeros(layer.outputs)
        found[f"{name}@offset"] = torch.zeros(layer.outputs)
        if form.rank and layer.groups == 1:
            a = generator.standard_normal((form.rank, *one.weight.shape[1:]), np.float32)
            found[f"{name}@a"] = channels_last(torch.from_numpy(a))
            tail = [1] * (one.weight.ndim - 2)
            found[f"{name}@b"] = torch.zeros(layer.outputs, form.rank, *tail)
        if form.weights:
            found[f"{name}@weight"] = torch.zeros_like(one.weight)
    for tensor in found.values():
        tensor.requires_grad_(requires_grad=True)
    return found


def corrections(
    layers: Mapping[str, TorchLayer],
    units: Mapping[str, Units],
    begin: Factors,
    learnt: Learning,
) -> dict[str, Correction]:
    """Corrections around all layers: those to begin with, and what was learnt since.

    Args:
        layers: with the chip's weights.
        units: of what is learnt.
        begin: gains and offsets to start from.
        learnt: see `learning`.
    """

    def correction(name: str, one: TorchLayer) -> Correction:
        unit, start = units[name], begin[name]
        parts = {part: learnt.get(f"{name}@{part}") for part in ("gain", "a", "b", "weight")}
        gain, offset = torch.from_numpy(start.gain), torch.from_numpy(start.offset)
        return Correction(
            gain=gain if parts["gain"] is None else gain + parts["gain"],
            offset=offset + unit.outputs * learnt[f"{name}@offset"],
            a=_if(parts["a"], lambda a: a / unit.inputs),
            b=_if(parts["b"], lambda b: b * unit.outputs),
            weight=_if(parts["weight"], lambda change: one.weight + unit.weights * change),
        )

    return {name: correction(name, one) for name, one in layers.items()}


def _if(tensor: Tensor | None, change: Callable[[Tensor], Tensor]) -> Tensor | None:
    return None if tensor is None else change(tensor)


def factors_of(layers: Mapping[str, TorchLayer], found: Mapping[str, Correction]) -> Factors:
    """Corrections without changed weights as the board's factors."""
    return Factors({name: _surrogate(one.layer, found[name]) for name, one in layers.items()})


def _surrogate(layer: LinearLayer, correction: Correction) -> Surrogate:
    same = identity(layer)
    gain = same.gain if correction.gain is None else _array(correction.gain)
    offset = same.offset if correction.offset is None else _array(correction.offset)
    if correction.a is None or correction.b is None:
        return Surrogate(gain, offset, same.a, same.b)
    a = _array(correction.a)
    if layer.window is not None:
        a = np.moveaxis(a, 1, -1)
    return Surrogate(
        gain,
        offset,
        np.ascontiguousarray(a.reshape(len(a), -1)),
        np.ascontiguousarray(_array(correction.b).reshape(layer.outputs, -1)),
    )


def _array(tensor: Tensor) -> Float32:
    return np.asarray(tensor.detach().numpy(), np.float32)

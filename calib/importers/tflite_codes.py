"""The codes of a quantised TFLite file's layers, as ours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calib.errors import UnsupportedError
from calib.given import GivenCodes
from calib.graph.linear import LinearLayer, linear_layers
from calib.graph.model import Array, Graph
from calib.importers.tflite_file import Model, Operator, Quantization
from calib.importers.tflite_graph import traced
from calib.schemes.activations import ActivationCode
from calib.schemes.weights import QuantisedWeights

SIGNED_ZERO = 128
"""What TFLite's codes of int8 are below ours."""


def given_codes(model: Model, graph: Graph) -> GivenCodes:
    """The codes of a quantised file.

    Args:
        model: the file.
        graph: its network, with nothing folded into its layers.

    Raises:
        UnsupportedError: a layer's weights are no codes of int8 around zero.
    """
    operators = traced(model, graph.name).operators
    raw = {layer.name: layer for layer in linear_layers(traced(_bare(model), graph.name).graph)}
    weights, activations = {}, {}
    for layer in linear_layers(graph):
        operator = model.operators[operators[layer.name]]
        activations[layer.name] = _activation(model, operator.inputs[0])
        weights[layer.name] = _weights(model, operator, layer, raw[layer.name].weight)
    return GivenCodes(weights, activations)


def _bare(model: Model) -> Model:
    """The model with the weights' codes as they are."""
    tensors = tuple(
        replace(t, quantization=None) if t.value is not None and t.type == "INT8" else t
        for t in model.tensors
    )
    return replace(model, tensors=tensors)


def _activation(model: Model, number: int) -> ActivationCode:
    code = model.tensors[number].quantization
    if code is None or code.scale.size != 1 or not code.scale[0] > 0:
        name = model.tensors[number].name
        raise UnsupportedError(f"tensor {name!r} has no scale above 0; convert the model again")
    return ActivationCode(float(code.scale[0]), int(code.zero_point[0]) + SIGNED_ZERO, 8)


def _weights(
    model: Model, operator: Operator, layer: LinearLayer, codes: Array
) -> QuantisedWeights:
    tensor = model.tensors[operator.inputs[1]]
    code = tensor.quantization
    if tensor.type != "INT8" or code is None or code.zero_point.any():
        raise UnsupportedError(
            f"layer {layer.name}: its weights ({tensor.type}) are no codes of int8 around zero; "
            "convert the model to int8 again, or give the float model"
        )
    return QuantisedWeights(
        codes=np.ascontiguousarray(codes, np.int8),
        scales=_scales(code, layer),
        block_rows=layer.inputs,
        bits=8,
    )


def _scales(code: Quantization, layer: LinearLayer) -> Array:
    """One for each output: [groups, 1, outputs/groups]."""
    if code.scale.size not in (1, layer.outputs) or not (code.scale > 0).all():
        raise UnsupportedError(
            f"layer {layer.name}: its {layer.outputs} outputs have {code.scale.size} scales, or "
            "one that is not above 0; convert the model again"
        )
    each = np.broadcast_to(code.scale, (layer.outputs,)).astype(np.float32)
    return np.ascontiguousarray(each.reshape(layer.groups, 1, -1))

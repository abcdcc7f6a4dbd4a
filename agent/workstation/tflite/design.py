"""How each linear layer stands in the `.tflite` files: its kernel, its integers, its branch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import InputError
from agent.runtimes.tflite_plan import POST_ACTIVATION
from agent.workstation.tflite.source import TfliteSource
from agent.workstation.tflite.writer import NONE, RELU, RELU6
from calib.factors import identity
from calib.graph.linear import LinearLayer
from calib.importers.tflite_file import Operator
from calib.integer_weights import IntegerWeights, integer_weights
from calib.packed import PackedNetwork
from calib.schemes.activations import ActivationCode

ACTIVATION_NAMES = {NONE: "none", RELU: "relu", RELU6: "relu6"}
FORMS = {"CONV_2D": "OHWI", "DEPTHWISE_CONV_2D": "1HWO", "FULLY_CONNECTED": "OI"}
"""By kernel: how its weights lie, see `calib.tflite_layout`."""


@dataclass(frozen=True)
class Design:
    """One layer in the files."""

    layer: LinearLayer
    kernel: str
    """A matrix product is a convolution of one tap, which has a scale for each output; but a
    FULLY_CONNECTED of a quantised file stays one where its answers must not change by one bit."""

    weight_shape: tuple[int, ...]
    options: Mapping[str, Any]
    """Of the file's own operator, with the schema's names."""

    activation: int
    """Fused into the file's operator."""

    given: ActivationCode
    main: ActivationCode
    """The two-sided code of what the main path alone makes."""

    integers: IntegerWeights
    """Without any correction."""

    late_bias: NDArray[np.float32] | None
    """What the file's operator adds, and the network only in a node behind the layer."""

    rank: int
    """Of the branch; 0: none."""

    @property
    def form(self) -> str:
        """How the weights lie."""
        return FORMS[self.kernel]

    @property
    def is_reshaped(self) -> bool:
        """Whether a matrix product is written as a convolution."""
        return self.layer.window is None and self.kernel == "CONV_2D"

    @property
    def scales(self) -> NDArray[np.float32]:
        """One for each output, or one for all."""
        return self.integers.scales[: self._count]

    @property
    def bias_scales(self) -> NDArray[np.float32]:
        """The same, of the bias."""
        return self.integers.bias_scales[: self._count]

    @property
    def _count(self) -> int:
        return 1 if self.kernel == "FULLY_CONNECTED" else self.layer.outputs


def designs_of(
    source: TfliteSource,
    network: PackedNetwork,
    mains: Mapping[str, ActivationCode],
    ranks: Mapping[str, int],
    surrogates_at: str,
) -> dict[int, Design]:
    """By operator of the file: the layer that it computes.

    Raises:
        InputError: codes or an activation that the kernels do not have.
    """
    found = {}
    for layer in network.layers:
        operator = source.operator(layer)
        activation = int(operator.options.get("fused_activation_function", NONE))
        if activation not in ACTIVATION_NAMES:
            raise InputError(
                f"layer {layer.name}: its operator {operator.code} has the fused activation number "
                f"{activation}, and int8 kernels know none, RELU and RELU6: export it as an "
                "operator of its own"
            )
        kernel = _kernel(source, layer, operator, surrogates_at)
        number = source.origin.operators[layer.name]
        found[number] = Design(
            layer=layer,
            kernel=kernel,
            weight_shape=_weight_shape(source, layer, operator, kernel),
            options=_options(source, number),
            activation=activation,
            given=network.activations[layer.name],
            main=mains[layer.name],
            integers=_integers(network, layer),
            late_bias=_late_bias(source, layer, operator),
            rank=ranks[layer.name],
        )
    return found


def _options(source: TfliteSource, number: int) -> Mapping[str, Any]:
    """Of an operator of the file; there may be none, which means the schema's defaults."""
    options = source.objects.subgraphs[0].operators[number].builtinOptions
    return {} if options is None else vars(options)


def _integers(network: PackedNetwork, layer: LinearLayer) -> IntegerWeights:
    step = network.activations[layer.name].step
    return integer_weights(network.weights[layer.name], layer.bias, step, identity(layer))


def _kernel(
    source: TfliteSource, layer: LinearLayer, operator: Operator, surrogates_at: str
) -> str:
    if layer.window is not None:
        return operator.code
    exact = source.is_quantised and surrogates_at == POST_ACTIVATION
    stays = exact and operator.code == "FULLY_CONNECTED" and not operator.options["keep_num_dims"]
    code = source.model.tensors[operator.inputs[1]].quantization
    one_scale = code is not None and code.scale.size == 1
    return "FULLY_CONNECTED" if stays and one_scale else "CONV_2D"


def _weight_shape(
    source: TfliteSource, layer: LinearLayer, operator: Operator, kernel: str
) -> tuple[int, ...]:
    if layer.window is not None:
        return source.model.tensors[operator.inputs[1]].shape
    flat = (layer.outputs, layer.inputs)
    return flat if kernel == "FULLY_CONNECTED" else (flat[0], 1, 1, flat[1])


def _late_bias(
    source: TfliteSource, layer: LinearLayer, operator: Operator
) -> NDArray[np.float32] | None:
    """Of a product that keeps the axes of its input: a MatMul has no bias of its own."""
    late = layer.op == "MatMul" and operator.code == "FULLY_CONNECTED"
    if not late or len(operator.inputs) < 3 or operator.inputs[2] < 0:
        return None
    return np.asarray(source.origin.constants[operator.inputs[2]], np.float32)

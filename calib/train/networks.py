"""Networks to train: a small convolutional one for images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from calib.graph.model import Array, Attribute, Graph, Node, Port

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Convolution:
    """One convolution with its Relu; padded so that a stride of 1 keeps the image's size."""

    outputs: int
    kernel: int = 3
    """Odd."""

    stride: int = 1


def convolutional_network(
    name: str,
    image: tuple[int, int, int],
    convolutions: Sequence[Convolution],
    classes: int,
    generator: np.random.Generator,
) -> Graph:
    """Convolutions with Relu, a mean over the image, one matrix product, a softmax.

    Args:
        name: of the network.
        image: channels, height, width; the graph takes [n, channels, height, width].
        convolutions: in order.
        classes: how many answers.
        generator: draws the weights (`he_normal`); offsets begin at zero.
    """
    nodes: list[Node] = []
    constants: dict[str, Array] = {}
    channels, tensor = image[0], "image"
    for i, layer in enumerate(convolutions, 1):
        place = f"convolution_{i}"
        shape = (layer.outputs, channels, layer.kernel, layer.kernel)
        constants |= _weights(place, shape, generator)
        nodes += [_convolution(place, tensor, layer), node("Relu", f"relu_{i}", (place,))]
        channels, tensor = layer.outputs, f"relu_{i}"
    constants |= _weights("classifier", (classes, channels), generator)
    nodes += [
        node("GlobalAveragePool", "mean", (tensor,)),
        node("Flatten", "features", ("mean",), axis=1),
        node("Gemm", "classifier", ("features", *_names("classifier")), transB=1),
        node("Softmax", "probabilities", ("classifier",), axis=-1),
    ]
    return Graph(name, Port("image", (1, *image)), "probabilities", tuple(nodes), constants)


def he_normal(shape: tuple[int, ...], generator: np.random.Generator) -> Float32:
    """Weights [outputs, ...], normal, of variance 2 / fan-in: what a Relu needs.

    K. He et al., Delving Deep into Rectifiers, ICCV 2015 (arXiv 1502.01852), equation 10.
    """
    deviation = math.sqrt(2 / math.prod(shape[1:]))
    return (generator.standard_normal(shape) * deviation).astype(np.float32)


def _weights(
    place: str, shape: tuple[int, ...], generator: np.random.Generator
) -> dict[str, Array]:
    weight, offset = _names(place)
    return {weight: he_normal(shape, generator), offset: np.zeros(shape[0], np.float32)}


def _names(place: str) -> tuple[str, str]:
    return f"{place}/weight", f"{place}/offset"


def _convolution(place: str, tensor: str, layer: Convolution) -> Node:
    return node(
        "Conv",
        place,
        (tensor, *_names(place)),
        kernel_shape=(layer.kernel, layer.kernel),
        pads=(layer.kernel // 2,) * 4,
        strides=(layer.stride, layer.stride),
    )


def node(op: str, name: str, inputs: tuple[str, ...], **attributes: Attribute) -> Node:
    """A node that makes the tensor of its own name."""
    return Node(name, op, inputs, (name,), MappingProxyType(attributes))

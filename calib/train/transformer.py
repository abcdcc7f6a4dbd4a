"""A transformer encoder for sequences of frames, such as the cepstra of a spoken word.

The encoder of A. Vaswani et al., Attention Is All You Need (arXiv 1706.03762), with the
normalisation in front of each part (R. Xiong et al., arXiv 2002.04745), GELU, learnt positions, and
frames for tokens as in A. Berg et al., Keyword Transformer (arXiv 2104.00769); the mean over all
tokens is classified.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from calib.graph.model import Graph
from calib.train.frames import Building, Frames


@dataclass(frozen=True)
class TransformerShape:
    """How large a transformer is."""

    width: int = 48
    """Numbers of a token; a multiple of the heads."""

    heads: int = 4
    hidden: int = 96
    """Of the two products after the attention."""

    blocks: int = 2
    patch: int = 5
    """Frames that are embedded together."""

    stride: int = 2
    """Frames from one patch to the next."""


def transformer_network(
    name: str,
    frames: Frames,
    shape: TransformerShape,
    classes: int,
    generator: np.random.Generator,
) -> Graph:
    """An encoder with `shape.blocks` blocks of attention and two products, then a softmax.

    Args:
        name: of the network.
        frames: what it reads; the graph takes [n, frames, coefficients, 1].
        shape: how large it is.
        classes: how many answers.
        generator: draws the weights.
    """
    building = Building(generator)
    x = _embedded(building, frames, shape)
    for i in range(1, shape.blocks + 1):
        for part in (_attention, _perceptron):
            place = f"block_{i}/{part.__name__.strip('_')}"
            normal = _normalised(building, f"{place}/normal", x, shape.width)
            x = building.add("Add", f"{place}/residual", x, part(building, place, normal, shape))
    axes = building.integers("mean/axes", 1)
    mean = building.add("ReduceMean", "mean", x, axes, keepdims=0)
    normal = _normalised(building, "normal", mean, shape.width)
    return building.graph(name, frames, building.classifier(normal, shape.width, classes))


def _embedded(building: Building, frames: Frames, shape: TransformerShape) -> str:
    """Patches of frames as tokens [n, tokens, width], each with its position added."""
    x = building.normalised_frames(frames, "features")
    weight = (shape.width, frames.coefficients, shape.patch)
    x = building.convolution("embedding", x, weight, strides=(shape.stride,))
    tokens = (frames.frames - shape.patch) // shape.stride + 1
    drawn = building.generator.standard_normal((tokens, shape.width)) * 0.1
    positions = building.constant("positions", drawn.astype(np.float32))
    return building.add(
        "Add", "tokens", building.add("Transpose", "patches", x, perm=(0, 2, 1)), positions
    )


def _normalised(building: Building, place: str, x: str, width: int) -> str:
    scale = building.constant(f"{place}/scale", np.ones(width, np.float32))
    offset = building.constant(f"{place}/offset", np.zeros(width, np.float32))
    return building.add("LayerNormalization", place, x, scale, offset, axis=-1)


def _attention(building: Building, place: str, x: str, shape: TransformerShape) -> str:
    """Each head's tokens as weighted means of values, weights from queries and keys."""
    size = shape.width // shape.heads
    heads = building.integers(f"{place}/heads", 0, -1, shape.heads, size)

    def split(part: str, perm: tuple[int, ...]) -> str:
        made = building.product(f"{place}/{part}", x, shape.width, shape.width)
        apart = building.add("Reshape", f"{place}/{part}/heads", made, heads)
        return building.add("Transpose", f"{place}/{part}/turned", apart, perm=perm)

    query, key = split("query", (0, 2, 1, 3)), split("key", (0, 2, 3, 1))
    value = split("value", (0, 2, 1, 3))
    scale = building.constant(f"{place}/scale", np.array(1 / math.sqrt(size), np.float32))
    likeness = building.add("MatMul", f"{place}/likeness", query, key)
    scaled = building.add("Mul", f"{place}/scaled", likeness, scale)
    weights = building.add("Softmax", f"{place}/weights", scaled, axis=-1)
    mixed = building.add("MatMul", f"{place}/mixed", weights, value)
    turned = building.add("Transpose", f"{place}/turned", mixed, perm=(0, 2, 1, 3))
    whole = building.integers(f"{place}/whole", 0, -1, shape.width)
    joined = building.add("Reshape", f"{place}/joined", turned, whole)
    return building.product(f"{place}/output", joined, shape.width, shape.width)


def _perceptron(building: Building, place: str, x: str, shape: TransformerShape) -> str:
    wide = building.product(f"{place}/first", x, shape.width, shape.hidden)
    active = building.add("Gelu", f"{place}/gelu", wide)
    return building.product(f"{place}/second", active, shape.hidden, shape.width)

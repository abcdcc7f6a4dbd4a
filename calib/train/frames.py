"""Networks that read a sequence of frames, such as the cepstra of a spoken word."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calib.graph.model import Array, Attribute, Graph, Node, Port
from calib.train.networks import he_normal, node

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Frames:
    """The features of one sample: [frames, coefficients, 1], and how they vary."""

    frames: int
    coefficients: int
    mean: Float32
    """[coefficients]"""

    deviation: Float32
    """[coefficients]"""

    @classmethod
    def of(cls, samples: Array) -> Frames:
        """Those of samples [n, frames, coefficients, 1]."""
        axes = (0, 1, 3)
        mean, deviation = samples.mean(axis=axes), samples.std(axis=axes)
        frames, coefficients = samples.shape[1:3]
        whole = (mean.astype(np.float32), (deviation + 1e-6).astype(np.float32))
        return cls(frames, coefficients, *whole)


@dataclass
class Building:
    """A graph while it is built; every method adds nodes and names the tensor that they make."""

    generator: np.random.Generator
    """Draws the weights."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)

    def add(self, op: str, name: str, *inputs: str, **attributes: Attribute) -> str:
        """One node that makes the tensor of its own name."""
        self.nodes.append(node(op, name, inputs, **attributes))
        return name

    def constant(self, name: str, value: Array) -> str:
        """A constant."""
        self.constants[name] = value
        return name

    def integers(self, name: str, *values: int) -> str:
        """A constant of whole numbers, such as a shape or axes."""
        return self.constant(name, np.array(values, np.int64))

    def normalised_frames(self, frames: Frames, samples: str) -> str:
        """Samples as [n, coefficients, frames], of mean 0 and deviation 1."""
        shape = self.integers("frames/shape", 0, frames.frames, frames.coefficients)
        centred = self.add(
            "Sub", "centred", samples, self.constant("frames/mean", frames.mean[:, None])
        )
        scale = self.constant("frames/scale", 1 / frames.deviation[:, None])
        scaled = self.add("Mul", "scaled", centred, scale)
        flat = self.add("Reshape", "frames", scaled, shape)
        return self.add("Transpose", "coefficients", flat, perm=(0, 2, 1))

    def convolution(
        self, place: str, x: str, weight: tuple[int, int, int], **attributes: Attribute
    ) -> str:
        """A convolution over time with a weight [outputs, inputs, taps] and an offset."""
        kernel = self.constant(f"{place}/weight", he_normal(weight, self.generator))
        offset = self.constant(f"{place}/offset", np.zeros(weight[0], np.float32))
        return self.add("Conv", place, x, kernel, offset, kernel_shape=weight[2:], **attributes)

    def product(self, place: str, x: str, inputs: int, outputs: int) -> str:
        """A product with a weight [inputs, outputs], and an offset."""
        drawn = self.generator.standard_normal((inputs, outputs)) / math.sqrt(inputs)
        weight = self.constant(f"{place}/weight", drawn.astype(np.float32))
        offset = self.constant(f"{place}/offset", np.zeros(outputs, np.float32))
        return self.add("Add", f"{place}/sum", self.add("MatMul", place, x, weight), offset)

    def classifier(self, features: str, width: int, classes: int) -> str:
        """Probabilities [n, classes] of features [n, width]."""
        weight = he_normal((classes, width), self.generator)
        names = (
            self.constant("classifier/weight", weight),
            self.constant("classifier/offset", np.zeros(classes, np.float32)),
        )
        logits = self.add("Gemm", "classifier", features, *names, transB=1)
        return self.add("Softmax", "probabilities", logits, axis=-1)

    def graph(self, name: str, frames: Frames, output: str) -> Graph:
        """What was built; its input is named `features`."""
        port = Port("features", (1, frames.frames, frames.coefficients, 1))
        return Graph(name, port, output, tuple(self.nodes), self.constants)


def learning_constants(graph: Graph) -> tuple[str, ...]:
    """The constants of a network of this folder that learn: all but shapes and input statistics."""
    return tuple(
        name
        for name, value in graph.constants.items()
        if value.dtype == np.float32 and not name.startswith("frames/") and value.ndim
    )


@dataclass(frozen=True)
class TimeConvolution:
    """One convolution over time with its Relu; padded, so that a stride of 1 keeps the length."""

    outputs: int
    kernel: int = 5
    """Odd."""

    stride: int = 1
    groups: int = 1


def time_network(
    name: str,
    frames: Frames,
    convolutions: Sequence[TimeConvolution],
    classes: int,
    generator: np.random.Generator,
) -> Graph:
    """Convolutions over time with Relu, a mean over time, one matrix product, a softmax."""
    building = Building(generator)
    x, channels = building.normalised_frames(frames, "features"), frames.coefficients
    for i, layer in enumerate(convolutions, 1):
        weight = (layer.outputs, channels // layer.groups, layer.kernel)
        options: Mapping[str, Attribute] = {
            "pads": (layer.kernel // 2,) * 2,
            "strides": (layer.stride,),
            "group": layer.groups,
        }
        x = building.convolution(f"convolution_{i}", x, weight, **options)
        x, channels = building.add("Relu", f"relu_{i}", x), layer.outputs
    mean = building.add("GlobalAveragePool", "mean", x)
    features = building.add("Flatten", "flat", mean, axis=1)
    return building.graph(name, frames, building.classifier(features, channels, classes))

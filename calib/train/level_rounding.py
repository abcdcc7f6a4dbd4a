"""Fine-tuning weights in their codes: rounded forward, straight through backward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from calib.adam import Weights
from calib.graph.executor import Replacement, run
from calib.graph.linear import LinearLayer
from calib.graph.model import Array
from calib.loss_gradient import loss_and_gradients, with_constants
from calib.references import BLOCK_SAMPLES
from calib.schemes.channelwise import nearest_layer
from calib.schemes.mixed import MixedLayer
from calib.train.level_network import Lesson, LevelNetwork, by_channel, entry_name

Float32 = NDArray[np.float32]
_WITHIN = 0.45
"""Of a step: so far from a code a weight may begin, and be rounded to it."""


@dataclass(frozen=True)
class Rounding:
    """The second stage: the network with the main path's own codes."""

    network: LevelNetwork
    lesson: Lesson
    mixed: Mapping[str, MixedLayer]

    def begin(self) -> dict[str, Array]:
        """Weights that are rounded to the codes given, as near to the float ones as that allows."""
        found = {}
        for layer in self.network.layers:
            mixed = self.mixed[layer.name]
            values, reach = mixed.values(), _WITHIN * step_sizes(mixed)
            near = values + np.clip(layer.weight - values, -reach, reach)
            found[layer.name] = (near / self.network.units[layer.name]).astype(np.float32)
        return found

    def layers(self, variables: Weights) -> dict[str, MixedLayer]:
        """The codes of weights."""
        weights = self.network.weights(variables)
        return {name: nearest_layer(weights[name], one) for name, one in self.mixed.items()}

    def slopes(
        self,
        variables: Weights,
        indices: NDArray[np.integer],
        generator: np.random.Generator,  # noqa: ARG002  # every stage is given one
    ) -> tuple[float, Weights]:
        """The loss of rounded weights and activations, and its gradient straight through."""
        constants = {**self._constants(variables), **self._limits}
        wanted = self._constants(variables)
        value, found = loss_and_gradients(
            with_constants(self.network.graph, constants),
            wanted,
            self.lesson.samples[indices],
            indices,
            self.lesson.loss,
            chip=self._rounded,
        )
        return value, self.network.in_units(self.network.slopes(found))

    def judge(self, variables: Weights) -> float:
        """The loss of the samples that judge."""
        graph = with_constants(self.network.graph, self._constants(variables))
        total, every = 0.0, np.arange(self.lesson.training, len(self.lesson.samples))
        for start in range(0, len(every), BLOCK_SAMPLES):
            some = every[start : start + BLOCK_SAMPLES]
            answers = run(graph, self.lesson.samples[some], replace=self._rounded)[graph.output]
            total += self.lesson.loss(answers, some)[0] * len(some)
        return total / len(every)

    def _constants(self, variables: Weights) -> dict[str, Array]:
        rounded = {name: one.values() for name, one in self.layers(variables).items()}
        return self.network.constants(rounded)

    @cached_property
    def _limits(self) -> dict[str, Array]:
        """Beyond which an activation passes no gradient."""
        found: dict[str, Array] = {}
        for layer in self.network.layers:
            steps, zero_points, tops = channel_codes(self.mixed[layer.name])
            ends = {"Max": -zero_points - 0.5, "Min": tops - zero_points + 0.5}
            for op, end in ends.items():
                name = f"{entry_name(layer.name, op)}/constant"
                found[name] = by_channel(layer, (end * steps).astype(np.float32))
        return found

    @cached_property
    def _rounded(self) -> dict[str, Replacement]:
        return {
            entry_name(layer.name, "Add"): rounding(layer, self.mixed[layer.name])
            for layer in self.network.layers
        }


def rounding(layer: LinearLayer, mixed: MixedLayer) -> Replacement:
    """From a layer's input tensor to what its main path makes of it."""
    parts = [by_channel(layer, part) for part in channel_codes(mixed)]

    def rounded(x: Array) -> Array:
        steps, zero_points, tops = parts
        codes = np.rint(x * (np.float32(1) / steps) + zero_points)
        np.clip(codes, 0, tops, out=codes)
        return np.asarray((codes - zero_points) * steps)

    return rounded


def channel_codes(mixed: MixedLayer) -> tuple[Float32, Float32, Float32]:
    """Steps, zero points and largest codes of all channels, [groups, channels] each."""
    groups = len(mixed.levels[0].steps)
    found = np.empty((3, groups, mixed.channels), np.float32)
    for level in mixed.levels:
        found[0][:, level.channels] = level.steps
        found[1][:, level.channels] = level.zero_point
        found[2][:, level.channels] = level.highest
    return found[0], found[1], found[2]


def step_sizes(mixed: MixedLayer) -> Float32:
    """What one step of a code is worth, for every weight [groups, d, m]."""
    groups, _, outputs = mixed.levels[0].codes.shape
    found = np.empty((groups, mixed.taps, mixed.channels, outputs), np.float32)
    for level in mixed.levels:
        found[:, :, level.channels] = (level.scales[:, None] / level.steps[..., None])[:, None]
    return found.reshape(groups, -1, outputs)

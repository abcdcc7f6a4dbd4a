"""Learning how many bits each channel needs, by noise as wide as one step of its codes.

A step is a function of the bits: between two levels its logarithm is interpolated. So the gradient
of the loss with respect to the noise is, times the noise, one with respect to the bits, and a price
for each bit stands against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.adam import Weights
from calib.channelwise import Places
from calib.graph.linear import LinearLayer
from calib.graph.model import Array
from calib.level_costs import channels_of, sampled_rows, taps_of
from calib.loss_gradient import loss_and_gradients
from calib.references import BLOCK_SAMPLES
from calib.schemes.channelwise import bare_level, nearest_scales
from calib.schemes.level_choice import Choice, choose_levels
from calib.train.level_network import Lesson, LevelNetwork, by_channel, entry_name

Float32 = NDArray[np.float32]
BITS_UNIT = 20.0
"""A step of Adam moves bits so many times as far as a weight of average size."""

PRICE_PER_BIT = 4.0
"""The price of a bit grows by e to this for each bit above the budget."""


@dataclass(frozen=True)
class Noise:
    """The first stage: noise of the width of each channel's steps."""

    network: LevelNetwork
    lesson: Lesson
    levels: tuple[int, ...]
    bits_mean: float
    steps: Mapping[str, Array]
    """By layer, [levels, groups, channels]: log2 of the activations' steps."""

    scales: Mapping[str, Array]
    """By layer, [levels, groups, channels, m]: log2 of the weights' steps."""

    @classmethod
    def of(
        cls, network: LevelNetwork, lesson: Lesson, levels: Sequence[int], bits_mean: float
    ) -> Noise:
        """Find each channel's steps with each level."""
        few = lesson.samples[: 12 * BLOCK_SAMPLES]
        rows = sampled_rows(network.graph, network.layers, few, np.random.default_rng(lesson.seed))
        steps, scales = {}, {}
        for layer in network.layers:
            every, taps = np.arange(channels_of(layer)), taps_of(layer)
            sizes = []
            bare = [bare_level(rows[layer.name], every, one, taps, 1) for one in levels]
            for level in bare:
                scale = nearest_scales(layer.weight, level, taps)
                sizes.append(scale[:, None] / level.steps[..., None])
            steps[layer.name] = np.log2(np.stack([level.steps for level in bare]))
            scales[layer.name] = np.log2(np.stack(sizes))
        return cls(network, lesson, tuple(levels), bits_mean, steps, scales)

    def begin(self, bits: Places) -> dict[str, Array]:
        """Bits as variables."""
        return {f"{n}@bits": (each / BITS_UNIT).astype(np.float32) for n, each in bits.items()}

    def slopes(
        self, variables: Weights, indices: NDArray[np.integer], generator: np.random.Generator
    ) -> tuple[float, Weights]:
        """The loss with noise, and the gradients of weights and bits."""
        network, samples = self.network, self.lesson.samples[indices]
        weights = network.weights(variables)
        noisy, draws, constants = {}, {}, {}
        for layer in network.layers:
            drawn = Draw.of(self, layer, self.bits(variables, layer), len(samples), generator)
            noisy[layer.name] = weights[layer.name] + drawn.of_weights
            constants[f"{entry_name(layer.name, 'Add')}/constant"] = drawn.of_inputs
            draws[layer.name] = drawn
        constants |= network.constants(noisy)
        value, found = loss_and_gradients(
            network.graph, constants, samples, indices, self.lesson.loss
        )
        slopes = network.slopes(found)
        result = network.in_units(slopes)
        gains = {
            name: drawn.slope(slopes[name], found[f"{entry_name(name, 'Add')}/constant"])
            for name, drawn in draws.items()
        }
        for name, prices in self._prices(variables, gains).items():
            slope = (gains[name] + prices) * BITS_UNIT
            result[f"{name}@bits"] = slope.astype(np.float32)
        return value, result

    def bits(self, variables: Weights, layer: LinearLayer) -> Array:
        """Of a layer's channels, within the levels."""
        found = variables[f"{layer.name}@bits"] * BITS_UNIT
        return np.clip(found, self.levels[0], self.levels[-1])

    def _prices(self, variables: Weights, gains: Mapping[str, Array]) -> dict[str, Array]:
        """What a bit of each channel costs: the more, the further the mean is above the budget."""
        sizes = {la.name: la.weight.size / channels_of(la) for la in self.network.layers}
        total = sum(la.weight.size for la in self.network.layers)
        mean = sum(
            float(self.bits(variables, la).sum()) * sizes[la.name] for la in self.network.layers
        )
        above = mean / total - self.bits_mean
        wanted = sum(float(np.abs(gain).sum()) for gain in gains.values())
        price = wanted * float(np.exp(np.clip(PRICE_PER_BIT * above, -20, 20)))
        return {
            la.name: np.full(channels_of(la), price * sizes[la.name] / total)
            for la in self.network.layers
        }

    def chosen(self, variables: Weights) -> dict[str, NDArray[np.intp]]:
        """Levels within the budget, from what the bits say.

        Where all prices are paid, a channel's loss a 4^-bits has the slope of the price: a is in
        proportion to its weights times 4^bits.
        """
        layers = self.network.layers
        each = [self.bits(variables, layer) for layer in layers]
        pairs = zip(each, layers, strict=True)
        sizes = [np.full(len(b), layer.weight.size // len(b)) for b, layer in pairs]
        worth = np.concatenate(sizes) * 4.0 ** np.concatenate(each).astype(np.float64)
        losses = worth[:, None] * 4.0 ** -np.array(self.levels, np.float64)
        choice = Choice(np.concatenate(sizes).astype(np.int64), losses)
        taken = choose_levels(choice, self.levels, self.bits_mean)
        ends = np.cumsum([len(b) for b in each])[:-1]
        parts = np.split(np.asarray(self.levels)[taken], ends)
        return dict(zip([layer.name for layer in layers], parts, strict=True))


@dataclass(frozen=True)
class Draw:
    """One draw of noise for a layer, and how it grows with the bits."""

    layer: LinearLayer
    of_weights: Float32
    """[groups, d, m]"""

    of_inputs: Float32
    """[n, ...], as the layer's input tensor."""

    weight_growth: Float32
    """[groups, channels, m]: of the logarithm of the noise, for each bit."""

    input_growth: Float32
    """[groups, channels]"""

    @classmethod
    def of(
        cls,
        noise: Noise,
        layer: LinearLayer,
        bits: Array,
        count: int,
        generator: np.random.Generator,
    ) -> Draw:
        """Draw noise for so many samples."""
        groups, d, outputs = layer.weight.shape
        steps, input_growth = interpolated(noise.steps[layer.name], noise.levels, bits)
        scales, weight_growth = interpolated(noise.scales[layer.name], noise.levels, bits)
        of_weights = generator.random((groups, taps_of(layer), len(bits), outputs), np.float32)
        of_inputs = generator.random((count, *layer.input_shape), np.float32)
        half = np.float32(0.5)
        return cls(
            layer,
            ((of_weights - half) * scales[:, None]).reshape(groups, d, outputs),
            (of_inputs - half) * by_channel(layer, steps),
            weight_growth,
            input_growth,
        )

    def slope(self, of_weights: Array, of_inputs: Array) -> Array:
        """The gradient of bits [channels], from those of weights and of the input's noise."""
        groups, channels = self.input_growth.shape
        outputs = self.layer.weight.shape[2]
        seen = (of_weights * self.of_weights).reshape(groups, -1, channels, outputs)
        by_weights = np.einsum("gtcm,gcm->c", seen, self.weight_growth)
        axis = 1 if self.layer.window is not None else of_inputs.ndim - 1
        others = tuple(one for one in range(of_inputs.ndim) if one != axis)
        summed = (of_inputs * self.of_inputs).sum(axis=others).reshape(groups, channels)
        return np.asarray(by_weights + (summed * self.input_growth).sum(axis=0))


def interpolated(logarithms: Array, levels: Sequence[int], bits: Array) -> tuple[Float32, Float32]:
    """Steps [groups, channels, ...] for bits between levels, and their relative slope.

    Args:
        logarithms: [levels, groups, channels, ...], to the base 2.
        levels: bits, ascending, at least two.
        bits: [channels], within the levels.
    """
    known = np.asarray(levels, np.float32)
    below = np.clip(np.searchsorted(known, bits, side="right") - 1, 0, len(known) - 2)
    every = np.arange(len(bits))
    low, high = (logarithms[place, :, every].swapaxes(0, 1) for place in (below, below + 1))
    shape = (1, -1, *(1,) * (logarithms.ndim - 3))
    width = (known[below + 1] - known[below]).reshape(shape)
    share = ((bits - known[below]) / (known[below + 1] - known[below])).reshape(shape)
    steps = np.exp2(low + (high - low) * share)
    return steps.astype(np.float32), ((high - low) / width * np.log(2)).astype(np.float32)

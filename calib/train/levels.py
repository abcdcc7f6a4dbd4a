"""Training networks whose input channels have levels.

First, noise: uniform noise as wide as one step of each channel's codes is added to its weights and
activations while the network learns, and with it the bits of each channel: a step is a function of
the bits, and the loss pays a price for each bit (the scheme of SySMOL, later SONIQ: arXiv
2311.14114). Levels are then chosen within the budget, as without training, from what the bits say
of each channel. Last, rounding: forward the network computes with rounded weights and activations,
backward with straight-through gradients (Bengio et al., arXiv 1308.3432); scales and steps stay.

The samples are answered by the float network, whose answers are the aim; labels add their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calib.adam import Weights
from calib.channelwise import Places
from calib.decision import decision_graph
from calib.graph.executor import Replacement, run
from calib.graph.linear import LinearLayer, linear_layers, weight_of
from calib.graph.model import Array, Graph, Node
from calib.level_costs import channels_of, sampled_rows, taps_of
from calib.loss_gradient import loss_and_gradients, with_constants
from calib.losses import Loss
from calib.packed import weight_tensor, with_weights
from calib.references import BLOCK_SAMPLES
from calib.schemes.channelwise import bare_level, nearest_layer, nearest_scales
from calib.schemes.level_choice import Choice, choose_levels
from calib.schemes.mixed import MixedLayer
from calib.train.level_stages import Journal, Stage, run_stage

Float32 = NDArray[np.float32]
NOISY_SHARE = 0.3
"""Of all epochs, those with noise; the others round."""

BITS_UNIT = 20.0
"""A step of Adam moves bits so many times as far as a weight of average size."""

PRICE_PER_BIT = 4.0
"""The price of a bit grows by e to this for each bit above the budget."""


@dataclass(frozen=True)
class Lesson:
    """What is learned, and how long."""

    samples: Float32
    loss: Loss
    """Of the answers, by the samples' numbers."""

    training: int
    """So many samples train; those after them judge."""

    epochs: int
    seed: int = 0

    @property
    def noisy_epochs(self) -> int:
        """Epochs in which bits are learned."""
        return round(NOISY_SHARE * self.epochs)


@dataclass(frozen=True)
class LevelTraining:
    """Learns levels and codes; see the head of this file."""

    lesson: Lesson
    journal: Journal

    def levels(
        self, graph: Graph, bits: Places, levels: Sequence[int], bits_mean: float
    ) -> tuple[dict[str, Float32], dict[str, NDArray[np.intp]]]:
        """Learn with noise which channel needs how many bits.

        Args:
            graph: the float network.
            bits: by layer, [channels of a group], where bits begin.
            levels: ascending.
            bits_mean: of all weights, at most.

        Returns:
            By layer the weights [groups, d, m] learned meanwhile, and the bits of each channel.
        """
        network = _Network.of(graph, ("Add",))
        if not self.lesson.noisy_epochs or len(levels) == 1:
            return {one.name: one.weight for one in network.layers}, dict(bits)
        noise = _Noise.of(network, self.lesson, levels, bits_mean)
        begin = {**network.variables(), **noise.begin(bits)}
        found = self._run("noise", self.lesson.noisy_epochs, begin, noise)
        return network.weights(found), noise.chosen(found)

    def tuned(self, graph: Graph, mixed: Mapping[str, MixedLayer]) -> dict[str, MixedLayer]:
        """Fine-tune the weights of layers in their codes; scales, steps and levels stay.

        Args:
            graph: the float network, with the weights that the codes were found for.
            mixed: by layer, its codes.
        """
        network = _Network.of(graph, ("Max", "Min", "Add"))
        rounding = _Rounding(network, self.lesson, mixed)
        epochs = self.lesson.epochs - self.lesson.noisy_epochs
        found = self._run("rounding", epochs, rounding.begin(), rounding)
        return rounding.layers(found)

    def _run(
        self, name: str, epochs: int, begin: Weights, lesson: _Noise | _Rounding
    ) -> dict[str, Array]:
        stage = Stage(
            name,
            epochs,
            self.lesson.training,
            lesson.slopes,
            lesson.judge,
            seed=self.lesson.seed,
        )
        return run_stage(stage, begin, self.journal)


@dataclass(frozen=True)
class _Network:
    """The network up to its logits; each linear layer's input passes nodes of its own."""

    graph: Graph
    layers: tuple[LinearLayer, ...]
    units: Mapping[str, float]
    """By layer: variables are weights in these."""

    @classmethod
    def of(cls, graph: Graph, operations: Sequence[str]) -> _Network:
        """Put nodes, each with a constant that changes nothing, before each linear layer."""
        cut = decision_graph(graph)
        layers = linear_layers(cut)
        cut = with_weights(cut, layers, {layer.name: layer.weight for layer in layers})
        names = {layer.name for layer in layers}
        nodes: list[Node] = []
        constants = dict(cut.constants)
        idle = {"Add": 0.0, "Max": -np.inf, "Min": np.inf}
        for node in cut.nodes:
            last = node.inputs[0]
            for op in operations if node.name in names else ():
                name = entry_name(node.name, op)
                constants[f"{name}/constant"] = np.float32([idle[op]])
                nodes.append(Node(name, op, (last, f"{name}/constant"), (name,)))
                last = name
            nodes.append(replace(node, inputs=(last, *node.inputs[1:])))
        units = {one.name: float(np.sqrt(np.mean(one.weight**2))) or 1.0 for one in layers}
        return cls(replace(cut, nodes=tuple(nodes), constants=constants), layers, units)

    def variables(self) -> dict[str, Array]:
        """The layers' weights as they are now."""
        return {la.name: la.weight / np.float32(self.units[la.name]) for la in self.layers}

    def weights(self, variables: Weights) -> dict[str, Float32]:
        """By layer, [groups, d, m]."""
        units = self.units.items()
        return {name: variables[name].astype(np.float32) * np.float32(u) for name, u in units}

    def constants(self, weights: Mapping[str, Float32]) -> dict[str, Array]:
        """The graph's constants for weights."""
        found: dict[str, Array] = {}
        nodes = {node.name: node for node in self.graph.nodes}
        for layer in self.layers:
            node = nodes[layer.name]
            shape = self.graph.constants[node.inputs[1]].shape
            tensor = weight_tensor(layer, shape, weights[layer.name], node.attributes)
            found[node.inputs[1]] = tensor
        return found

    def slopes(self, gradients: Weights) -> dict[str, Array]:
        """Gradients of the graph's constants as those of weights [groups, d, m]."""
        nodes = {node.name: node for node in self.graph.nodes}
        return {
            layer.name: weight_of(nodes[layer.name], gradients[nodes[layer.name].inputs[1]])
            for layer in self.layers
        }

    def in_units(self, slopes: Weights) -> dict[str, Array]:
        """Gradients of weights as those of variables."""
        return {name: slopes[name] * np.float32(unit) for name, unit in self.units.items()}


def entry_name(layer: str, op: str) -> str:
    """A node before a linear layer."""
    return f"{layer}@{op.lower()}"


@dataclass(frozen=True)
class _Noise:
    """The first stage: noise of the width of each channel's steps."""

    network: _Network
    lesson: Lesson
    levels: tuple[int, ...]
    bits_mean: float
    steps: Mapping[str, Array]
    """By layer, [levels, groups, channels]: log2 of the activations' steps."""

    scales: Mapping[str, Array]
    """By layer, [levels, groups, channels, m]: log2 of the weights' steps."""

    @classmethod
    def of(
        cls, network: _Network, lesson: Lesson, levels: Sequence[int], bits_mean: float
    ) -> _Noise:
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
        return {f"{n}@bits": np.float32(each) / np.float32(BITS_UNIT) for n, each in bits.items()}

    def slopes(
        self, variables: Weights, indices: NDArray[np.integer], generator: np.random.Generator
    ) -> tuple[float, Weights]:
        """The loss with noise, and the gradients of weights and bits."""
        network, samples = self.network, self.lesson.samples[indices]
        weights = network.weights(variables)
        noisy, draws, constants = {}, {}, {}
        for layer in network.layers:
            drawn = _Draw.of(self, layer, variables[f"{layer.name}@bits"], len(samples), generator)
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

    judge = None

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
        sizes = [np.full(len(b), la.weight.size // len(b)) for b, la in zip(each, layers, strict=True)]
        worth = np.concatenate(sizes) * 4.0 ** np.concatenate(each).astype(np.float64)
        losses = worth[:, None] * 4.0 ** -np.array(self.levels, np.float64)
        choice = Choice(np.concatenate(sizes).astype(np.int64), losses)
        taken = choose_levels(choice, self.levels, self.bits_mean)
        ends = np.cumsum([len(b) for b in each])[:-1]
        parts = np.split(np.asarray(self.levels)[taken], ends)
        return dict(zip([layer.name for layer in layers], parts, strict=True))

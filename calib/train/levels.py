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
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.adam import Weights
from calib.channelwise import Places
from calib.graph.model import Array, Graph
from calib.schemes.mixed import MixedLayer
from calib.train.level_network import Lesson, LevelNetwork
from calib.train.level_noise import Noise
from calib.train.level_rounding import Rounding
from calib.train.level_stages import Journal, Stage, run_stage

Float32 = NDArray[np.float32]


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
        network = LevelNetwork.of(graph, ("Add",))
        if not self.lesson.noisy_epochs or len(levels) == 1:
            return {one.name: one.weight for one in network.layers}, dict(bits)
        noise = Noise.of(network, self.lesson, levels, bits_mean)
        begin = {**network.variables(), **noise.begin(bits)}
        found = self._run("noise", self.lesson.noisy_epochs, begin, noise)
        return network.weights(found), noise.chosen(found)

    def tuned(self, graph: Graph, mixed: Mapping[str, MixedLayer]) -> dict[str, MixedLayer]:
        """Fine-tune the weights of layers in their codes; scales, steps and levels stay.

        Args:
            graph: the float network, with the weights that the codes were found for.
            mixed: by layer, its codes.
        """
        network = LevelNetwork.of(graph, ("Max", "Min", "Add"))
        rounding = Rounding(network, self.lesson, mixed)
        epochs = self.lesson.epochs - self.lesson.noisy_epochs
        found = self._run("rounding", epochs, rounding.begin(), rounding)
        return rounding.layers(found)

    def _run(
        self, name: str, epochs: int, begin: Weights, lesson: Noise | Rounding
    ) -> dict[str, Array]:
        stage = Stage(
            name,
            epochs,
            self.lesson.training,
            lesson.slopes,
            lesson.judge if isinstance(lesson, Rounding) else None,
            seed=self.lesson.seed,
        )
        return run_stage(stage, begin, self.journal)

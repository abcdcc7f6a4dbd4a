"""The main path on an emulated compute-in-memory chip."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from agent.runtimes.base import (
    Adjust,
    Answer,
    Float32,
    LayerTrace,
    Positions,
    Trace,
    joined,
    slices,
)
from agent.runtimes.cim_paths import MainPath, Place, close_arrays, main_path
from calib.factors import Factors, Surrogate, no_factors
from calib.graph.executor import JointReplacement, Replacement, run, run_abreast
from calib.graph.linear import LinearLayer
from calib.packed import PackedNetwork
from calib.typical_codes import TypicalCodes
from device_models.array import Chip, State

BLOCK_BYTES = 3 * 1024 * 1024 // 2
"""Of one layer's rows, as float32, that are in memory at once."""

ABREAST_SAMPLES = 8
"""In a block, where all samples go through the network abreast."""

BATCH_SAMPLES = 64
BATCH_BYTES = 32 * 1024 * 1024
"""Bounds of a batch: samples, and bytes of the largest layer's input and output together."""


class CimRuntime:
    """Runs a packed network on one chip in one state.

    Args:
        network: what the bundle holds, quantised.
        chip: which chip.
        state: its age, temperature and supply.
        generator: where read noise is drawn from.
        fast: compute arrays in a statistically equal form where their model has one.
    """

    def __init__(
        self,
        network: PackedNetwork,
        chip: Chip,
        state: State,
        generator: np.random.Generator,
        *,
        fast: bool = False,
    ) -> None:
        """Write the layers into the chip's arrays."""
        self.layers = network.layers
        self._graph = network.decision_graph
        typical, place = TypicalCodes(network), Place(chip, state, generator, fast)
        self._paths: dict[str, MainPath] = {}
        try:
            for layer in network.layers:
                self._paths[layer.name] = main_path(network, layer, typical, place)
        except BaseException:
            self.close()
            raise
        largest = max(_tensor_bytes(layer) for layer in network.layers)
        self._batch_samples = min(max(BATCH_BYTES // largest, 1), BATCH_SAMPLES)

    @property
    def exact_layers(self) -> Mapping[str, str]:
        """Layers that were to be computed fast and are not, each with the reason."""
        arrays = [found for path in self._paths.values() for found in path.arrays.items()]
        reasons = {name: getattr(array, "why_exact", None) for name, array in arrays}
        return {name: reason for name, reason in reasons.items() if reason}

    def probe(self, layer: LinearLayer, rows: Float32) -> Float32:
        """Drive one layer alone with rows [..., groups, d]; outputs [..., m]."""
        return self._paths[layer.name].of_rows(rows)

    def run(self, samples: Float32, factors: Factors, taps: Positions) -> Trace:
        """Run samples [n, ...] through the chip, a batch at a time."""
        traces = [
            self._run_batch(samples[batch], factors, {name: at[batch] for name, at in taps.items()})
            for batch in slices(len(samples), self._batch_samples)
        ]
        answers = np.concatenate([trace.answers for trace in traces])
        return Trace(answers, {name: joined([t.layers[name] for t in traces]) for name in taps})

    def loaded(self, factors: Factors) -> Answer:
        """See `agent.runtimes.base.Runtime.loaded`; the chip's arrays stay as they are written."""
        return lambda samples: self.run(samples, factors, {}).answers

    def run_adjusting(self, samples: Float32, factors: Factors, adjust: Adjust) -> None:
        """Run samples once; each layer's outputs are adjusted before the next layer sees them."""
        blocks = [samples[block] for block in slices(len(samples), ABREAST_SAMPLES)]
        replace = {
            layer.name: self._adjusted(layer, factors[layer.name], len(samples), adjust)
            for layer in self.layers
        }
        run_abreast(self._graph, blocks, replace)

    def _adjusted(
        self, layer: LinearLayer, surrogate: Surrogate, count: int, adjust: Adjust
    ) -> JointReplacement:
        """What runs in a layer's place for all samples, so many, together."""
        corrected = self._corrected(layer, surrogate, None, {})

        def replacement(inputs: Iterator[Float32]) -> list[Float32]:
            outputs = np.empty((count, layer.positions, layer.outputs), np.float32)
            parts = [outputs[block] for block in slices(count, ABREAST_SAMPLES)]
            for part, x in zip(parts, inputs, strict=True):
                part[:] = layer.output_rows(corrected(x))
            scale, shift = adjust(layer, outputs)
            outputs *= scale
            outputs += shift
            return [layer.tensor(part) for part in parts]

        return replacement

    def main_paths(self) -> Mapping[str, Replacement]:
        """By layer: from its input tensor to what the chip makes of it, no surrogate."""
        nothing = no_factors(self.layers)
        return {
            layer.name: self._corrected(layer, nothing[layer.name], None, {})
            for layer in self.layers
        }

    def _run_batch(self, samples: Float32, factors: Factors, taps: Positions) -> Trace:
        seen: dict[str, LayerTrace] = {}
        replace = {
            layer.name: self._corrected(layer, factors[layer.name], taps.get(layer.name), seen)
            for layer in self.layers
        }
        values = run(self._graph, samples, replace=replace)
        return Trace(values[self._graph.output], seen)

    def _corrected(
        self,
        layer: LinearLayer,
        surrogate: Surrogate,
        positions: NDArray[np.integer] | None,
        seen: dict[str, LayerTrace],
    ) -> Replacement:
        """What runs in a layer's place: the chip and the surrogate, a block of rows at a time."""
        step = max(BLOCK_BYTES // (4 * layer.positions * layer.groups * layer.inputs), 1)
        idle = surrogate.is_identity

        def replacement(x: Float32) -> Float32:
            outputs = np.empty((len(x), layer.positions, layer.outputs), np.float32)
            tapped = []
            for block in slices(len(x), step):
                main = outputs[block] if idle else np.empty_like(outputs[block])
                self._paths[layer.name].of_tensor(x[block], main)
                if not idle:
                    rows = layer.rows(x[block]) if surrogate.rank else main
                    outputs[block] = surrogate.apply(main, rows)
                if positions is not None:
                    at = (np.arange(len(main))[:, None], positions[block])
                    rows = layer.rows_at(x[block], positions[block])
                    tapped.append(LayerTrace(rows, main[at], outputs[block][at]))
            if tapped:
                seen[layer.name] = joined(tapped)
            return layer.tensor(outputs)

        return replacement

    def close(self) -> None:
        """Close arrays that hold more than memory: a plugin's, with a port or a board behind."""
        for path in self._paths.values():
            close_arrays(path.arrays.values())


def _tensor_bytes(layer: LinearLayer) -> int:
    return 4 * (math.prod(layer.input_shape) + math.prod(layer.output_shape))

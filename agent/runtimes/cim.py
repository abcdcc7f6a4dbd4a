"""The main path on an emulated compute-in-memory chip."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from agent.runtimes.base import Float32, LayerTrace, Positions, Trace
from calib.factors import Factors
from calib.graph.executor import run
from calib.graph.linear import LinearLayer
from calib.packed import PackedNetwork
from calib.schemes.weights import QuantisedWeights
from device_models.array import Array, ArrayWeights, Chip, State, program

BLOCK_BYTES = 8 * 1024 * 1024
"""Of the largest layer's rows, as float32, that are in memory at once."""


class CimRuntime:
    """Runs a packed network on one chip in one state.

    Args:
        network: what the bundle holds, quantised.
        chip: which chip.
        state: its age and temperature.
        generator: where read noise is drawn from.
    """

    def __init__(
        self, network: PackedNetwork, chip: Chip, state: State, generator: np.random.Generator
    ) -> None:
        """Write the layers into the chip's arrays."""
        self.layers = network.layers
        self._graph = network.decision_graph
        self._codes = network.activations
        self._generator = generator
        self._arrays: Mapping[str, Array] = {
            layer.name: program(
                chip,
                state,
                layer.name,
                _written(network.weights[layer.name]),
                network.activation_bits,
            )
            for layer in network.layers
        }
        largest = max(layer.positions * layer.groups * layer.inputs for layer in network.layers)
        self._block_samples = max(BLOCK_BYTES // (4 * largest), 1)

    def probe(self, layer: LinearLayer, rows: Float32) -> Float32:
        """Drive one layer alone with rows [..., groups, d]; outputs [..., m]."""
        codes = self._codes[layer.name].encode(rows)
        return self._multiply(layer, codes)

    def _multiply(self, layer: LinearLayer, codes: NDArray[np.uint8]) -> Float32:
        code = self._codes[layer.name]
        flat = codes.reshape(-1, layer.groups, layer.inputs)
        product = self._arrays[layer.name].multiply(flat, code.zero_point, self._generator)
        outputs = product.reshape(*codes.shape[:-2], layer.outputs)
        outputs *= np.float32(code.step)
        outputs += layer.bias
        return outputs

    def run(self, samples: Float32, factors: Factors, taps: Positions) -> Trace:
        """Run samples [n, ...] through the chip, a few at a time."""
        step = self._block_samples
        traces = [
            self._run_block(
                samples[start : start + step],
                factors,
                {name: at[start : start + step] for name, at in taps.items()},
            )
            for start in range(0, len(samples), step)
        ]
        return _joined(traces)

    def _run_block(self, samples: Float32, factors: Factors, taps: Positions) -> Trace:
        seen: dict[str, LayerTrace] = {}
        replace = {
            layer.name: self._corrected(layer, factors, taps.get(layer.name), seen)
            for layer in self.layers
        }
        values = run(self._graph, samples, replace=replace)
        return Trace(values[self._graph.output], seen)

    def _corrected(
        self,
        layer: LinearLayer,
        factors: Factors,
        positions: NDArray[np.integer] | None,
        seen: dict[str, LayerTrace],
    ) -> Callable[[Float32], Float32]:
        surrogate, code = factors[layer.name], self._codes[layer.name]

        def replacement(x: Float32) -> Float32:
            main = self._multiply(layer, layer.rows(code.encode(x), fill=code.zero_point))
            outputs = surrogate.apply(main, layer.rows(x) if surrogate.rank else main)
            if positions is not None:
                at = (np.arange(len(x))[:, None], positions)
                rows = layer.rows_at(x, positions)
                seen[layer.name] = LayerTrace(rows, main[at], outputs[at])
            return layer.tensor(outputs)

        return replacement

    def close(self) -> None:
        """Nothing is held but memory."""


def _written(weights: QuantisedWeights) -> ArrayWeights:
    return ArrayWeights(
        codes=weights.codes,
        scales=weights.scales,
        block_rows=weights.block_rows,
        bits=weights.bits,
        codebook=weights.codebook,
    )


def _joined(traces: list[Trace]) -> Trace:
    if len(traces) == 1:
        return traces[0]
    layers = {
        name: LayerTrace(
            *(
                np.concatenate([getattr(trace.layers[name], part) for trace in traces])
                for part in ("rows", "main", "outputs")
            )
        )
        for name in traces[0].layers
    }
    return Trace(np.concatenate([trace.answers for trace in traces]), layers)

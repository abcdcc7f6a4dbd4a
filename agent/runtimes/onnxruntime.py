"""The main path on onnxruntime's integer kernels, with the surrogates in its graph.

The graph is made here, on the board, from the bundle's codes and the factors of the moment, and
loaded anew when factors change. Answers always come from the graph that is in use. Taps are of a
second one, where the inputs and outputs of tapped layers are tensors, which costs some of them one
more rounding to 8 bits; a tapped layer has its products beside it, as integers from the same codes,
so that `main` is exact and has no gain or offset in it, and `outputs` is the very tensor that the
activation reads.

Branches lie in the weights where these have room, and cost no time there (`calib.folded_weights`);
what the others cost is measured here, on this processor, by the side of the network without any.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.runtimes.base import Answer, Float32, LayerTrace, Positions, Trace, joined, slices
from agent.runtimes.onnx_session import OnnxSession, imported
from agent.runtimes.timing import Clock, slowdown
from calib.factors import Factors, Surrogate, no_factors
from calib.folded_weights import has_room
from calib.graph.linear import LinearLayer
from calib.graph.model import Graph
from calib.integer_graph import integer_graph, sums_name
from calib.integer_weights import is_integer
from calib.layer_graph import layer_graph
from calib.packed import PackedNetwork
from calib.schemes.activations import ActivationCode

SESSIONS = 4
"""That are kept: two sets of factors, each with and without taps."""

BATCH_SAMPLES = 16
BATCH_BYTES = 16 * 1024 * 1024
"""Bounds of a batch: samples, and bytes of the tapped tensors."""

PROBE_ROWS_BYTES = 4 * 1024 * 1024
"""Of the rows, as float32, that one layer is driven with at once."""


class OnnxRuntime:
    """Runs a packed network on onnxruntime.

    Args:
        network: what the bundle holds, quantised.
        outputs: by layer, the codes of a convolution's output.
        fold: whether branches lie in the weights where these have room.
        fuse: see `agent.runtimes.onnx_session.OnnxSession`.
        clock: what branches are timed with.

    Raises:
        RuntimeUnavailableError: onnxruntime is not installed.
    """

    def __init__(
        self,
        network: PackedNetwork,
        outputs: Mapping[str, ActivationCode],
        *,
        fold: bool = True,
        fuse: bool = True,
        clock: Clock = time.perf_counter,
    ) -> None:
        """Find onnxruntime; graphs are made when they are needed."""
        self.layers = network.layers
        self._package = imported()
        self._network = network
        self._outputs, self._fold, self._fuse, self._clock = outputs, fold, fuse, clock
        graph = network.decision_graph
        self._input, self._answer = graph.input.name, graph.output
        self._loaded: OrderedDict[tuple[Any, ...], tuple[Factors, OnnxSession]] = OrderedDict()
        self._probes: dict[str, OnnxSession] = {}

    def run(self, samples: Float32, factors: Factors, taps: Positions) -> Trace:
        """Run samples [n, ...] through the whole network; once more for taps, if there are any.

        Raises:
            RuntimeUnavailableError: onnxruntime does not take the network.
        """
        answers = self._answers(self._session(factors, []), samples)
        return Trace(answers, self._tapped(samples, factors, taps))

    def loaded(self, factors: Factors) -> Answer:
        """See `agent.runtimes.base.Runtime.loaded`.

        The session is new, and takes the place of the one that other runs with these factors have
        used so far: sessions change nothing in themselves, so that one is enough for all.

        Raises:
            RuntimeUnavailableError: onnxruntime does not take the network.
        """
        session = self._new_session(factors, [])
        self._keep((id(factors), ()), factors, session)
        return partial(self._answers, session)

    def _answers(self, session: OnnxSession, samples: Float32) -> Float32:
        parts = [
            session.run(samples[some])[self._answer] for some in slices(len(samples), BATCH_SAMPLES)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _tapped(self, samples: Float32, factors: Factors, taps: Positions) -> dict[str, LayerTrace]:
        tapped = [layer for layer in self.layers if layer.name in taps]
        if not tapped:
            return {}
        session = self._session(factors, tapped)
        traces: dict[str, list[LayerTrace]] = {layer.name: [] for layer in tapped}
        for some in slices(len(samples), self._batch_samples(tapped)):
            tensors = {self._input: samples[some], **session.run(samples[some])}
            for layer in tapped:
                traces[layer.name].append(self._trace(layer, tensors, taps[layer.name][some]))
        return {name: joined(parts) for name, parts in traces.items()}

    def probe(self, layer: LinearLayer, rows: Float32) -> Float32:
        """Drive one layer alone with rows [..., groups, d]; outputs [..., m]."""
        code = self._network.activations[layer.name]
        lead = rows.shape[:-2]
        flat = rows.reshape(-1, layer.groups, layer.inputs)
        step = max(PROBE_ROWS_BYTES // (4 * layer.groups * layer.inputs), 1)
        session = self._probe_session(layer)
        parts = []
        for some in slices(len(flat), step):
            values = code.decode(code.encode(flat[some]))
            (sums,) = session.run(values).values()
            parts.append(self._main(layer, sums.reshape(-1, layer.outputs)))
        return np.concatenate(parts).reshape(*lead, layer.outputs)

    def close(self) -> None:
        """Forget what was loaded."""
        self._loaded.clear()
        self._probes.clear()

    def _session(self, factors: Factors, tapped: list[LinearLayer]) -> OnnxSession:
        names = tuple(layer.name for layer in tapped)
        key = (id(factors), names)
        if key not in self._loaded:
            self._keep(key, factors, self._new_session(factors, tapped))
        self._loaded.move_to_end(key)
        return self._loaded[key][1]

    def _keep(self, key: tuple[Any, ...], factors: Factors, session: OnnxSession) -> None:
        """Remember a session; the factors are held, so that no others take their identity."""
        self._loaded[key] = (factors, session)
        self._loaded.move_to_end(key)
        while len(self._loaded) > SESSIONS:
            self._loaded.popitem(last=False)

    def _new_session(self, factors: Factors, tapped: list[LinearLayer]) -> OnnxSession:
        names = tuple(layer.name for layer in tapped)
        graph = self._graph(factors, names)
        wanted = {layer.input for layer in tapped} - {self._input}
        wanted |= {name for layer in tapped for name in (layer.output, sums_name(layer.name))}
        return self._opened(graph, sorted(wanted) or [graph.output])

    def _graph(self, factors: Factors, tapped: Sequence[str] = ()) -> Graph:
        return integer_graph(self._network, self._outputs, factors, tapped, fold=self._fold)

    def _opened(self, graph: Graph, outputs: Sequence[str]) -> OnnxSession:
        integer = all(map(is_integer, self._network.weights.values()))
        return OnnxSession(self._package, graph, outputs, integer=integer, fuse=self._fuse)

    def slowdowns(self, variants: Sequence[Mapping[str, int]]) -> list[float]:
        """What branches of these ranks cost in time; see `agent.runtimes.base.TimedRuntime`.

        Raises:
            RuntimeUnavailableError: onnxruntime does not take the network.
        """
        plain = no_factors(self.layers)
        sample = np.zeros((1, *self._network.graph.input.shape[1:]), np.float32)
        session = self._session(plain, [])
        found = []
        for ranks in variants:
            beside = {name: rank for name, rank in ranks.items() if rank and self._is_beside(name)}
            if not beside:
                found.append(1.0)
                continue
            branched = Factors({**plain.surrogates, **_stand_ins(self.layers, beside)})
            graph = self._graph(branched)
            other = self._opened(graph, [graph.output])
            works = partial(other.run, sample), partial(session.run, sample)
            found.append(slowdown(*works, self._clock))
        return found

    def _is_beside(self, name: str) -> bool:
        return not (self._fold and has_room(self._network.weights[name]))

    def _probe_session(self, layer: LinearLayer) -> OnnxSession:
        if layer.name not in self._probes:
            name, network = layer.name, self._network
            graph = layer_graph(layer, network.weights[name], network.activations[name])
            self._probes[name] = OnnxSession(self._package, graph, [graph.output])
        return self._probes[layer.name]

    def _batch_samples(self, tapped: list[LinearLayer]) -> int:
        each = [math.prod(one.input_shape) + 2 * math.prod(one.output_shape) for one in tapped]
        return min(max(BATCH_BYTES // (4 * sum(each) or 1), 1), BATCH_SAMPLES)

    def _trace(
        self,
        layer: LinearLayer,
        tensors: Mapping[str, NDArray[Any]],
        positions: NDArray[np.integer],
    ) -> LayerTrace:
        sums = tensors[sums_name(layer.name)]
        return LayerTrace(
            rows=layer.rows_at(tensors[layer.input], positions),
            main=self._main(layer, layer.output_at(sums, positions)),
            outputs=layer.output_at(tensors[layer.output], positions),
        )

    def _main(self, layer: LinearLayer, sums: NDArray[Any]) -> Float32:
        """The main path's outputs [..., m] of its products, int32 or float."""
        weights = self._network.weights[layer.name]
        scaled = sums.astype(np.float32)
        if is_integer(weights):
            step = np.float32(self._network.activations[layer.name].step)
            scaled *= weights.scales.reshape(-1) * step
        return np.asarray(scaled + layer.bias, np.float32)


def _stand_ins(layers: Sequence[LinearLayer], ranks: Mapping[str, int]) -> dict[str, Surrogate]:
    """Branches of these ranks: what is in them makes no difference to the time."""
    return {
        layer.name: Surrogate(
            gain=np.ones(layer.outputs, np.float32),
            offset=np.zeros(layer.outputs, np.float32),
            a=np.full((layer.groups * ranks[layer.name], layer.inputs), 1e-3, np.float32),
            b=np.full((layer.outputs, ranks[layer.name]), 1e-3, np.float32),
        )
        for layer in layers
        if layer.name in ranks
    }

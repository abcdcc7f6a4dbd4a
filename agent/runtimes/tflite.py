"""The main path on TFLite's integer kernels, with the surrogates in its graph.

The graphs were made where the bundle was packed. Here factors are written into them where they
stand (`tflite_patch`), which takes less than half a millisecond, and the interpreter is made anew.
Answers always come from the graph that is in use. Taps are outputs of a second one, where each
layer has its nominal self beside it, so that `main` has no gain or offset in it; single layers are
driven by files of their own.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.runtimes.base import Float32, LayerTrace, Positions, Trace, joined, slices
from agent.runtimes.tflite_files import check_loaded, checked_plan, places_in
from agent.runtimes.tflite_interpreter import Affine, TfliteModel, imported
from agent.runtimes.tflite_patch import patched
from agent.runtimes.tflite_plan import MODEL_NAME, TAPS_NAME, probe_name
from calib.factors import Factors, Surrogate
from calib.folded_weights import has_room
from calib.graph.linear import LinearLayer
from calib.packed import PackedNetwork
from calib.tflite_layout import row_tensor

MODELS = 4
"""That are kept: two sets of factors, each with and without taps."""

BATCH_BYTES = 16 * 1024 * 1024
"""Of the tapped tensors, as float32, that are in memory at once."""

ZERO_CODE = 128
"""What codes of int8 are below our own."""

Codes = NDArray[Any]


class TfliteRuntime:
    """Runs a packed network on ai-edge-litert or tflite-runtime.

    Args:
        network: what the bundle holds, quantised.
        files: of the bundle, by name.

    Raises:
        BundleError: a file is missing, damaged, or of another network.
        RuntimeUnavailableError: neither package is installed, or works here.
    """

    def __init__(self, network: PackedNetwork, files: Mapping[str, bytes]) -> None:
        """Check the files and find an interpreter; files are loaded when they are needed."""
        self.layers = network.layers
        self._plan = checked_plan(network, files)
        self._backend = imported()
        self._network = network
        self._files = files
        self._index = {layer.name: i for i, layer in enumerate(network.layers)}
        self._loaded: OrderedDict[tuple[int, bool], tuple[Factors, TfliteModel]] = OrderedDict()
        self._probes: dict[str, TfliteModel] = {}

    @property
    def largest_ranks(self) -> Mapping[str, int]:
        """By layer, the rank that its branch has room for; 0: it has none.

        Where there is none and the weights themselves have room, there is no limit.
        """
        weights, layers = self._network.weights, self._plan.layers
        limited = (name for name, one in layers.items() if one.rank or not has_room(weights[name]))
        return {name: layers[name].rank for name in limited}

    def run(self, samples: Float32, factors: Factors, taps: Positions) -> Trace:
        """Run samples [n, ...] through the whole network; once more for taps, if there are any.

        Raises:
            RuntimeUnavailableError: the interpreter does not take the network, or these factors
                have more rank than its branches.
        """
        answers = _answers(self._model(factors, tapped=False), samples)
        tapped = [layer for layer in self.layers if layer.name in taps]
        if not tapped:
            return Trace(answers, {})
        step = max(BATCH_BYTES // sum(map(_tapped_bytes, tapped)), 1)
        parts = [
            self._tapped(samples[some], factors, tapped, {k: at[some] for k, at in taps.items()})
            for some in slices(len(samples), step)
        ]
        layers = {one.name: joined([part[one.name] for part in parts]) for one in tapped}
        return Trace(answers, layers)

    def loaded(self, factors: Factors) -> Callable[[Float32], Float32]:
        """A new model, in use with these factors: from samples [n, ...] to answers.

        It can be tried, and then take the place of another, while that one runs. Any thread may
        call it. It takes the place, too, of what other runs with these factors have used so far:
        they give way to one another after each sample, and one model less is in memory.

        Raises:
            RuntimeUnavailableError: the interpreter does not take it.
        """
        model = self._built(factors, tapped=False)
        self._keep(factors, model, tapped=False)
        return lambda samples: _answers(model, samples)

    def probe(self, layer: LinearLayer, rows: Float32) -> Float32:
        """Drive one layer alone with rows [..., groups, d]; outputs [..., m]."""
        model = self._probe_model(layer)
        code = self._network.activations[layer.name]
        flat = rows.reshape(-1, layer.groups, layer.inputs)
        taps = 1 if layer.window is None else math.prod(layer.window.kernel)
        step = model.input_shape[0]
        filled = np.full((step, *flat.shape[1:]), code.zero_point - ZERO_CODE, np.int8)
        parts = []
        for some in slices(len(flat), step):
            given = _as_int8(code.encode(flat[some]))
            filled[: len(given)] = given
            (name, made), *_ = model.run(row_tensor(filled, taps, model.input_shape)).items()
            parts.append(_values(made.reshape(step, -1)[: len(given)], model.codes[name]))
        return np.concatenate(parts).reshape(*rows.shape[:-2], layer.outputs)

    def close(self) -> None:
        """Forget what was loaded."""
        self._loaded.clear()
        self._probes.clear()

    def _model(self, factors: Factors, *, tapped: bool) -> TfliteModel:
        key = (id(factors), tapped)
        if key not in self._loaded:
            self._keep(factors, self._built(factors, tapped=tapped), tapped=tapped)
        self._loaded.move_to_end(key)
        return self._loaded[key][1]

    def _keep(self, factors: Factors, model: TfliteModel, *, tapped: bool) -> None:
        """Remember a model; the factors are held, so that no others take their identity."""
        key = (id(factors), tapped)
        self._loaded[key] = (factors, model)
        self._loaded.move_to_end(key)
        while len(self._loaded) > MODELS:
            self._loaded.popitem(last=False)

    def _built(self, factors: Factors, *, tapped: bool) -> TfliteModel:
        name = TAPS_NAME if tapped else MODEL_NAME
        content = patched(
            self._files[name], places_in(self._plan, tapped=tapped), self._network, factors
        )
        model = TfliteModel(self._backend, content, name)
        wanted = {name for one in self.layers for name in self._seen_in(one)} if tapped else set()
        check_loaded(model, name, self._network.graph.input.shape[1:], wanted)
        return model

    def _probe_model(self, layer: LinearLayer) -> TfliteModel:
        if layer.name not in self._probes:
            name = probe_name(self._index[layer.name])
            model = TfliteModel(self._backend, self._files[name], name)
            check_loaded(model, name, (layer.groups, layer.inputs), set())
            self._probes[layer.name] = model
        return self._probes[layer.name]

    def _seen_in(self, layer: LinearLayer) -> set[str]:
        """The outputs of the file with taps that show a layer."""
        names = self._plan.layers[layer.name].tap_tensors
        return {names.input, names.main} | ({names.output} if names.output else set())

    def _tapped(
        self, samples: Float32, factors: Factors, tapped: list[LinearLayer], taps: Positions
    ) -> dict[str, LayerTrace]:
        model = self._model(factors, tapped=True)
        wanted = {name for layer in tapped for name in self._seen_in(layer)}
        seen: dict[str, list[Codes]] = {name: [] for name in wanted}
        for sample in samples:
            for name, value in model.run(_one(sample, model), wanted).items():
                seen[name].append(value)
        tensors = {name: np.concatenate(values) for name, values in seen.items()}
        return {
            layer.name: self._trace(layer, model, tensors, taps[layer.name], factors[layer.name])
            for layer in tapped
        }

    def _trace(
        self,
        layer: LinearLayer,
        model: TfliteModel,
        tensors: Mapping[str, Codes],
        positions: NDArray[np.integer],
        surrogate: Surrogate,
    ) -> LayerTrace:
        names = self._plan.layers[layer.name].tap_tensors
        sample = np.arange(len(positions))[:, None]

        def at_positions(name: str) -> Float32:
            """A tensor made by the layer, whose channels lie last: its rows [n, p, m]."""
            rows = tensors[name].reshape(-1, layer.positions, layer.outputs)
            return _values(rows[sample, positions], model.codes[name])

        given = _values(tensors[names.input], model.codes[names.input])
        rows = layer.rows_at(_channels_first(given, layer), positions)
        main = at_positions(names.main)
        if names.output is None:
            return LayerTrace(rows, main, surrogate.apply(main, rows))
        return LayerTrace(rows, main, at_positions(names.output))


def _answers(model: TfliteModel, samples: Float32) -> Float32:
    """The only output, for samples [n, ...], one after the other."""
    made = [next(iter(model.run(_one(sample, model)).values())) for sample in samples]
    return np.concatenate(made).astype(np.float32, copy=False)


def _one(sample: Float32, model: TfliteModel) -> Float32:
    return np.ascontiguousarray(sample, np.float32).reshape(model.input_shape)


def _as_int8(codes: NDArray[np.uint8]) -> NDArray[np.int8]:
    return (codes ^ np.uint8(ZERO_CODE)).view(np.int8)


def _values(codes: Codes, meaning: Affine) -> Float32:
    """What codes stand for; a tensor without codes is what it says."""
    if codes.dtype == np.float32:
        return np.asarray(codes)
    centred = codes.astype(np.float32) - np.float32(meaning.zero_point)
    return np.asarray(centred * np.float32(meaning.step))


def _channels_first(given: Float32, layer: LinearLayer) -> Float32:
    """A layer's input [n, ...] as our graph lays it out."""
    if layer.window is None:
        return given.reshape(-1, *layer.input_shape)
    channels, *spatial = layer.input_shape
    return np.moveaxis(given.reshape(-1, *spatial, channels), -1, 1)


def _tapped_bytes(layer: LinearLayer) -> int:
    return 4 * (math.prod(layer.input_shape) + 2 * math.prod(layer.output_shape))

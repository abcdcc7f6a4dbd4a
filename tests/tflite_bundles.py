"""Bundles of the runtime tflite, their files written by hand, operator by operator.

An oracle for the board's side: nothing of what `pack` does is used for the graphs. As a program,
`python -m tests.tflite_bundles FOLDER` writes them there, for an environment without the schema;
with `--real`, those of real models too, which `pack` makes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from agent.cli.program import run
from agent.runtimes.names import TFLITE
from agent.runtimes.tflite_plan import (
    FILE_NAME,
    MODEL_NAME,
    TAPS_NAME,
    LayerPlaces,
    LayerPlan,
    Place,
    TapTensors,
    TflitePlan,
    encode_plan,
    probe_name,
)
from agent.store.package import Package, package_bytes
from calib.factors import no_factors
from calib.graph.executor import run as run_graph
from calib.graph.linear import LinearLayer
from calib.integer_weights import integer_weights
from calib.output_ranges import output_codes
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from calib.schemes.activations import ActivationCode, code_for_range
from calib.tflite_layout import weight_tensor
from tests.board_bundles import BUNDLES, CAPACITIES, POST, REAL, SAMPLES, SMALL, bundle_in, labelled
from tests.tflite_models import Writer

PROBE_ROWS = 16
RELU = 1
SAME, VALID = 0, 1


class IntegerWriter(Writer):
    """Writes quantised tensors, too, and knows where what it wrote stands."""

    def coded(self, tensor: int, scales: Any, zero_point: int, axis: int = 0) -> int:
        """Give a tensor codes."""
        quantization = schema.QuantizationParametersT()
        quantization.scale = np.atleast_1d(np.asarray(scales, np.float32))
        quantization.zeroPoint = np.full(len(quantization.scale), zero_point, np.int64)
        quantization.quantizedDimension = axis
        self.graph.tensors[tensor].quantization = quantization
        return tensor

    def codes(self, tensor: int, code: ActivationCode) -> int:
        """Make a tensor one of activations, int8."""
        self.graph.tensors[tensor].type = schema.TensorType.INT8
        return self.coded(tensor, code.step, code.zero_point - 128)


def place(content: bytes, tensor: int, form: str, *, scales: bool = False) -> Place:
    """Where a constant tensor's numbers, or its scales, stand in a file."""
    model = schema.Model.GetRootAs(content, 0)
    found = model.Subgraphs(0).Tensors(tensor)
    base = np.frombuffer(content, np.uint8).__array_interface__["data"][0]
    if scales:
        values = found.Quantization().ScaleAsNumpy()
        return Place(
            values.__array_interface__["data"][0] - base, values.shape, "float32", "vector"
        )
    data = model.Buffers(found.Buffer()).DataAsNumpy()
    dtype = {0: "float32", 2: "int32", 9: "int8"}[found.Type()]
    shape = tuple(int(size) for size in found.ShapeAsNumpy())
    return Place(data.__array_interface__["data"][0] - base, shape, dtype, form)


@dataclass
class Written:
    """The numbers of one layer's tensors in a graph that is being written."""

    weights: int
    bias: int
    form: str
    branch: tuple[int, int, int] | None = None
    taps: dict[str, int] = field(default_factory=dict)

    def places(self, content: bytes) -> LayerPlaces:
        """Where they stand."""
        a, b, b_bias = self.branch or (None, None, None)
        return LayerPlaces(
            weights=place(content, self.weights, self.form),
            scales=place(content, self.weights, "", scales=True),
            bias=place(content, self.bias, "vector"),
            bias_scales=place(content, self.bias, "", scales=True),
            a=None if a is None else place(content, a, self.form),
            b=None if b is None else place(content, b, self.form),
            b_bias=None if b_bias is None else place(content, b_bias, "vector"),
        )


class Network:
    """Writes the graphs of a packed classifier."""

    def __init__(self, network: PackedNetwork, mode: str) -> None:
        self.network, self.mode = network, mode
        self.layers = {layer.name: layer for layer in network.layers}
        x, _ = labelled(SAMPLES, 1)
        with np.errstate(under="ignore"):  # as outside the tests
            self.wide = output_codes(SMALL, network, x)
            pooled = run_graph(network.decision_graph, x, keep=["f"])["f"]
        self.after = {
            "first": network.activations["depthwise"],
            "depthwise": network.activations["strided"],
            "strided": code_for_range(0.0, float(pooled.max()) * 1.1, 8),
            "head": self.wide["head"],
        }

    def weights(self, writer: IntegerWriter, layer: LinearLayer) -> Written:
        """The layer's weights and bias as constants."""
        name = layer.name
        numbers = integer_weights(
            self.network.weights[name],
            layer.bias,
            self.network.activations[name].step,
            no_factors(self.network.layers)[name],
        )
        shape, form, axis = shape_of(layer)
        weights = writer.constant(weight_tensor(numbers.codes, shape, form), "int8")
        writer.coded(weights, numbers.scales, 0, axis)
        bias = writer.coded(writer.constant(numbers.bias, "int32"), numbers.bias_scales, 0)
        return Written(weights, bias, form)

    def layer(
        self, writer: IntegerWriter, source: int, layer: LinearLayer, *, taps: bool
    ) -> tuple[int, Written]:
        """One layer with its branch, if it has one; its output's codes are those of the next."""
        name, rank = layer.name, CAPACITIES[layer.name]
        active = 0 if name == "head" else RELU
        post = self.mode == POST
        written = self.weights(writer, layer)
        fused = active if not rank or post else 0
        made = product(writer, source, layer, written, fused)
        writer.codes(made, self.wide[name] if rank and not post else self.after[name])
        if taps:
            main = product(writer, source, layer, self.weights(writer, layer), 0)
            written.taps = {"input": source, "main": writer.codes(main, self.wide[name])}
        if not rank:
            return made, written
        shape = output_of(layer)
        low = self.branch(writer, source, layer, written, rank)
        plain = writer.operator("DEQUANTIZE", [made], shape, version=2)
        added = writer.operator("ADD", [plain, low], shape, kind="AddOptions")
        writer.graph.operators[-1].builtinOptions.fusedActivationFunction = 0 if post else active
        if taps and not active:
            written.taps["output"] = added
        rounded = writer.operator("QUANTIZE", [added], shape)
        return writer.codes(rounded, self.after[name]), written

    def branch(
        self, writer: IntegerWriter, source: int, layer: LinearLayer, written: Written, rank: int
    ) -> int:
        """B (A x), both of zeros."""
        shape, _, _ = shape_of(layer)
        given = writer.graph.tensors[source].shape
        plain = writer.operator("DEQUANTIZE", [source], given, version=2)
        a = writer.constant(np.zeros((rank, *shape[1:])))
        middle = (*output_of(layer)[:-1], rank)
        low = operation(writer, layer, [plain, a, writer.constant(np.zeros(rank))], middle)
        ones = (1,) * (len(shape) - 2)
        b = writer.constant(np.zeros((layer.outputs, *ones, rank)))
        b_bias = writer.constant(np.zeros(layer.outputs))
        written.branch = (a, b, b_bias)
        return operation(writer, layer, [low, b, b_bias], output_of(layer), unit=True)

    def graph(self, *, taps: bool) -> tuple[bytes, dict[str, Written]]:
        """The file in use, or the one with taps, and where the layers' tensors are."""
        writer = IntegerWriter()
        entry = writer.input(1, 2, 8, 8)
        axes = writer.constant([0, 2, 3, 1], "int32")
        last = writer.operator("TRANSPOSE", [entry, axes], (1, 8, 8, 2), kind="TransposeOptions")
        last = writer.operator("QUANTIZE", [last], (1, 8, 8, 2))
        writer.codes(last, self.network.activations["first"])
        found: dict[str, Written] = {}
        for name, layer in self.layers.items():
            if name == "head":
                last = self.pooled(writer, last)
            last, found[name] = self.layer(writer, last, layer, taps=taps)
        answer = writer.operator("DEQUANTIZE", [last], (1, 5), version=2)
        outputs = [answer]
        for one in found.values():
            outputs += [tensor for tensor in one.taps.values() if tensor not in outputs]
        return writer.content(*outputs), found

    def pooled(self, writer: IntegerWriter, last: int) -> int:
        """The mean over an image, in the codes that the head reads."""
        axes = writer.constant([1, 2], "int32")
        options = {"kind": "ReducerOptions", "keepDims": False, "version": 2}
        made = writer.operator("MEAN", [last, axes], (1, 8), **options)
        return writer.codes(made, self.network.activations["head"])

    def probe(self, layer: LinearLayer) -> bytes:
        """The file that drives one layer alone."""
        writer = IntegerWriter()
        written = self.weights(writer, layer)
        tensor = writer.graph.tensors[written.weights]
        if layer.window is None:
            shape: tuple[int, ...] = (PROBE_ROWS, layer.inputs)
        elif layer.groups == 1:
            shape = (PROBE_ROWS, 1, 1, layer.inputs)
            tensor.shape = [layer.outputs, 1, 1, layer.inputs]
        else:
            shape = (PROBE_ROWS, 3, 3, layer.groups)
        entry = writer.codes(writer.input(*shape), self.network.activations[layer.name])
        made_shape = (PROBE_ROWS, *(1,) * (len(shape) - 2), layer.outputs)
        inputs = [entry, written.weights, written.bias]
        made = operation(writer, layer, inputs, made_shape, alone=True)
        return writer.content(writer.codes(made, self.wide[layer.name]))

    def files(self) -> dict[str, bytes]:
        """All files of the bundle."""
        model, in_use = self.graph(taps=False)
        taps, tapped = self.graph(taps=True)
        plans = {}
        for name in self.layers:
            seen = {kind: f"t{tensor}" for kind, tensor in tapped[name].taps.items()}
            plans[name] = LayerPlan(
                rank=CAPACITIES[name],
                activation="none" if name == "head" else "relu",
                model=in_use[name].places(model),
                taps=tapped[name].places(taps),
                tap_tensors=TapTensors(seen["input"], seen["main"], seen.get("output")),
            )
        plan = TflitePlan(self.mode, "by hand", plans)
        probes = {
            probe_name(index): self.probe(layer) for index, layer in enumerate(self.layers.values())
        }
        return {
            FILE_NAME: encode_plan(plan),
            MODEL_NAME: model,
            TAPS_NAME: taps,
            **probes,
        }


def shape_of(layer: LinearLayer) -> tuple[tuple[int, ...], str, int]:
    """Shape and form of a layer's weights, and the axis of their scales."""
    if layer.window is None:
        return (layer.outputs, layer.inputs), "OI", 0
    if layer.groups > 1:
        return (1, *layer.window.kernel, layer.outputs), "1HWO", 3
    channels = layer.input_shape[0]
    return (layer.outputs, *layer.window.kernel, channels), "OHWI", 0


def output_of(layer: LinearLayer) -> tuple[int, ...]:
    """Shape of a layer's output in the file, channels last."""
    if layer.window is None:
        return (1, layer.outputs)
    return (1, *layer.output_shape[1:], layer.outputs)


def product(
    writer: IntegerWriter, source: int, layer: LinearLayer, written: Written, fused: int
) -> int:
    """The layer's own operator."""
    inputs = [source, written.weights, written.bias]
    made = operation(writer, layer, inputs, output_of(layer))
    writer.graph.operators[-1].builtinOptions.fusedActivationFunction = fused
    return made


def operation(
    writer: IntegerWriter,
    layer: LinearLayer,
    inputs: list[int],
    shape: tuple[int, ...],
    *,
    unit: bool = False,
    alone: bool = False,
) -> int:
    """The operator of a layer; of a 1×1 convolution if `unit`; without padding if `alone`."""
    if layer.window is None:
        options: Mapping[str, Any] = {"kind": "FullyConnectedOptions", "version": 4}
        return int(writer.operator("FULLY_CONNECTED", inputs, shape, **options))
    stride = 1 if unit or alone else layer.window.strides[0]
    common = {"strideH": stride, "strideW": stride, "version": 3}
    common["padding"] = VALID if alone else SAME
    if layer.groups > 1 and not unit:
        options = {"kind": "DepthwiseConv2DOptions", "depthMultiplier": 1, **common}
        return int(writer.operator("DEPTHWISE_CONV_2D", inputs, shape, **options))
    options = {"kind": "Conv2DOptions", **common}
    return int(writer.operator("CONV_2D", inputs, shape, **options))


def package_of(mode: str, **options: Any) -> Package:
    """The small network, packed for the runtime tflite by hand."""
    chosen = PackOptions(**{"held_back": 16, "references": 48, **options})
    x, y = labelled(SAMPLES, 1)
    with np.errstate(under="ignore"):  # as outside the tests
        network = prepare(SMALL, x, y, chosen)
    return Package(network, "small", TFLITE, Network(network, mode).files())


def write_bundles(folder: Path) -> None:
    """Write all of `BUNDLES`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (mode, options) in BUNDLES.items():
        bundle_in(folder, name).write_bytes(package_bytes(package_of(mode, **options)))


def write_real_bundles(folder: Path, data_directory: Path) -> None:
    """Write all of `REAL`, packed by the command from the real models and samples."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (model, samples, options) in REAL.items():
        given = (data_directory / "mlperf-tiny" / model, "--samples", data_directory / samples)
        arguments = (
            "pack",
            *given,
            "--runtime",
            TFLITE,
            *options,
            "--out",
            bundle_in(folder, name),
        )
        assert run([str(argument) for argument in arguments]) == 0


def main() -> None:
    """Write the bundles into the folder that the command line names; real ones with NPP_DATA."""
    folder, named = Path(sys.argv[1]), os.environ.get("NPP_DATA")
    write_bundles(folder)
    if named and "--real" in sys.argv[2:]:
        write_real_bundles(folder, Path(named))


if __name__ == "__main__":
    main()

"""TFLite models, real ones and small ones of every operator, give LiteRT's answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from calib.graph.linear import linear_layers
from calib.graph.model import Array
from calib.importers import load_model
from calib.importers.tflite_builder import dequantised
from calib.importers.tflite_file import Quantization
from calib.importers.tflite_graph import HANDLERS
from tests.tflite_models import Writer, agrees, packed

RNG = np.random.default_rng


def normal(*shape: int, seed: int = 0) -> Array:
    return RNG(seed).normal(size=shape).astype(np.float32)


def real(data_directory: Path, name: str) -> Path:
    return data_directory / "mlperf-tiny" / name


def test_resnet_agrees_on_real_images(data_directory: Path, tmp_path: Path) -> None:
    with np.load(data_directory / "cifar10.npz") as data:
        samples = data["test_x"][:5].astype(np.float32)
    graph = agrees(real(data_directory, "resnet8_float.tflite").read_bytes(), tmp_path, samples)
    layers = [layer.name for layer in linear_layers(graph)]
    assert layers == ["conv2d", *(f"conv2d_{i}" for i in range(1, 9)), "dense"]
    assert [node.op for node in graph.nodes].count("Transpose") == 1
    assert {node.name for node in graph.nodes} >= {"add", "add_1/relu", "flatten", "softmax"}


@pytest.mark.parametrize(
    ("name", "layers", "scale"), [("vww_float", 28, 1.0), ("ad_float", 10, 1.0)]
)
def test_real_models_agree(
    data_directory: Path, tmp_path: Path, name: str, layers: int, scale: float
) -> None:
    content = real(data_directory, f"{name}.tflite").read_bytes()
    shape = load_model(real(data_directory, f"{name}.tflite")).input.shape[1:]
    graph = agrees(content, tmp_path, normal(5, *shape) * scale)
    assert len(linear_layers(graph)) == layers


def test_keyword_model_agrees_where_litert_computes_in_float(
    data_directory: Path, tmp_path: Path
) -> None:
    """The file's int8 convolution weights make LiteRT quantise the activations too.

    So LiteRT is given the same file with those weights as floats, and we the original.
    """
    path = real(data_directory, "kws_float.tflite")
    with np.load(data_directory / "kws.npz") as data:
        samples = data["x"][:5].astype(np.float32)
    graph = agrees(with_float_weights(path.read_bytes()), tmp_path, samples)
    original = load_model(path)
    assert original.constants.keys() == graph.constants.keys()
    for name, value in original.constants.items():
        np.testing.assert_array_equal(value, graph.constants[name])
    layers = [layer.name for layer in linear_layers(original)]
    assert layers[:3] == ["conv2d", "depthwise_conv2d", "conv2d_1"]
    assert len(layers) == 10


def with_float_weights(content: bytes) -> bytes:
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for tensor in model.subgraphs[0].tensors:
        if tensor.type == schema.TensorType.INT8:
            buffer = model.buffers[tensor.buffer]
            codes = buffer.data.view(np.int8).reshape(tensor.shape)
            found = tensor.quantization
            quantization = Quantization(
                np.float32(found.scale), np.int64(found.zeroPoint), found.quantizedDimension
            )
            values = dequantised(codes, quantization)
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    return packed(model)


CONV = {"kind": "Conv2DOptions", "strideH": 2, "strideW": 1, "version": 1}
POOL = {"kind": "Pool2DOptions", "filterHeight": 3, "filterWidth": 2, "strideH": 2, "strideW": 2}
INT = "int32"


def convolved(w: Writer) -> int:
    """An input [1, 9, 7, 6] and a convolution of it: a tensor that lies channels first."""
    x = w.input(1, 9, 7, 6)
    kernel = w.constant(normal(4, 3, 2, 6))
    return int(w.operator("CONV_2D", [x, kernel, w.constant(normal(4))], (1, 5, 7, 4), **CONV))


def grouped(w: Writer) -> int:
    x = w.input(1, 9, 7, 6)
    inputs = [x, w.constant(normal(4, 3, 2, 3)), w.constant(normal(4))]
    options = {**CONV, "padding": 1, "fusedActivationFunction": 3}
    return int(w.operator("CONV_2D", inputs, (1, 4, 6, 4), **options))


def depthwise(w: Writer) -> int:
    x = w.input(1, 9, 7, 3)
    inputs = [x, w.constant(normal(1, 3, 3, 6)), w.constant(normal(6))]
    return int(
        w.operator(
            "DEPTHWISE_CONV_2D", inputs, (1, 9, 7, 6), kind="DepthwiseConv2DOptions", strideH=1,
            strideW=1, depthMultiplier=2, dilationHFactor=2, dilationWFactor=2,
            fusedActivationFunction=1, version=2,
        )
    )  # fmt: skip


def pools(w: Writer) -> int:
    x = convolved(w)
    average = w.operator("AVERAGE_POOL_2D", [x], (1, 3, 4, 4), **POOL)
    largest = w.operator("MAX_POOL_2D", [x], (1, 3, 4, 4), **POOL)
    both = w.operator(
        "CONCATENATION", [average, largest], (1, 3, 4, 8), kind="ConcatenationOptions", axis=-1
    )
    return int(w.operator("RELU6", [both], (1, 3, 4, 8)))


def dense(w: Writer) -> int:
    """Flattened by itself, then with its axes kept."""
    x = convolved(w)
    options = {"kind": "FullyConnectedOptions", "fusedActivationFunction": 1}
    inputs = [x, w.constant(normal(6, 140) / 9), w.constant(normal(6))]
    flat = w.operator("FULLY_CONNECTED", inputs, (1, 6), **options)
    wide = w.operator("RESHAPE", [flat, w.constant([1, 2, 3], INT)], (1, 2, 3))
    kept = [wide, w.constant(normal(5, 3)), w.constant(normal(5))]
    options["keepNumDims"] = True
    return int(w.operator("FULLY_CONNECTED", kept, (1, 2, 5), **options, version=5))


def arithmetic(w: Writer) -> int:
    x = convolved(w)
    shape = (1, 5, 7, 4)
    y = w.operator("MUL", [x, w.constant(normal(4))], shape, kind="MulOptions")
    y = w.operator("ADD", [y, x], shape, kind="AddOptions", fusedActivationFunction=2)
    y = w.operator("SUB", [w.constant(normal(5, 7, 4)), y], shape, kind="SubOptions")
    y = w.operator("SQUARED_DIFFERENCE", [y, x], shape)
    y = w.operator("ADD", [y, w.constant(1.0)], shape, kind="AddOptions")
    y = w.operator("DIV", [x, y], shape, kind="DivOptions")
    y = w.operator("SQUARE", [y], shape)
    return int(w.operator("POW", [y, w.constant(1.5)], shape))


def curves(w: Writer) -> int:
    y = convolved(w)
    shape = (1, 5, 7, 4)
    y = w.operator("LEAKY_RELU", [y], shape, kind="LeakyReluOptions", alpha=0.25)
    for code in ("TANH", "HARD_SWISH", "NEG", "LOGISTIC", "LOG", "EXP", "SQRT", "RSQRT"):
        y = w.operator(code, [y], shape)
    y = w.operator("GELU", [y], shape, kind="GeluOptions", approximate=True)
    y = w.operator("RELU", [y], shape)
    return int(w.operator("RELU_N1_TO_1", [y], shape))


def softmaxes(w: Writer) -> int:
    y = convolved(w)
    y = w.operator("SOFTMAX", [y], (1, 5, 7, 4), kind="SoftmaxOptions", beta=0.5)
    return int(w.operator("LOG_SOFTMAX", [y], (1, 5, 7, 4)))


def means(w: Writer) -> int:
    """One that leaves the layout as it is, one that loses it, one over the rows alone."""
    x = convolved(w)
    options = {"kind": "ReducerOptions", "keepDims": True}
    kept = w.operator("MEAN", [x, w.constant([1, 2], INT)], (1, 1, 1, 4), **options)
    scaled = w.operator("MUL", [x, kept], (1, 5, 7, 4), kind="MulOptions")
    rows = w.operator("SUM", [scaled, w.constant([1], INT)], (1, 7, 4), kind="ReducerOptions")
    return int(w.operator("MEAN", [rows, w.constant([-2], INT)], (1, 4), kind="ReducerOptions"))


def padded(w: Writer) -> int:
    x = convolved(w)
    widths = w.constant([[0, 0], [1, 2], [0, 1], [0, 3]], INT)
    y = w.operator("PAD", [x, widths], (1, 8, 8, 7))
    widths = w.constant([[0, 0], [0, 0], [2, 0], [0, 0]], INT)
    return int(w.operator("PADV2", [y, widths, w.constant([0.5])], (1, 8, 10, 7)))


def splits(w: Writer) -> int:
    x = convolved(w)
    parts = w.operator(
        "SPLIT", [w.constant(3, INT), x], *[(1, 5, 7, 2)] * 2, kind="SplitOptions", numSplits=2
    )
    inputs = [parts[1], w.constant([3, 2], INT), w.constant(1, INT)]
    rows = w.operator(
        "SPLIT_V", inputs, (1, 3, 7, 2), (1, 2, 7, 2), kind="SplitVOptions", numSplits=2
    )
    return int(
        w.operator("CONCATENATION", rows[::-1], (1, 5, 7, 2), kind="ConcatenationOptions", axis=1)
    )


def slices(w: Writer) -> int:
    x = convolved(w)
    bounds = [w.constant(v, INT) for v in ([0, 1, 0, 1], [-1, 3, 7, -1])]
    y = w.operator("SLICE", [x, *bounds], (1, 3, 7, 3))
    bounds = [w.constant(v, INT) for v in ([0, 2, 1, 0], [1, 3, 7, 2], [1, 1, 2, 1])]
    return int(
        w.operator(
            "STRIDED_SLICE", [y, *bounds], (1, 3, 2), kind="StridedSliceOptions",
            beginMask=1, endMask=1, shrinkAxisMask=2,
        )
    )  # fmt: skip


def attention(w: Writer) -> int:
    """Tokens from a feature map, a product of two computed tensors, a gather."""
    x = convolved(w)
    tokens = w.operator("RESHAPE", [x, w.constant([1, 35, 4], INT)], (1, 35, 4))
    options = {"kind": "BatchMatMulOptions", "adjY": True}
    scores = w.operator("BATCH_MATMUL", [tokens, tokens], (1, 35, 35), **options)
    y = w.operator("BATCH_MATMUL", [scores, tokens], (1, 35, 4), kind="BatchMatMulOptions")
    y = w.operator("TRANSPOSE", [y, w.constant([0, 2, 1], INT)], (1, 4, 35))
    y = w.operator("BATCH_MATMUL", [y, w.constant(normal(3, 35))], (1, 4, 3), **options)
    y = w.operator("GATHER", [y, w.constant([2, 0], INT)], (1, 2, 3), kind="GatherOptions", axis=1)
    y = w.operator("EXPAND_DIMS", [y, w.constant(1, INT)], (1, 1, 2, 3))
    return int(w.operator("SQUEEZE", [y], (1, 2, 3), kind="SqueezeOptions", squeezeDims=[1]))


def half_weights(w: Writer) -> int:
    x = w.input(1, 6)
    half = w.constant(normal(3, 6), "float16")
    weight = w.operator("DEQUANTIZE", [half], (3, 6), version=3)
    return int(w.operator("FULLY_CONNECTED", [x, weight, -1], (1, 3), kind="FullyConnectedOptions"))


NETWORKS: list[Callable[[Writer], int]] = [
    grouped, depthwise, pools, dense, arithmetic, curves, softmaxes, means, padded, splits, slices,
    attention, half_weights,
]  # fmt: skip


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_small_networks_agree(network: Callable[[Writer], int], tmp_path: Path) -> None:
    writer = Writer()
    content = writer.content(network(writer))
    shape: Any = writer.graph.tensors[writer.graph.inputs[0]].shape
    agrees(content, tmp_path, normal(5, *shape[1:], seed=7))


def test_the_small_networks_use_every_operator() -> None:
    names = {number: name for name, number in vars(schema.BuiltinOperator).items()}
    writers = [Writer() for _ in NETWORKS]
    for network, writer in zip(NETWORKS, writers, strict=True):
        network(writer)
    used = {names[c.builtinCode] for writer in writers for c in writer.model.operatorCodes}
    # RELU_0_TO_1 is a Clip as its two relatives are; QUANTIZE stands in quantised models.
    assert set(HANDLERS) - used == {"RELU_0_TO_1", "QUANTIZE"}


@pytest.mark.parametrize(
    ("network", "expected"), [(pools, 2), (softmaxes, 2), (splits, 2), (padded, 2)]
)
def test_the_layout_changes_at_the_ends_alone(
    network: Callable[[Writer], int], expected: int, tmp_path: Path
) -> None:
    writer = Writer()
    content = writer.content(network(writer))
    path = tmp_path / "small.tflite"
    path.write_bytes(content)
    assert [node.op for node in load_model(path).nodes].count("Transpose") == expected

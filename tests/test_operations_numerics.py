"""What the operations promise beyond ONNX's cases: exactness, quiet numerics, types, memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from calib.errors import GraphError, UnsupportedError
from calib.graph.executor import gradients, run
from calib.graph.model import Graph, Node, Port
from calib.graph.operations import convolution
from calib.graph.operations.error_function import erf
from calib.graph.registry import Tape, operations

SATURATING = [
    ("Sigmoid", [0, 0, 0.5, 1, 1]),
    ("Tanh", [-1, -1, 0, 1, 1]),
    ("Erf", [-1, -1, 0, 1, 1]),
    ("HardSigmoid", [0, 0, 0.5, 1, 1]),
    ("Softplus", [0, 0, math.log(2), 1e3, 1e30]),
    ("Elu", [-1, -1, 0, 1e3, 1e30]),
    ("HardSwish", [0, 0, 0, 1e3, 1e30]),
    ("Gelu", [0, 0, 0, 1e3, 1e30]),
]


def forward(op: str, inputs: list[Any], **attributes: Any) -> Any:
    return operations()[op].forward(inputs, attributes)[0]


def pullback(op: str, x: Any, **attributes: Any) -> Any:
    y = forward(op, [x], **attributes)
    return operations()[op].pullback(Tape((x,), (y,), (np.ones_like(y),), attributes))[0]


def test_erf_is_exact_in_float64() -> None:
    x = np.concatenate([np.linspace(-7, 7, 20_001), np.geomspace(1e-280, 1, 1_000)])
    exact = np.array([math.erf(value) for value in x])
    np.testing.assert_allclose(erf(x), exact, rtol=3e-15, atol=0)


def test_erf_is_the_nearest_float32() -> None:
    x = np.linspace(-5, 5, 10_001, dtype=np.float32)
    exact = np.array([math.erf(value) for value in x]).astype(np.float32)
    found = erf(x)
    assert found.dtype == np.float32
    np.testing.assert_array_max_ulp(found, exact, maxulp=1)
    assert np.mean(found == exact) > 0.999


@pytest.mark.parametrize(("op", "wanted"), SATURATING)
def test_large_inputs_saturate_quietly(op: str, wanted: list[float]) -> None:
    x = np.array([-1e30, -1e3, 0, 1e3, 1e30], np.float32)
    np.testing.assert_allclose(forward(op, [x]), np.array(wanted, np.float32), rtol=1e-6)
    assert np.isfinite(pullback(op, x)).all()


def test_gelu_with_tanh_saturates_quietly() -> None:
    x = np.array([-1e30, 1e30], np.float32)
    np.testing.assert_array_equal(forward("Gelu", [x], approximate="tanh"), [0, x[1]])
    np.testing.assert_array_equal(pullback("Gelu", x, approximate="tanh"), [0, 1])


def test_exp_of_a_very_negative_number_is_zero() -> None:
    np.testing.assert_array_equal(forward("Exp", [np.array([-1e4, 0], np.float32)]), [0, 1])


def test_softmax_of_large_numbers() -> None:
    x = np.array([[1e4, 0, -1e4], [3e38, 3e38, -1]], np.float32)
    np.testing.assert_array_equal(forward("Softmax", [x]), [[1, 0, 0], [0.5, 0.5, 0]])
    logarithms = forward("LogSoftmax", [x[:1]])
    np.testing.assert_array_equal(logarithms, [[0, -1e4, -2e4]])
    assert np.isfinite(pullback("LogSoftmax", x)).all()


ACTIVATIONS = ["Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Erf"]
SMOOTH = ["Gelu", "Elu", "Softplus", "Softmax", "LogSoftmax"]
FUNCTIONS = ["Abs", "Neg", "Sqrt", "Reciprocal", "Exp", "Log"]
REDUCTIONS = ["ReduceMean", "ReduceSum", "GlobalAveragePool"]


@pytest.mark.parametrize("op", [*ACTIVATIONS, *SMOOTH, *FUNCTIONS, *REDUCTIONS])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_type_and_memory_order_are_kept(op: str, dtype: type) -> None:
    last = np.random.default_rng(0).uniform(0.1, 1, (2, 4, 5, 3)).astype(dtype)
    x = np.moveaxis(last, -1, 1)
    y = forward(op, [x])
    assert y.dtype == dtype
    assert pullback(op, x).dtype == dtype
    if y.shape == x.shape:
        assert np.moveaxis(y, 1, -1).flags.c_contiguous


POOLS = [("MaxPool", {"kernel_shape": (2, 2)}), ("AveragePool", {"kernel_shape": (2, 2)})]


@pytest.mark.parametrize(("op", "attributes"), POOLS)
def test_pooling_keeps_type_and_memory_order(op: str, attributes: dict[str, Any]) -> None:
    x = np.moveaxis(np.ones((2, 4, 5, 3), np.float32), -1, 1)
    y = forward(op, [x], **attributes)
    assert y.dtype == np.float32
    assert np.moveaxis(y, 1, -1).flags.c_contiguous


@pytest.mark.parametrize(("groups", "samples"), [(1, 9), (4, 9), (16, 40)])
@pytest.mark.parametrize("layout", ["channels first", "channels last"])
def test_convolution_in_blocks_is_convolution_sample_by_sample(
    groups: int, samples: int, layout: str
) -> None:
    generator = np.random.default_rng(groups)
    x = generator.standard_normal((samples, 16, 64, 64)).astype(np.float32)
    if layout == "channels last":
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    weight = generator.standard_normal((16, 16 // groups, 3, 3)).astype(np.float32)
    attributes = {"group": groups, "pads": (1, 1, 1, 1)}
    y = forward("Conv", [x, weight], **attributes)
    assert len(list(convolution._blocks(np.moveaxis(y, 1, -1), weight, groups))) > 1
    single = [forward("Conv", [x[i : i + 1], weight], **attributes) for i in range(samples)]
    assert y.dtype == np.float32
    assert np.moveaxis(y, 1, -1).flags.c_contiguous
    np.testing.assert_allclose(y, np.concatenate(single), rtol=1e-4, atol=1e-4)


def test_gradients_of_a_convolution_add_up_over_blocks() -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((5, 16, 64, 64)).astype(np.float32)
    weight = generator.standard_normal((4, 16, 3, 3)).astype(np.float32)
    attributes = {"strides": (1, 1)}
    conv = operations()["Conv"]

    def of(samples: slice) -> Any:
        inputs = (x[samples], weight)
        outputs = conv.forward(inputs, attributes)
        return conv.pullback(Tape(inputs, outputs, outputs, attributes))

    singles = [of(slice(i, i + 1)) for i in range(5)]
    by_x, by_weight, _ = of(slice(None))
    np.testing.assert_allclose(by_x, np.concatenate([s[0] for s in singles]), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(by_weight, sum(s[1] for s in singles), rtol=1e-3, atol=1)


def test_maximum_of_equal_numbers_takes_the_gradient_once() -> None:
    x = np.zeros((1, 1, 4, 4))
    found = pullback("MaxPool", x, kernel_shape=(2, 2), strides=(2, 2))
    assert found.sum() == 4
    assert pullback("GlobalMaxPool", x).sum() == 1
    assert pullback("ReduceMax", x).sum() == 1


def test_cast_names_the_types_it_knows() -> None:
    with pytest.raises(UnsupportedError, match=r"type 16 .* 1 \(float32\)"):
        forward("Cast", [np.ones(3)], to=16)


def test_training_mode_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="training mode"):
        forward("BatchNormalization", [np.ones((1, 2))] * 5, training_mode=1)


def test_a_failing_node_is_named_in_one_sentence() -> None:
    node = Node("first", "Conv", ("x", "w"), ("y",))
    constants = {"w": np.ones((4, 3, 1, 1), np.float32)}
    graph = Graph("net", Port("x", (1, 2, 5, 5)), "y", (node,), constants)
    with pytest.raises(GraphError, match=r"2 channels in 1 groups .* \[4, 3, 1, 1\]"):
        run(graph, np.ones((1, 2, 5, 5), np.float32))


def test_numbers_too_small_for_their_type_are_zero_in_a_whole_network() -> None:
    nodes = (
        Node("first", "Conv", ("x", "w"), ("a",), {"group": 2}),
        Node("second", "MatMul", ("a", "m"), ("y",)),
    )
    tiny = np.full((2, 1, 1), 1e-30, np.float32)
    constants = {"w": tiny, "m": np.full((3, 2), 1e-30, np.float32)}
    graph = Graph("net", Port("x", (1, 2, 3)), "y", nodes, constants)
    values = run(graph, np.full((1, 2, 3), 1e-15, np.float32), keep=None)
    assert not values["y"].any()
    found = gradients(graph, values, np.full((1, 2, 2), 1e-30, np.float32), ("x", "w"))
    assert not found["x"].any()

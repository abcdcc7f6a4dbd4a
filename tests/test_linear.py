"""Linear layers: rows times weight is what the operation computes, for any geometry."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.graph.executor import run
from calib.graph.linear import LinearLayer, linear_layers, multiply
from calib.graph.model import Graph, Node, Port

SEEDS = st.integers(0, 2**32 - 1)
BATCH = 3


@st.composite
def convolutions(draw: st.DrawFn) -> Graph:
    """A graph of one convolution of one or two axes: dense, grouped or depthwise."""
    axes = draw(st.integers(1, 2))

    def each(low: int, high: int, count: int = axes) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(count))

    groups, per_group, multiplier = each(1, 3, 3)
    kernel, dilations = each(1, 3), each(1, 2)
    extra = each(0, 4)
    spatial = tuple((k - 1) * d + 1 + e for k, d, e in zip(kernel, dilations, extra, strict=True))
    attributes: dict[str, Any] = {"group": groups, "strides": each(1, 3), "dilations": dilations}
    if draw(st.booleans()):
        attributes["pads"] = each(0, 2, 2 * axes)
    else:
        attributes["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    generator = np.random.default_rng(draw(SEEDS))
    weight = generator.standard_normal((groups * multiplier, per_group, *kernel))
    bias = generator.standard_normal(groups * multiplier) if draw(st.booleans()) else None
    shape = (1, groups * per_group, *spatial)
    return one_node("Conv", shape, {"weight": weight, "bias": bias}, attributes)


@st.composite
def products(draw: st.DrawFn) -> Graph:
    """A graph of one Gemm or MatMul with a constant."""
    inputs, outputs = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    generator = np.random.default_rng(draw(SEEDS))
    weight = generator.standard_normal((inputs, outputs))
    if draw(st.booleans()):
        lead = draw(st.lists(st.integers(1, 3), max_size=2))
        return one_node("MatMul", (1, *lead, inputs), {"weight": weight}, {})
    attributes = {"alpha": 0.5, "beta": 2.0, "transB": draw(st.integers(0, 1))}
    bias_shape = draw(st.sampled_from([(outputs,), (1, outputs), (1,), ()]))
    constants = {
        "weight": np.ascontiguousarray(weight.T) if attributes["transB"] else weight,
        "bias": generator.standard_normal(bias_shape) if draw(st.booleans()) else None,
    }
    return one_node("Gemm", (1, inputs), constants, attributes)


def one_node(
    op: str, shape: tuple[int, ...], constants: dict[str, Any], attributes: dict[str, Any]
) -> Graph:
    present = {
        name: value.astype(np.float32) for name, value in constants.items() if value is not None
    }
    inputs = ("x", *(name if name in present else "" for name in constants))
    node = Node("layer", op, inputs, ("y",), attributes)
    return Graph("net", Port("x", shape), "y", (node,), present)


def layer_and_run(graph: Graph, seed: int) -> tuple[LinearLayer, Any, Any]:
    """The graph's layer, samples, and what the operation makes of them."""
    (layer,) = linear_layers(graph)
    shape = (BATCH, *graph.input.shape[1:])
    x = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return layer, x, run(graph, x)["y"]


@given(graph=convolutions() | products(), seed=SEEDS)
def test_rows_times_weight_plus_bias_is_the_operation(graph: Graph, seed: int) -> None:
    layer, x, y = layer_and_run(graph, seed)
    rows = layer.rows(x)
    assert rows.shape == (BATCH, layer.positions, layer.groups, layer.inputs)
    found = layer.tensor(multiply(rows, layer.weight) + layer.bias)
    assert found.shape == y.shape == (BATCH, *layer.output_shape)
    assert layer.bias.shape == (layer.outputs,)
    np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-5)


@given(graph=convolutions() | products(), seed=SEEDS)
def test_rows_at_positions_are_those_rows(graph: Graph, seed: int) -> None:
    layer, x, y = layer_and_run(graph, seed)
    generator = np.random.default_rng(seed)
    positions = generator.integers(0, layer.positions, (BATCH, 5))
    sample = np.arange(BATCH)[:, None]
    np.testing.assert_array_equal(layer.rows_at(x, positions), layer.rows(x)[sample, positions])
    wanted = layer.output_rows(y)[sample, positions]
    np.testing.assert_array_equal(layer.output_at(y, positions), wanted)


@given(graph=convolutions() | products(), seed=SEEDS)
def test_output_rows_and_tensor_are_inverses(graph: Graph, seed: int) -> None:
    layer, _, y = layer_and_run(graph, seed)
    rows = layer.output_rows(y)
    assert rows.shape == (BATCH, layer.positions, layer.outputs)
    np.testing.assert_array_equal(layer.tensor(rows), y)
    np.testing.assert_array_equal(layer.output_rows(layer.tensor(rows)), rows)


@given(graph=convolutions())
def test_multiply_accumulates_of_a_convolution(graph: Graph) -> None:
    (layer,) = linear_layers(graph)
    weight = graph.constants["weight"]
    assert layer.multiply_accumulates == math.prod(layer.output_shape[1:]) * weight.size


@pytest.mark.parametrize(
    ("op", "second", "attributes"),
    [("MatMul", (2, 4, 3), {}), ("Gemm", (4, 3), {"transA": 1})],
)
def test_products_without_one_matrix_of_rows_are_no_linear_layers(
    op: str, second: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    shape = (1, 2, 3, 4) if op == "MatMul" else (4, 1)
    graph = one_node(op, shape, {"weight": np.ones(second)}, attributes)
    assert linear_layers(graph) == ()

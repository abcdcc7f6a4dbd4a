"""Simplifying keeps what a graph computes, and takes out what it does not need."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.graph.executor import run
from calib.graph.model import Array, Attribute, Graph, Node, Port
from calib.graph.simplify import drop_dead, merge_transposes, simplify


def node(op: str, inputs: str, output: str, **attributes: Attribute) -> Node:
    """A node named as its output; inputs separated by spaces."""
    return Node(output, op, tuple(inputs.split()), (output,), MappingProxyType(attributes))


def graph_of(shape: tuple[int, ...], *nodes: Node, **constants: Array) -> Graph:
    return Graph("test", Port("x", (1, *shape)), nodes[-1].outputs[0], nodes, constants)


def same_outputs(graph: Graph, generator: np.random.Generator) -> Graph:
    """Check that simplifying keeps the outputs; returns the simplified graph."""
    smaller = simplify(graph)
    x = generator.normal(size=(4, *graph.input.shape[1:])).astype(np.float32)
    expected = run(graph, x)[graph.output]
    np.testing.assert_allclose(run(smaller, x)[smaller.output], expected, rtol=1e-4, atol=1e-4)
    return smaller


def normal(generator: np.random.Generator, *shape: int) -> Array:
    return generator.normal(size=shape).astype(np.float32)


def normalisation(generator: np.random.Generator, channels: int) -> dict[str, Array]:
    values = {name: normal(generator, channels) for name in ("scale", "shift", "mean")}
    return {**values, "variance": generator.uniform(0.5, 2, channels).astype(np.float32)}


LINEAR = st.sampled_from(["Conv", "ConvBias", "Gemm", "GemmT", "MatMul"])
FOLLOWING = st.lists(
    st.sampled_from(["BatchNormalization", "Add", "Mul", "Sub", "SubFrom", "Div"]),
    min_size=1,
    max_size=4,
)


def linear_node(kind: str, generator: np.random.Generator) -> tuple[Node, dict[str, Array]]:
    if kind.startswith("Conv"):
        weights = {"w": normal(generator, 6, 2, 3), "b": normal(generator, 6)}
        inputs = "x w b" if kind == "ConvBias" else "x w"
        return node("Conv", inputs, "y", group=2), weights
    if kind == "MatMul":
        return node("MatMul", "x w", "y"), {"w": normal(generator, 5, 6)}
    turned = kind == "GemmT"
    weights = {"w": normal(generator, *((6, 5) if turned else (5, 6))), "b": normal(generator, 6)}
    return node("Gemm", "x w b", "y", transB=int(turned), alpha=0.5, beta=2.0), weights


@given(kind=LINEAR, following=FOLLOWING, seed=st.integers(0, 1000))
def test_all_that_follows_a_layer_by_channel_is_folded(
    kind: str, following: list[str], seed: int
) -> None:
    generator = np.random.default_rng(seed)
    linear, constants = linear_node(kind, generator)
    shape, wide = ((4, 9), (6, 1)) if kind.startswith("Conv") else ((5,), (6,))
    nodes = [linear]
    for i, op in enumerate(following):
        source, value = nodes[-1].outputs[0], f"value{i}"
        if op == "BatchNormalization":
            parts = {f"{k}{i}": v for k, v in normalisation(generator, 6).items()}
            constants |= parts
            nodes.append(node(op, f"{source} {' '.join(parts)}", f"y{i}", epsilon=0.01))
        else:
            constants[value] = (generator.uniform(0.5, 2, wide)).astype(np.float32)
            order = f"{value} {source}" if op == "SubFrom" else f"{source} {value}"
            nodes.append(node(op.removesuffix("From"), order, f"y{i}"))
    smaller = same_outputs(graph_of(shape, *nodes, **constants), generator)
    assert len(smaller.nodes) == 1
    assert smaller.nodes[0].name == "y"


@pytest.mark.parametrize("value_shape", [(1, 9), (1, 6, 9), (6, 9), (9,)], ids=str)
def test_what_varies_along_other_axes_is_not_folded(value_shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(1)
    constants = {"w": normal(generator, 6, 4, 1), "v": normal(generator, *value_shape)}
    graph = graph_of((4, 9), node("Conv", "x w", "y"), node("Add", "y v", "z"), **constants)
    smaller = same_outputs(graph, generator)
    assert [n.op for n in smaller.nodes] == ["Conv", "Add"]


def test_a_bias_behind_a_stack_of_products_stays_and_a_factor_goes() -> None:
    generator = np.random.default_rng(2)
    constants = {"w": normal(generator, 5, 6), "b": normal(generator, 6), "f": normal(generator, 6)}
    nodes = (node("MatMul", "x w", "y"), node("Mul", "f y", "m"), node("Add", "b m", "z"))
    smaller = same_outputs(graph_of((3, 5), *nodes, **constants), generator)
    assert [n.op for n in smaller.nodes] == ["MatMul", "Add"]


def test_a_layer_that_others_read_is_not_folded() -> None:
    generator = np.random.default_rng(3)
    constants = {"w": normal(generator, 5, 5), "f": normal(generator, 5)}
    nodes = (node("MatMul", "x w", "y"), node("Mul", "y f", "m"), node("Add", "m y", "z"))
    smaller = same_outputs(graph_of((5,), *nodes, **constants), generator)
    assert [n.op for n in smaller.nodes] == ["MatMul", "Mul", "Add"]


def test_a_weight_shared_by_two_layers_is_scaled_for_one() -> None:
    generator = np.random.default_rng(4)
    constants = {"w": normal(generator, 5, 5), "f": normal(generator, 5)}
    nodes = (
        node("MatMul", "x w", "y"),
        node("Mul", "y f", "m"),
        node("Relu", "m", "r"),
        node("MatMul", "r w", "z"),
    )
    smaller = same_outputs(graph_of((5,), *nodes, **constants), generator)
    assert [n.op for n in smaller.nodes] == ["MatMul", "Relu", "MatMul"]


def test_identities_go_and_the_output_is_still_found() -> None:
    generator = np.random.default_rng(5)
    nodes = (
        node("Identity", "x", "a"),
        node("Transpose", "a", "b", perm=(0, 1, 2)),
        node("Reshape", "b s", "c"),
        node("Relu", "c", "d"),
        node("Cast", "d", "e", to=1),
        node("Concat", "e", "f", axis=1),
    )
    graph = graph_of((3, 4), *nodes, s=np.array([-1, 3, 4]))
    smaller = same_outputs(graph, generator)
    assert [n.op for n in smaller.nodes] == ["Relu"]
    assert not smaller.constants


def test_a_reshape_that_moves_the_batch_stays() -> None:
    graph = graph_of((1, 4), node("Reshape", "x s", "y"), s=np.array([1, -1, 4]))
    assert len(simplify(graph).nodes) == 1


@given(orders=st.lists(st.permutations([0, 1, 2, 3]), min_size=1, max_size=4))
def test_transposes_in_a_row_become_one_at_most(orders: list[list[int]]) -> None:
    generator = np.random.default_rng(6)
    names = ["x", *(f"t{i}" for i in range(len(orders)))]
    nodes = [
        node("Transpose", before, after, perm=tuple(order))
        for before, after, order in zip(names, names[1:], orders, strict=False)
    ]
    merged = merge_transposes(graph_of((2, 3, 4), *nodes))
    x = normal(generator, 2, 2, 3, 4)
    expected = x
    for order in orders:
        expected = expected.transpose(order)
    np.testing.assert_array_equal(run(merged, x)[merged.output], expected)
    assert len(merged.nodes) == 1


def test_dead_nodes_and_constants_go() -> None:
    nodes = (node("Add", "x unused", "dead"), node("Relu", "x", "y"))
    smaller = drop_dead(graph_of((3,), *nodes, unused=np.ones(3, np.float32)))
    assert [n.op for n in smaller.nodes] == ["Relu"]
    assert not smaller.constants


@pytest.mark.parametrize(
    ("automatic", "pads"),
    [("SAME_UPPER", (0, 1)), ("SAME_LOWER", (1, 0)), ("VALID", (0, 0)), ("NOTSET", (2, 1))],
)
def test_pads_are_written_out(automatic: str, pads: tuple[int, ...]) -> None:
    generator = np.random.default_rng(7)
    given_pads: dict[str, Attribute] = {"pads": pads} if automatic == "NOTSET" else {}
    conv = node("Conv", "x w", "y", auto_pad=automatic, strides=(2,), **given_pads)
    pool = node("MaxPool", "y", "z", auto_pad=automatic, kernel_shape=(2,), strides=(1,))
    graph = graph_of((4, 8), conv, pool, w=normal(generator, 3, 4, 3))
    smaller = same_outputs(graph, generator)
    assert smaller.nodes[0].attributes["pads"] == pads
    assert all("auto_pad" not in n.attributes for n in smaller.nodes)

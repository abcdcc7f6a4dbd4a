"""Every operation's pullback against central differences, in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from calib.graph.executor import gradients, run
from calib.graph.model import Graph, Node, Port
from calib.graph.registry import Tape, operations
from calib.graph.window import Window, fold, fold_taps, tap_views, windows

STEP = 1e-5
PRODUCTS = {"Conv", "Gemm", "MatMul"}
WITHOUT_GRADIENT = {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Shape"}


@dataclass(frozen=True)
class Case:
    """One operation on inputs: a shape asks for random numbers, an array is given as it is."""

    op: str
    inputs: Sequence[Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    low: float = -2.0
    high: float = 2.0
    fixed: tuple[int, ...] = ()
    """Inputs whose derivative does not exist here."""

    def __str__(self) -> str:
        shapes = "_".join("x".join(map(str, shape_of(x))) or "0" for x in self.inputs)
        words = "_".join(f"{k}={v}".replace(" ", "") for k, v in self.attributes.items())
        return f"{self.op}-{shapes}-{words}"


def shape_of(x: Any) -> tuple[int, ...]:
    return x if isinstance(x, tuple) else np.shape(x)


def whole(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


UNARY = [
    "Relu LeakyRelu Sigmoid HardSigmoid HardSwish Tanh Erf Gelu Elu Softplus Softmax LogSoftmax",
    "Neg Abs Exp Identity Sum Mean Max Min GlobalAveragePool GlobalMaxPool ReduceSum ReduceMean",
    "ReduceMax ReduceMin Flatten Transpose Squeeze",
]
IMAGE, SIGNAL = (2, 4, 6, 5), (2, 4, 9)
POOL = {"kernel_shape": (3, 2), "strides": (2, 1), "pads": (1, 0, 1, 1)}

CASES = [
    *(Case(op, [(2, 3, 2, 2)]) for op in " ".join(UNARY).split()),
    Case("LeakyRelu", [(3, 4)], {"alpha": 0.3}),
    Case("Elu", [(3, 4)], {"alpha": 0.3}),
    Case("HardSigmoid", [(3, 4)], {"alpha": 0.7, "beta": 0.2}),
    Case("HardSwish", [(50,)], low=-6, high=6),
    Case("Gelu", [(50,)], {"approximate": "tanh"}, low=-8, high=8),
    Case("Gelu", [(50,)], {"approximate": "none"}, low=-8, high=8),
    Case("Softmax", [(3, 4, 2)], {"axis": 1}),
    Case("LogSoftmax", [(3, 4, 2)], {"axis": 0}),
    Case("Clip", [(20,), np.array(-1.0), np.array(0.5)]),
    Case("Clip", [(20,), None, np.array(0.5)]),
    Case("Clip", [(20,), np.array(-1.0)]),
    Case("PRelu", [(2, 3, 4), (3, 1)]),
    *(Case(op, [(3, 4), (2, 1, 4)]) for op in ("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean")),
    *(Case(op, [(2, 1, 4), (3, 1)]) for op in ("Add", "Sub", "Mul", "Max", "Min")),
    Case("Sum", [(3, 4), (4,), (2, 1, 1)]),
    Case("Max", [(3, 4), (4,), (2, 1, 1)]),
    Case("Div", [(3, 4), (2, 1, 4)], low=0.5),
    Case("Pow", [(3, 4), (2, 1, 4)], low=0.5),
    Case("Pow", [(3, 4), np.array(3.0)], fixed=(1,)),
    Case("Pow", [(3, 4), np.array(0.0)], fixed=(1,)),
    *(Case(op, [(3, 4)], low=0.3) for op in ("Sqrt", "Reciprocal", "Log")),
    Case("Cast", [(3, 4)], {"to": 11}),
    Case("Conv", [IMAGE, (6, 4, 3, 2), (6,)], {"pads": (1, 0, 2, 1)}),
    Case("Conv", [IMAGE, (3, 4, 3, 3)], {"strides": (2, 1), "dilations": (2, 2)}),
    Case("Conv", [IMAGE, (6, 2, 2, 2), (6,)], {"group": 2, "pads": (1, 1, 0, 0)}),
    Case("Conv", [IMAGE, (4, 1, 3, 3), (4,)], {"group": 4, "pads": (1, 1, 1, 1)}),
    Case("Conv", [IMAGE, (8, 1, 2, 3)], {"group": 4, "strides": (1, 2), "dilations": (2, 1)}),
    Case("Conv", [IMAGE, (5, 4, 1, 1), (5,)]),
    Case("Conv", [IMAGE, (3, 4, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": (2, 2)}),
    Case("Conv", [IMAGE, (3, 4, 3, 3)], {"auto_pad": "SAME_LOWER", "strides": (2, 2)}),
    Case("Conv", [IMAGE, (3, 4, 3, 3)], {"auto_pad": "VALID"}),
    Case("Conv", [SIGNAL, (3, 4, 3), (3,)], {"strides": (2,), "pads": (2, 1), "dilations": (2,)}),
    Case("Conv", [SIGNAL, (4, 1, 5)], {"group": 4, "pads": (2, 2)}),
    Case("Gemm", [(3, 4), (4, 2), (2,)], {"alpha": 0.5, "beta": 2.0}),
    Case("Gemm", [(4, 3), (2, 4), (3, 1)], {"transA": 1, "transB": 1}),
    Case("Gemm", [(3, 4), (2, 4)], {"transB": 1}),
    Case("MatMul", [(3, 4), (4, 2)]),
    Case("MatMul", [(2, 3, 4), (4, 2)]),
    Case("MatMul", [(2, 1, 3, 4), (5, 4, 2)]),
    Case("MatMul", [(4,), (2, 4, 3)]),
    Case("MatMul", [(2, 3, 4), (4,)]),
    Case("MatMul", [(4,), (4,)]),
    Case("MaxPool", [IMAGE], POOL),
    Case("MaxPool", [IMAGE], {"kernel_shape": (2, 2), "strides": (2, 2), "ceil_mode": 1}),
    Case("MaxPool", [SIGNAL], {"kernel_shape": (3,), "dilations": (2,), "auto_pad": "SAME_UPPER"}),
    Case("AveragePool", [IMAGE], POOL),
    Case("AveragePool", [IMAGE], {**POOL, "count_include_pad": 1, "ceil_mode": 1}),
    Case("AveragePool", [SIGNAL], {"kernel_shape": (2,), "dilations": (3,), "strides": (2,)}),
    *(
        Case(op, [(2, 3, 4), whole(0, -1)], {"keepdims": keep})
        for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")
        for keep in (0, 1)
    ),
    Case("ReduceSum", [(2, 3), whole()], {"noop_with_empty_axes": 1}),
    Case("Reshape", [(2, 3, 4), whole(0, -1, 2)]),
    Case("Flatten", [(2, 3, 4)], {"axis": -1}),
    Case("Transpose", [(2, 3, 4)], {"perm": (1, 2, 0)}),
    Case("Squeeze", [(2, 1, 4, 1), whole(1)]),
    Case("Unsqueeze", [(2, 3), whole(0, -1)]),
    Case("Expand", [(3, 1), whole(2, 1, 4)]),
    Case("Concat", [(2, 3), (2, 1), (2, 4)], {"axis": -1}),
    Case("Split", [(2, 7)], {"axis": 1, "num_outputs": 3}),
    Case("Split", [(2, 7), whole(2, 5)], {"axis": -1}),
    Case("Slice", [(4, 6), whole(0, -1), whole(3, -7), whole(0, 1), whole(2, -2)]),
    Case("Slice", [(4, 6), whole(1), whole(1000), whole(-1)]),
    Case("Gather", [(4, 3), np.array([[0, 2], [-1, 0]])]),
    Case("Gather", [(2, 4, 3), whole(1, 1, -2)], {"axis": 1}),
    Case("Pad", [(3, 4), whole(1, -1, 0, 2), np.array(1.5)]),
    *(
        Case("Pad", [(3, 4), whole(1, -1, 2, 2)], {"mode": mode})
        for mode in ("edge", "reflect", "wrap")
    ),
    Case("Pad", [(3, 4), whole(3, 2), None, whole(1)], {"mode": "wrap"}),
    Case("Where", [np.array([[True], [False]]), (2, 3), (3, 1, 1)]),
    Case("BatchNormalization", [(2, 3, 4), (3,), (3,), (3,), (3,)], low=0.3),
    Case("BatchNormalization", [(4, 3), (3,), (3,), (3,), (3,)], {"epsilon": 0.1}, low=0.3),
    Case("LayerNormalization", [(3, 5), (5,), (5,)]),
    Case("LayerNormalization", [(2, 3, 4), (3, 4)], {"axis": 1, "epsilon": 0.1}),
]


def filled(case: Case, generator: np.random.Generator) -> list[Any]:
    return [
        generator.uniform(case.low, case.high, x) if isinstance(x, tuple) else x
        for x in case.inputs
    ]


def check(
    op: str,
    inputs: list[Any],
    attributes: Mapping[str, Any],
    seed: int = 0,
    fixed: tuple[int, ...] = (),
) -> None:
    """Compare ⟨gradient, input⟩ with what a small step of each number of each input does."""
    generator = np.random.default_rng(seed)
    operation = operations()[op]
    outputs = operation.forward(inputs, attributes)
    weights = tuple(generator.standard_normal(y.shape) for y in outputs)
    found = operation.pullback(Tape(tuple(inputs), outputs, weights, attributes))

    def scalar() -> float:
        results = operation.forward(inputs, attributes)
        return sum(float((w * y).sum()) for w, y in zip(weights, results, strict=True))

    for i, (x, gradient) in enumerate(zip(inputs, found, strict=False)):
        if gradient is None or i in fixed:
            continue
        assert gradient.shape == x.shape
        assert gradient.dtype == x.dtype
        np.testing.assert_allclose(gradient, differences(scalar, x), rtol=1e-6, atol=1e-7)


def differences(scalar: Any, x: np.ndarray) -> np.ndarray:
    result = np.empty_like(x)
    for index in np.ndindex(x.shape):
        kept = x[index]
        x[index] = kept + STEP
        above = scalar()
        x[index] = kept - STEP
        below = scalar()
        x[index] = kept
        result[index] = (above - below) / (2 * STEP)
    return result


@pytest.mark.parametrize("case", CASES, ids=str)
def test_pullback_is_the_derivative(case: Case) -> None:
    inputs = filled(case, np.random.default_rng(len(str(case))))
    check(case.op, inputs, case.attributes, fixed=case.fixed)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_input_of_random_numbers_gets_a_gradient(case: Case) -> None:
    inputs = filled(case, np.random.default_rng(1))
    operation = operations()[case.op]
    outputs = operation.forward(inputs, case.attributes)
    tape = Tape(tuple(inputs), outputs, tuple(map(np.ones_like, outputs)), case.attributes)
    found = operation.pullback(tape)
    for given_input, gradient in zip(case.inputs, found, strict=False):
        assert gradient is not None or not isinstance(given_input, tuple)


@pytest.mark.parametrize("case", [c for c in CASES if c.op in PRODUCTS], ids=str)
def test_a_product_skips_only_what_is_not_wanted(case: Case) -> None:
    inputs = filled(case, np.random.default_rng(2))
    operation = operations()[case.op]
    outputs = operation.forward(inputs, case.attributes)
    tape = Tape(tuple(inputs), outputs, tuple(map(np.ones_like, outputs)), case.attributes)
    everything = operation.pullback(tape)
    for i in range(len(inputs)):
        wanted = tuple(j == i for j in range(len(inputs)))
        found = operation.pullback(replace(tape, wanted=wanted))
        np.testing.assert_array_equal(found[i], everything[i])
        assert all(gradient is None for j, gradient in enumerate(found) if j != i)


def test_every_operation_has_a_case_or_no_gradient() -> None:
    assert {case.op for case in CASES} | WITHOUT_GRADIENT == set(operations())


@pytest.mark.parametrize("op", sorted(WITHOUT_GRADIENT))
def test_operations_without_gradient_say_so(op: str) -> None:
    inputs = (np.ones(3), np.zeros(3))
    outputs = operations()[op].forward(inputs, {})
    found = operations()[op].pullback(Tape(inputs, outputs, outputs, {}))
    assert set(found) == {None}


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean"])
@given(
    shapes=npst.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3),
    seed=st.integers(0, 2**32 - 1),
)
def test_broadcasting_is_summed_back(op: str, shapes: Any, seed: int) -> None:
    generator = np.random.default_rng(seed)
    inputs = [generator.uniform(0.5, 2.0, shape) for shape in shapes.input_shapes]
    if op in {"Max", "Min"}:  # numbers far enough apart that a step makes no other one the extreme
        total = sum(x.size for x in inputs)
        apart = 0.1 * generator.permutation(total)
        inputs = [
            part.reshape(x.shape)
            for part, x in zip(np.split(apart, [inputs[0].size]), inputs, strict=True)
        ]
    check(op, inputs, {}, seed)


@st.composite
def geometries(draw: st.DrawFn) -> tuple[Window, tuple[int, ...]]:
    """A window of one or two axes and an input that it fits."""
    axes = draw(st.integers(1, 2))

    def each(low: int, high: int, count: int = axes) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(count))

    window = Window(each(1, 3), each(1, 3), each(0, 2, 2 * axes), each(1, 2))
    spatial = tuple(
        extent + extra for extent, extra in zip(window.extent(), each(0, 4), strict=True)
    )
    return window, spatial


@given(geometry=geometries(), seed=st.integers(0, 2**32 - 1))
def test_fold_is_the_transpose_of_windows(
    geometry: tuple[Window, tuple[int, ...]], seed: int
) -> None:
    window, spatial = geometry
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((2, 3, *spatial))
    columns = windows(x, window)
    y = generator.standard_normal(columns.shape)
    np.testing.assert_allclose((columns * y).sum(), (x * fold(y, window, spatial)).sum())


@given(geometry=geometries(), seed=st.integers(0, 2**32 - 1))
def test_fold_taps_is_the_transpose_of_tap_views(
    geometry: tuple[Window, tuple[int, ...]], seed: int
) -> None:
    window, spatial = geometry
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((2, 3, *spatial))
    views = [view for _, view in tap_views(x, window)]
    parts = [generator.standard_normal(view.shape) for view in views]
    seen = sum((view * part).sum() for view, part in zip(views, parts, strict=True))
    np.testing.assert_allclose(seen, (x * fold_taps(parts, window, spatial)).sum())


@given(geometry=geometries(), seed=st.integers(0, 2**32 - 1))
def test_tap_views_are_windows_tap_by_tap(
    geometry: tuple[Window, tuple[int, ...]], seed: int
) -> None:
    window, spatial = geometry
    x = np.random.default_rng(seed).standard_normal((2, 3, *spatial))
    columns = windows(x, window, fill=7.0)
    for tap, view in tap_views(x, window, fill=7.0):
        np.testing.assert_array_equal(view, columns[(..., *tap)])


def branched_graph(generator: np.random.Generator) -> Graph:
    """A convolution whose output goes two ways that meet again; one way splits."""
    constants = {
        "kernel": generator.standard_normal((4, 2, 3, 3)),
        "bias": generator.standard_normal(4),
        "matrix": generator.standard_normal((4, 3)),
    }
    pads = {"pads": (1, 1, 1, 1)}
    nodes = (
        Node("conv", "Conv", ("x", "kernel", "bias"), ("a",), pads),
        Node("tanh", "Tanh", ("a",), ("b",)),
        Node("split", "Split", ("a",), ("c", "unused"), {"axis": 1, "num_outputs": 2}),
        Node("double", "Concat", ("c", "c"), ("d",), {"axis": 1}),
        Node("sum", "Add", ("b", "d"), ("e",)),
        Node("pool", "GlobalAveragePool", ("e",), ("f",)),
        Node("flat", "Flatten", ("f",), ("g",)),
        Node("head", "MatMul", ("g", "matrix"), ("y",)),
    )
    return Graph("branched", Port("x", (1, 2, 5, 4)), "y", nodes, constants)


def test_reverse_mode_through_a_whole_graph() -> None:
    generator = np.random.default_rng(3)
    graph = branched_graph(generator)
    x = generator.standard_normal((2, 2, 5, 4))
    seed = generator.standard_normal((2, 3))
    values = run(graph, x, keep=None)
    found = gradients(graph, values, seed, ("x", "kernel", "bias", "matrix", "unused", "a"))

    def scalar() -> float:
        return float((run(graph, x)["y"] * seed).sum())

    for name, array in {"x": x, **graph.constants}.items():
        np.testing.assert_allclose(found[name], differences(scalar, array), rtol=1e-6, atol=1e-8)
    assert not found["unused"].any()
    np.testing.assert_allclose(found["bias"], found["a"].sum(axis=(0, 2, 3)))

"""A graph goes through JSON and arrays and comes back the same; damage is found."""

from __future__ import annotations

import copy
import json
import string
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.errors import GraphError, UnsupportedError
from calib.graph.model import Graph, Node, Port
from calib.graph.registry import operations
from calib.graph.serial import from_document, to_document

WORDS = st.text(string.printable, max_size=12)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
ATTRIBUTES = st.dictionaries(
    WORDS,
    st.one_of(
        INTEGERS,
        FLOATS,
        WORDS,
        *(st.lists(kind, max_size=4).map(tuple) for kind in (INTEGERS, FLOATS, WORDS)),
    ),
    max_size=4,
)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    names = draw(st.lists(WORDS.filter(bool), min_size=4, max_size=8, unique=True))
    shape = tuple(draw(st.lists(st.integers(1, 5), max_size=3)))
    dtype = draw(st.sampled_from(["float32", "float16", "int64", "bool", "uint8"]))
    constants = {names[1]: np.ones(shape, dtype), names[2]: np.zeros((), np.float32)}
    nodes = tuple(
        Node(
            name=draw(WORDS),
            op=draw(st.sampled_from(list(operations()))),
            inputs=tuple(draw(st.lists(st.sampled_from(["", *names[: i + 3]]), max_size=3))),
            outputs=(output,),
            attributes=MappingProxyType(draw(ATTRIBUTES)),
        )
        for i, output in enumerate(names[3:])
    )
    return Graph(draw(WORDS), Port(names[0], (1, *shape)), names[-1], nodes, constants)


@given(graph=graphs())
def test_a_graph_comes_back_the_same(graph: Graph) -> None:
    document, arrays = to_document(graph)
    again = from_document(json.loads(json.dumps(document, allow_nan=False)), arrays)
    assert (again.name, again.input, again.output) == (graph.name, graph.input, graph.output)
    assert again.nodes == graph.nodes
    for node, before in zip(again.nodes, graph.nodes, strict=True):
        kinds = [[type(v) for v in n.attributes.values()] for n in (node, before)]
        assert kinds[0] == kinds[1]
    assert list(again.constants) == list(graph.constants)
    assert all(again.constants[name] is value for name, value in graph.constants.items())


def small() -> Graph:
    attributes = MappingProxyType({"alpha": 0.5, "transB": 1})
    nodes = (
        Node("dense", "Gemm", ("x", "w", ""), ("h",), attributes),
        Node("relu", "Relu", ("h",), ("y",)),
    )
    return Graph("small", Port("x", (1, 3)), "y", nodes, {"w": np.ones((2, 3), np.float32)})


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("version",), 2, "format version 2"),
        (("version",), True, "format version True"),
        (("name",), None, "the graph's name"),
        (("input",), [], "the graph's input"),
        (("input", "shape"), [2, 3], "must begin with 1"),
        (("input", "shape"), [1, -3], "shape of the graph's input"),
        (("input", "shape"), [1, 3.0], "shape of the graph's input"),
        (("output",), "z", "output 'z' is made by no node"),
        (("nodes",), {}, "a list of nodes"),
        (("nodes", 0), "Gemm", "node number 0"),
        (("nodes", 0, "op"), 7, "operation of node number 0"),
        (("nodes", 0, "inputs"), [1], "an input of node number 0"),
        (("nodes", 0, "inputs"), ["z"], "reads tensor 'z'"),
        (("nodes", 1, "outputs"), ["h"], "makes tensor 'h'"),
        (("nodes", 0, "attributes"), [], "attributes of node number 0"),
        (("nodes", 0, "attributes", "alpha"), None, "'alpha' of node number 0"),
        (("nodes", 0, "attributes", "alpha"), [1, 0.5], "'alpha' of node number 0"),
        (("nodes", 0, "attributes", "alpha"), float("nan"), "'alpha' of node number 0"),
        (("nodes", 0, "attributes", "transB"), True, "'transB' of node number 0"),
        (("constants",), ["w"], "list of constants"),
        (("constants", "w"), [3, 2], "has shape [2, 3]"),
        (("constants", "v"), [1], "constant 'v' is missing"),
    ],
)
def test_damage_is_named(path: tuple[Any, ...], value: object, said: str) -> None:
    document, arrays = to_document(small())
    damaged = copy.deepcopy(document)
    room: Any = damaged
    for key in path[:-1]:
        room = room[key]
    room[path[-1]] = value
    with pytest.raises(GraphError) as caught:
        from_document(damaged, arrays)
    assert said in str(caught.value)


def test_missing_and_further_keys_are_found() -> None:
    document, arrays = to_document(small())
    for changed in ({**document, "more": 1}, {k: v for k, v in document.items() if k != "nodes"}):
        with pytest.raises(GraphError):
            from_document(changed, arrays)
    with pytest.raises(GraphError):
        from_document(None, arrays)


def test_arrays_must_hold_numbers() -> None:
    document, _ = to_document(small())
    with pytest.raises(GraphError, match="constant 'w'"):
        from_document(document, {"w": np.array([["a", "b", "c"]] * 2)})


def test_an_unknown_operation_is_named() -> None:
    document, arrays = to_document(small())
    document["nodes"][1]["op"] = "Conjure"
    with pytest.raises(UnsupportedError, match="'relu' is a Conjure"):
        from_document(document, arrays)


JUNK = st.recursive(
    st.none() | st.booleans() | INTEGERS | FLOATS | WORDS,
    lambda part: st.lists(part) | st.dictionaries(WORDS, part),
    max_leaves=8,
)


@given(junk=JUNK, where=st.sampled_from(sorted(to_document(small())[0])))
def test_junk_gives_our_error_or_a_graph(junk: object, where: str) -> None:
    document, arrays = to_document(small())
    document[where] = junk
    try:
        from_document(document, arrays)
    except GraphError as error:
        assert str(error)  # noqa: PT017 - both ways out are right


def test_an_attribute_that_json_cannot_hold_is_refused() -> None:
    endless = Node("n", "Relu", ("x",), ("y",), MappingProxyType({"alpha": float("inf")}))
    with pytest.raises(GraphError, match="'alpha'"):
        to_document(Graph("g", Port("x", (1, 3)), "y", (endless,), {}))

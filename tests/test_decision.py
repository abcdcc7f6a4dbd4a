"""Decisions: margins and their gradients, losses, and numbers of any size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.decision import Decision, decision_graph, ends_in_classes, softplus
from calib.graph.model import Graph, Node, Port
from tests.small_networks import chain, classifier

Array = np.ndarray[Any, Any]
CLASSES = Decision(classes=True)


def projected(outputs: int, seed: int = 0) -> Decision:
    return Decision(False, np.random.default_rng(seed).standard_normal(outputs))  # noqa: FBT003


def test_the_margin_is_the_lead_of_the_best_class_over_the_second() -> None:
    answers = np.float32([[1, 5, 3], [-1, -1, -9], [0, 0.5, 0]])
    np.testing.assert_array_equal(CLASSES.margins(answers), [2, 0, 0.5])


def test_without_classes_the_margin_is_the_projection() -> None:
    answers = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    decision = Decision(classes=False, projection=np.float32([1, 0, 0, 0, 0, -2]))
    np.testing.assert_array_equal(decision.margins(answers), [0 - 10, 6 - 22])


@pytest.mark.parametrize("decision", [CLASSES, projected(6)], ids=["classes", "projection"])
@given(seed=st.integers(0, 2**32 - 1))
def test_seeds_are_the_gradient_of_the_margin(decision: Decision, seed: int) -> None:
    shape = (3, 6) if decision.classes else (3, 2, 3)
    generator = np.random.default_rng(seed)
    answers = generator.permutation(np.arange(18.0)).reshape(shape)  # no two alike
    found = decision.seeds(answers)
    assert found.shape == shape
    for index in np.ndindex(shape):
        step = np.zeros(shape)
        step[index] = 1e-3
        slope = (decision.margins(answers + step) - decision.margins(answers - step)) / 2e-3
        np.testing.assert_allclose(slope[index[0]], found[index], atol=1e-9)


@given(margin=st.floats(-30, 30), change=st.floats(-30, 30))
def test_the_predicted_rise_is_that_of_the_logistic_loss(margin: float, change: float) -> None:
    found = CLASSES.predicted_rise(np.array([margin]), np.array([change]))
    expected = math.log1p(math.exp(-margin - change)) - math.log1p(math.exp(-margin))
    np.testing.assert_allclose(found, [expected], atol=1e-12)


def test_without_classes_the_rise_is_the_square() -> None:
    found = projected(3).predicted_rise(np.float32([1, 2]), np.float32([-3, 0.5]))
    np.testing.assert_allclose(found, [9, 0.25])


@given(seed=st.integers(0, 2**32 - 1), size=st.floats(0.01, 30))
def test_the_loss_is_the_divergence_of_the_class_probabilities(seed: int, size: float) -> None:
    clean, answers = size * np.random.default_rng(seed).standard_normal((2, 4, 5))
    p, q = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (clean, answers))
    expected = (p * np.log(p / q)).sum(axis=1)
    np.testing.assert_allclose(CLASSES.losses(clean, answers), expected, rtol=1e-6, atol=1e-12)


@given(seed=st.integers(0, 2**32 - 1), shift=st.floats(-100, 100))
def test_nothing_is_better_than_the_clean_answer_itself(seed: int, shift: float) -> None:
    """Not even a surer one: a loss of the margin alone would refuse to repair it."""
    clean = np.random.default_rng(seed).standard_normal((3, 4))
    np.testing.assert_allclose(CLASSES.losses(clean, clean + shift), 0, atol=1e-12)
    assert (CLASSES.losses(clean, 2 * clean) > 1e-9).all()


def test_without_classes_the_loss_is_the_squared_error_over_the_mean_power() -> None:
    clean, answers = np.float32([[3, 4], [1, 0], [0, 2]]), np.float32([[3, 6], [1, 0], [3, 2]])
    np.testing.assert_allclose(projected(2).losses(clean, answers), [4 / 10, 0, 9 / 10])
    silence = np.zeros((2, 2), np.float32)
    np.testing.assert_array_equal(projected(2).losses(silence, silence), [0, 0])


def test_judging_leaves_the_answers_as_they_are() -> None:
    clean, answers = np.array([[0.0, 9.0]]), np.array([[2.0, 1.0]])
    CLASSES.losses(clean, answers)
    np.testing.assert_array_equal(answers, [[2, 1]])


@given(x=st.floats(-700, 700))
def test_softplus_is_the_logarithm(x: float) -> None:
    expected = math.log1p(math.exp(x)) if x < 30 else x + math.log1p(math.exp(-x))
    assert math.isclose(softplus(np.array([x]))[0], expected, rel_tol=1e-14)


@pytest.mark.parametrize("decision", [CLASSES, projected(3)], ids=["classes", "projection"])
@pytest.mark.parametrize("size", [0.0, 1e-38, 1e-20, 1e20, 3e38])
def test_answers_of_any_size_raise_no_warning(decision: Decision, size: float) -> None:
    clean = np.float32(size) * np.float32([[1, 0, -1]])
    losses = decision.losses(clean, -clean)
    rises = decision.predicted_rise(np.float32([size]), np.float32([-size]))
    assert np.isfinite([losses, rises]).all()
    np.testing.assert_array_equal(softplus(np.float32([-size])) >= 0, [True])


def test_answers_of_infinities_have_a_loss_that_is_no_number() -> None:
    clean = np.float32([[1, 0, -1]])
    assert np.isnan(CLASSES.losses(clean, np.full_like(clean, np.inf)))
    assert not np.isfinite(projected(3).losses(clean, np.full_like(clean, np.inf)))


@pytest.mark.parametrize("end", ["Softmax", "LogSoftmax"])
def test_only_a_final_softmax_is_cut(end: str) -> None:
    port = Port("x", (1, 3))
    middle = Node("middle", "Softmax", ("x",), ("a",))
    last = Node("last", end, ("b",), ("y",))
    nodes = (middle, Node("relu", "Relu", ("a",), ("b",)), last)
    graph = Graph("net", port, "y", nodes, {})
    cut = decision_graph(graph)
    assert (cut.nodes, cut.output) == (nodes[:-1], "b")
    assert ends_in_classes(graph)
    assert decision_graph(cut) is cut
    assert not ends_in_classes(cut)


def test_a_softmax_that_is_not_the_output_stays() -> None:
    nodes = (Node("relu", "Relu", ("x",), ("y",)), Node("side", "Softmax", ("x",), ("z",)))
    graph = Graph("net", Port("x", (1, 3)), "y", nodes, {})
    assert decision_graph(graph) is graph


def test_networks_without_a_softmax_do_not_say_that_they_tell_classes() -> None:
    assert ends_in_classes(classifier())
    assert not ends_in_classes(chain(2))
    empty = Graph("empty", Port("x", (1, 3)), "x", (), {})
    assert decision_graph(empty) is empty

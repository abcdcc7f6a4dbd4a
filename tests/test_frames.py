"""Networks for sequences of frames: gradients, export, what they compute, variants of features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.adam import AdamOptions
from calib.decision import decision_graph
from calib.graph.executor import run
from calib.graph.model import Graph
from calib.importers import load_model
from calib.importers.onnx_export import write_onnx
from calib.loss_gradient import loss_and_gradients, with_constants
from calib.losses import cross_entropy, one_hot
from calib.train.descent import TrainingOptions, train
from calib.train.frames import Frames, TimeConvolution, learning_constants, time_network
from calib.train.transformer import TransformerShape, transformer_network
from calib.train.variations import Variation, varied

Array = np.ndarray[Any, Any]
SHAPE = TransformerShape(width=6, heads=2, hidden=8, blocks=1, patch=3, stride=2)


def features(count: int, seed: int = 0) -> Array:
    """Samples of 9 frames of 3 coefficients of different size."""
    drawn = np.random.default_rng(seed).standard_normal((count, 9, 3, 1))
    return (drawn * [[10], [3], [1]] - [[20], [0], [5]]).astype(np.float32)


def network(kind: str, seed: int = 0) -> Graph:
    frames, generator = Frames.of(features(50)), np.random.default_rng(seed)
    if kind == "transformer":
        return transformer_network("words", frames, SHAPE, 3, generator)
    layers = (TimeConvolution(4, kernel=3, stride=2), TimeConvolution(6, kernel=3, groups=2))
    return time_network("words", frames, layers, 3, generator)


KINDS = pytest.mark.parametrize("kind", ["transformer", "convolutions"])


@KINDS
def test_all_gradients_equal_finite_differences(kind: str) -> None:
    graph = decision_graph(network(kind))
    generator = np.random.default_rng(1)
    wide = {name: value.astype(np.float64) for name, value in graph.constants.items()
            if value.dtype == np.float32}  # fmt: skip
    graph = with_constants(graph, wide)
    weights = {
        name: graph.constants[name] + generator.normal(0, 0.1, graph.constants[name].shape)
        for name in learning_constants(network(kind))
    }
    samples, indices = features(4, 2).astype(np.float64), np.arange(4)
    loss = cross_entropy(one_hot(np.array([0, 1, 2, 1]), 3).astype(np.float64))
    _, slopes = loss_and_gradients(graph, weights, samples, indices, loss)
    assert set(slopes) == set(weights)
    for name, weight in weights.items():
        for flat in generator.choice(weight.size, min(weight.size, 6), replace=False):
            place, values = np.unravel_index(flat, weight.shape), []
            for step in (1e-6, -1e-6):
                moved = weight.copy()
                moved[place] += step
                answers = run(with_constants(graph, {**weights, name: moved}), samples)
                values.append(loss(answers[graph.output], indices)[0])
            slope = (values[0] - values[1]) / 2e-6
            assert slopes[name][place] == pytest.approx(slope, abs=2e-8), (name, place)


@KINDS
def test_onnxruntime_and_the_importer_give_the_same_answers(kind: str, tmp_path: Path) -> None:
    graph = network(kind)
    write_onnx(graph, tmp_path / "words.onnx")
    x = features(5, 3)
    wanted = run(graph, x)[graph.output]
    np.testing.assert_allclose(wanted.sum(axis=1), 1, rtol=1e-5)
    session = onnxruntime.InferenceSession((tmp_path / "words.onnx").read_bytes())
    np.testing.assert_allclose(session.run(None, {"features": x})[0], wanted, atol=1e-5)
    back = load_model(tmp_path / "words.onnx")
    np.testing.assert_allclose(run(back, x)[back.output], wanted, atol=1e-5)


def test_everything_but_shapes_and_statistics_learns() -> None:
    graph = network("transformer")
    names = learning_constants(graph)
    assert "positions" in names
    assert "block_1/attention/normal/scale" in names
    assert "classifier/offset" in names
    rest = set(graph.constants) - set(names)
    assert {name.split("/")[-1] for name in rest} == {
        "shape", "mean", "scale", "heads", "whole", "axes",
    }  # fmt: skip
    assert "block_1/attention/scale" in rest


def test_a_transformer_learns_an_order_that_a_mean_over_time_cannot_see() -> None:
    """Whether the loud frame of one coefficient comes before that of the other."""
    generator = np.random.default_rng(0)
    x = generator.normal(0, 0.1, (240, 9, 3, 1)).astype(np.float32)
    early, late = generator.integers(0, 4, 240), generator.integers(5, 9, 240)
    labels = generator.integers(0, 2, 240)
    sample = np.arange(240)
    x[sample, np.where(labels, early, late), 0] += 3
    x[sample, np.where(labels, late, early), 1] += 3
    frames = Frames.of(x)
    graph = transformer_network("order", frames, SHAPE, 2, generator)
    options = TrainingOptions(epochs=30, adam=AdamOptions(1e-2))
    loss = cross_entropy(one_hot(labels, 2))
    names = learning_constants(graph)
    done = train(decision_graph(graph), x[:200], loss, options, generator, names=names)
    named = run(done.graph, x[200:])[done.graph.output].argmax(axis=1)
    assert (named == labels[200:]).mean() > 0.9


NONE = Variation(shift=0, noise=0.0, level=0.0, hidden=0, mixed=0.0)


@given(seed=st.integers(0, 2**32 - 1), shift=st.integers(0, 8))
def test_moved_features_repeat_what_they_begin_or_end_with(seed: int, shift: int) -> None:
    x = features(6, 4)
    found = varied(x, 10, Variation(shift, 0.0, 0.0, 0, 0.0), np.random.default_rng(seed))
    possible = [
        one[np.clip(np.arange(9) + move, 0, 8)] for one in x for move in range(-shift, shift + 1)
    ]
    for variant in found:
        assert any(np.allclose(variant, one, atol=1e-5) for one in possible)
    assert found.dtype == x.dtype


def test_without_variation_features_are_drawn_as_they_are() -> None:
    x = features(6, 4)
    found = varied(x, 50, NONE, np.random.default_rng(0))
    matches = np.isclose(found[:, None], x[None], atol=1e-5).all(axis=(2, 3, 4))
    assert (matches.sum(axis=1) == 1).all()
    assert matches.any(axis=0).all()


def test_mixed_features_lie_between_two_and_hidden_frames_are_the_mean() -> None:
    generator = np.random.default_rng(0)
    two = np.stack([np.zeros((9, 3, 1)), np.ones((9, 3, 1))]).astype(np.float32)
    mixed = varied(two, 100, Variation(0, 0.0, 0.0, 0, 1.0), generator)
    assert ((mixed >= 0) & (mixed <= 1)).all()
    assert ((mixed > 0.01) & (mixed < 0.99)).any()
    ramp = np.arange(9, dtype=np.float32)[None, :, None, None] * np.ones((1, 9, 3, 1), np.float32)
    hidden = varied(ramp, 100, Variation(0, 0.0, 0.0, 4, 0.0), generator)
    changed = np.isclose(hidden, 4) & ~np.isclose(ramp, 4)
    assert changed.any()
    assert (changed | np.isclose(hidden, ramp)).all()

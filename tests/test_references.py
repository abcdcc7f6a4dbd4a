"""References: samples as they are kept, positions, and what recomputed and stored ones answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from calib.decision import Decision, decision_graph
from calib.errors import CalibError
from calib.graph.executor import gradients, run
from calib.graph.linear import linear_layers, multiply
from calib.graph.model import Graph
from calib.references import (
    BLOCK_SAMPLES,
    RecomputedReferences,
    SampleCodes,
    draw_positions,
    encode_samples,
    fit_indices,
    held_back_indices,
    in_blocks,
    recompute_references,
)
from calib.stored_references import store_references
from tests.small_networks import chain, classifier, samples_for, signal_network

Array = np.ndarray[Any, Any]
SEEDS = st.integers(0, 2**32 - 1)
COUNT, HELD_BACK, POSITIONS = 20, 6, 4
SIGNALS = Decision(classes=False, projection=np.float32([1, -2, 0.5]))
KINDS = pytest.mark.parametrize(
    ("graph", "decision"),
    [(classifier(), Decision(classes=True)), (signal_network(), SIGNALS)],
    ids=["classifier", "signals"],
)


def recomputed(graph: Graph, decision: Decision) -> RecomputedReferences:
    samples = encode_samples(samples_for(graph, COUNT))
    return recompute_references(
        graph, decision, samples, held_back=HELD_BACK, positions=POSITIONS, seed=5
    )


def decoded(samples: SampleCodes) -> Array:
    return samples.decoded(np.arange(len(samples.codes)))


@given(seed=SEEDS, count=st.integers(1, 6), low=st.integers(0, 250), levels=st.integers(1, 256))
def test_images_are_kept_exactly(seed: int, count: int, low: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    images = generator.integers(low, min(low + levels, 256), (count, 5, 5, 3)).astype(np.float32)
    found = encode_samples(images)
    assert found.codes.dtype == np.uint8
    np.testing.assert_array_equal(decoded(found), images)


@given(
    seed=SEEDS,
    step=st.floats(1e-6, 1e6),
    zero_point=st.integers(-128, 127),
    rare=st.booleans(),
)
def test_dequantised_values_are_kept_on_their_grid(
    seed: int,
    step: float,
    zero_point: int,
    rare: bool,  # noqa: FBT001 -- drawn
) -> None:
    generator = np.random.default_rng(seed)
    codes = generator.integers(-128, 128, (2, 4) if rare else (8, 100))
    values = np.float32(step) * (codes - zero_point).astype(np.float32)
    found = encode_samples(values)
    assert found.codes.dtype == np.uint8
    np.testing.assert_allclose(decoded(found), values, rtol=1e-6, atol=1e-4 * step)


@given(seed=SEEDS, size=st.integers(-12, 12).map(lambda power: 10.0**power))
def test_other_values_become_half_precision(seed: int, size: float) -> None:
    values = (size * np.random.default_rng(seed).standard_normal((4, 200))).astype(np.float32)
    found = encode_samples(values)
    assert found.codes.dtype == np.float16
    np.testing.assert_allclose(decoded(found), values, atol=2**-11 * np.abs(values).max())


@pytest.mark.parametrize("value", [0.0, -3.7, 1e-12, 2e30])
@pytest.mark.parametrize("shape", [(3, 4), (1, 1)])
def test_samples_of_one_value_are_exact(value: float, shape: tuple[int, ...]) -> None:
    samples = np.full(shape, value, np.float32)
    found = encode_samples(samples)
    np.testing.assert_array_equal(decoded(found), samples)
    assert found.bytes_per_sample == shape[1]


def test_a_grid_with_one_value_off_it_is_no_grid() -> None:
    samples = np.arange(256, dtype=np.float32)[None]
    assert encode_samples(samples).codes.dtype == np.uint8
    samples[0, 7] += 0.01
    assert encode_samples(samples).codes.dtype == np.float16


def test_values_far_from_zero_keep_their_differences() -> None:
    values = np.random.default_rng(0).normal(300, 1, (4, 300)).astype(np.float32)
    error = np.abs(decoded(encode_samples(values)) - values).max()
    assert error <= (values.max() - values.min()) * 2**-12


def test_samples_next_to_much_larger_ones_become_zero_without_warning() -> None:
    samples = np.float32([[1e-30, 1.0, 0.3, 0.123456]])
    np.testing.assert_allclose(decoded(encode_samples(samples)), samples, atol=1e-3)


@given(per_sample=st.integers(1, 80), seed=SEEDS)
def test_positions_are_distinct_in_order_and_in_range(per_sample: int, seed: int) -> None:
    layers = linear_layers(classifier())
    drawn = draw_positions(layers, 7, per_sample, np.random.default_rng(seed))
    for layer in layers:
        at = drawn[layer.name].astype(int)
        assert at.shape == (7, min(per_sample, layer.positions))
        assert (np.diff(at, axis=1) > 0).all()
        assert at.min() >= 0
        assert at.max() < layer.positions


def test_positions_follow_from_the_seed_and_reach_everywhere() -> None:
    graph, decision = classifier(), Decision(classes=True)
    first, again = recomputed(graph, decision), recomputed(graph, decision)
    for name, at in first.positions.items():
        np.testing.assert_array_equal(at, again.positions[name])
    layers = linear_layers(graph)
    drawn = draw_positions(layers, 500, 4, np.random.default_rng(0))["first"]
    counts = np.bincount(drawn.reshape(-1).astype(int), minlength=64)
    assert counts.min() > 0.4 * counts.mean()


@KINDS
def test_a_recomputed_block_is_what_the_network_does(graph: Graph, decision: Decision) -> None:
    references = recomputed(graph, decision)
    indices = np.array([13, 2, 7])
    block = references.block(indices, with_gradients=True)
    cut = decision_graph(graph)
    values = run(cut, references.samples.decoded(indices), keep=None)
    np.testing.assert_array_equal(block.answers, values[cut.output])
    layers = linear_layers(cut)
    by = gradients(cut, values, decision.seeds(block.answers), [la.output for la in layers])
    sample = np.arange(3)[:, None]
    for layer in layers:
        at = references.positions[layer.name][indices].astype(int)
        np.testing.assert_array_equal(block.positions[layer.name], at)
        seen = block.layers[layer.name]
        outputs = layer.output_rows(values[layer.output])[sample, at]
        np.testing.assert_array_equal(seen.outputs, outputs)
        expected = multiply(layer.rows(values[layer.input])[sample, at], layer.weight) + layer.bias
        np.testing.assert_allclose(seen.outputs, expected, atol=1e-5)
        assert seen.rows.shape == (3, at.shape[1], layer.groups, layer.inputs)
        np.testing.assert_array_equal(
            seen.gradients, layer.output_rows(by[layer.output])[sample, at]
        )


@KINDS
def test_stored_references_are_recomputed_ones_within_their_codes(
    graph: Graph, decision: Decision
) -> None:
    source = recomputed(graph, decision)
    stored = store_references(source, source.layers, source.samples)
    assert (stored.count, stored.held_back) == (source.count, source.held_back)
    indices = np.array([6, 19, 11])
    expected = source.block(indices, with_gradients=True)
    found = stored.block(indices, with_gradients=True)
    np.testing.assert_array_equal(found.inputs, expected.inputs)
    np.testing.assert_allclose(found.answers, expected.answers, rtol=1e-5, atol=1e-6)
    for layer in source.layers:
        name = layer.name
        one, other = found.layers[name], expected.layers[name]
        np.testing.assert_array_equal(found.positions[name], expected.positions[name])
        step = stored.layers[name].row_scale
        np.testing.assert_allclose(one.rows, other.rows, atol=0.51 * step)
        largest = stored.layers[name].output_scale
        np.testing.assert_allclose(one.outputs, other.outputs, atol=largest * 2**-11)
        assert one.gradients is not None
        assert other.gradients is not None
        for mine, clean in zip(one.gradients, other.gradients, strict=True):
            np.testing.assert_allclose(mine, clean, atol=0.51 * np.abs(clean).max() / 127 + 1e-9)


def test_held_back_samples_only_judge() -> None:
    source = recomputed(classifier(), Decision(classes=True))
    stored = store_references(source, source.layers, source.samples)
    np.testing.assert_array_equal(held_back_indices(stored), range(HELD_BACK))
    np.testing.assert_array_equal(fit_indices(stored), range(HELD_BACK, COUNT))
    judging = stored.block(held_back_indices(stored))
    clean = source.block(held_back_indices(source))
    for name, layer in judging.layers.items():
        assert len(layer.rows) == 0
        assert layer.gradients is None
        largest = stored.layers[name].output_scale
        np.testing.assert_allclose(layer.outputs, clean.layers[name].outputs, atol=1e-3 * largest)
        assert len(stored.layers[name].rows) == COUNT - HELD_BACK
        assert len(stored.layers[name].gradients) == COUNT - HELD_BACK
    with pytest.raises(CalibError, match="held-back samples have no stored gradients"):
        stored.block(np.array([HELD_BACK - 1, HELD_BACK]), with_gradients=True)


def test_blocks_cover_all_samples_once_in_order() -> None:
    references = recomputed(chain(2), Decision(classes=True))
    blocks = list(in_blocks(references, np.arange(COUNT)))
    assert [len(block.indices) for block in blocks] == [BLOCK_SAMPLES, BLOCK_SAMPLES, 4]
    np.testing.assert_array_equal(np.concatenate([b.indices for b in blocks]), np.arange(COUNT))


@given(seed=SEEDS)
def test_a_layer_that_is_silent_can_be_stored(seed: int) -> None:
    graph = chain(2, seed=seed)
    assume(graph.constants["w0"].any())
    graph.constants["w0"][:] = 0  # type: ignore[index]  # a dict, as it happens
    source = recomputed(graph, Decision(classes=True))
    stored = store_references(source, source.layers, source.samples)
    found = stored.block(fit_indices(stored), with_gradients=True)
    assert not found.layers["layer0"].outputs.any()
    assert not found.layers["layer1"].rows.any()

"""References that are drawn: always the same for a number, with the moments of the samples."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.decision import Decision, decision_graph
from calib.drawn_references import DrawnReferences, references_from_moments
from calib.errors import CalibError
from calib.graph.linear import LinearLayer, linear_layers, multiply
from calib.graph.model import Graph
from calib.input_moments import InputMoments, input_moments, moment_bytes
from calib.references import (
    Indices,
    LayerReference,
    RecomputedReferences,
    ReferenceBlock,
    encode_samples,
    recompute_references,
)
from calib.schemes.activations import ActivationCode, code_for_range
from tests.small_networks import chain, classifier, dense_layer, samples_for, signal_network

Array = np.ndarray[Any, Any]
GRAPHS = {
    "classifier": classifier(),
    "dense": classifier(groups=1),
    "signal": signal_network(),
    "chain": chain(3, 12, relu=True),
}
EVERY_GRAPH = pytest.mark.parametrize("kind", GRAPHS)
SAMPLES, HELD_BACK = 96, 24


def recomputed(graph: Graph, count: int = SAMPLES) -> RecomputedReferences:
    samples = encode_samples(samples_for(graph, count))
    return recompute_references(
        graph, Decision(classes=True), samples, held_back=HELD_BACK, positions=64, seed=0
    )


def codes_of(references: RecomputedReferences) -> dict[str, ActivationCode]:
    """Ranges that hold everything."""
    block = references.block(np.arange(references.count))
    rows = {name: look.rows for name, look in block.layers.items()}
    return {name: code_for_range(x.min(), x.max(), 8) for name, x in rows.items()}


@cache
def drawn(kind: str, rank: int = 16) -> DrawnReferences:
    references = recomputed(GRAPHS[kind])
    codes = codes_of(references)
    return references_from_moments(references, codes, rank=rank, rows=16, seed=5)


def rows_of(references: DrawnReferences, indices: Indices) -> dict[str, Array]:
    """By layer, the rows of some draws: [n, groups, d]."""
    block = references.block(indices)
    return {
        name: look.rows.reshape(-1, *look.rows.shape[2:]) for name, look in block.layers.items()
    }


def covariances(rows: Array) -> Array:
    """Of each group: [groups, d, d]."""
    groups = [np.cov(rows[:, group].T.astype(np.float64)) for group in range(rows.shape[1])]
    return np.stack([np.atleast_2d(one) for one in groups])


@EVERY_GRAPH
def test_a_draw_is_the_same_whatever_it_is_asked_for_with(kind: str) -> None:
    references = drawn(kind)
    together, alone = references.block(np.array([3, 50])), references.block(np.array([50]))
    for layer in references.layers:
        look = together.layers[layer.name]
        assert look.rows.shape == (2, 16, layer.groups, layer.inputs)
        assert look.outputs.shape == (2, 16, layer.outputs)
        np.testing.assert_array_equal(look.rows[1:], alone.layers[layer.name].rows)
        assert not np.array_equal(look.rows[0], look.rows[1])


@EVERY_GRAPH
def test_outputs_are_what_the_float_network_makes_of_the_rows(kind: str) -> None:
    block = drawn(kind).block(np.arange(4))
    for layer in linear_layers(decision_graph(GRAPHS[kind])):
        look = block.layers[layer.name]
        expected = multiply(look.rows, layer.weight) + layer.bias
        np.testing.assert_allclose(look.outputs, expected, atol=1e-6)


@EVERY_GRAPH
def test_no_value_is_outside_the_range_of_the_array(kind: str) -> None:
    references = drawn(kind)
    for name, rows in rows_of(references, np.arange(60)).items():
        low, high = references.activations[name].limits
        assert low < rows.min()
        assert rows.max() < high


@EVERY_GRAPH
def test_drawn_rows_have_the_means_and_covariances_of_the_samples(kind: str) -> None:
    source = recomputed(GRAPHS[kind])
    seen = source.block(np.arange(source.count)).layers
    for name, rows in rows_of(drawn(kind), np.arange(500)).items():
        real = seen[name].rows.reshape(-1, *rows.shape[1:]).astype(np.float64)
        largest = real.std(axis=0).max()
        assert np.abs(real.mean(axis=0) - rows.mean(axis=0)).max() < 0.08 * largest
        assert np.abs(real.std(axis=0) - rows.std(axis=0)).max() < 0.12 * largest
        wanted, found = (covariances(of) for of in (real, rows))
        assert np.linalg.norm(wanted - found) < 0.25 * np.linalg.norm(wanted), name


def test_a_higher_rank_comes_nearer_to_the_full_covariance() -> None:
    source = recomputed(GRAPHS["dense"])
    name = source.layers[1].name
    real = covariances(source.block(np.arange(SAMPLES)).layers[name].rows.reshape(-1, 1, 54))
    rows = [rows_of(drawn("dense", rank), np.arange(500))[name] for rank in (0, 4, 16)]
    errors = [np.linalg.norm(covariances(some) - real) for some in rows]
    assert errors[0] > 1.2 * errors[1]
    assert errors[1] > 1.05 * errors[2]


def test_draws_that_judge_are_not_those_of_the_fit() -> None:
    references = drawn("classifier")
    assert (references.count, references.held_back) == (SAMPLES, HELD_BACK)
    everything = rows_of(references, np.arange(SAMPLES))["first"].reshape(SAMPLES, -1)
    assert len(np.unique(everything, axis=0)) == SAMPLES


def test_drawn_rows_have_no_gradients() -> None:
    with pytest.raises(CalibError, match="have no gradients"):
        drawn("chain").block(np.arange(2), with_gradients=True)


@EVERY_GRAPH
@pytest.mark.parametrize("rank", [0, 3, 16])
def test_moments_take_the_bytes_that_are_planned(kind: str, rank: int) -> None:
    references = drawn(kind, rank)
    found = sum(moments.bytes for moments in references.moments.values())
    assert found == moment_bytes(references.layers, rank)
    assert references.rank == min(rank, max(layer.inputs for layer in references.layers))


def moments_of(rows: Array, code: ActivationCode, rank: int = 4) -> InputMoments:
    """The moments of rows [n, d] of a layer of its own."""
    layer = dense_layer(rows.shape[1], 2)
    block = block_of(layer, rows.astype(np.float32))
    return input_moments([layer], {"dense": code}, [block], rank)["dense"]


def block_of(layer: LinearLayer, rows: Array) -> ReferenceBlock:
    look = LayerReference(rows[None, :, None], np.zeros((1, len(rows), 2), np.float32), None)
    nothing = np.zeros((1, 0), np.float32)
    return ReferenceBlock(np.arange(1), nothing, nothing, {}, {layer.name: look})


@given(power=st.integers(-12, 12), seed=st.integers(0, 2**32 - 1))
def test_moments_do_not_depend_on_the_scale(power: int, seed: int) -> None:
    rows = np.maximum(np.random.default_rng(seed).standard_normal((50, 6)), 0)
    with np.errstate(under="ignore"):
        one = moments_of(rows, code_for_range(0, float(rows.max()), 8))
        scale = 10.0**power
        other = moments_of(rows * scale, code_for_range(0, float(rows.max() * scale), 8))
        # The comparison itself multiplies means that may be next to nothing.
        np.testing.assert_allclose(one.means, other.means, rtol=0.01, atol=0.05)
        np.testing.assert_allclose(one.deviations, other.deviations, rtol=0.01, atol=0.05)


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((20, 3)),
        np.full((20, 3), 0.7),
        np.ones((1, 3)),
        np.tile([0.0, 1.0, 0.5], (9, 1)),
        np.outer(np.linspace(0, 1, 30), [1.0, 1.0, 0.0]),
        np.eye(3)[np.arange(3000) % 1000 % 3] * (np.arange(3000) < 2)[:, None],
    ],
    ids=["zero", "constant", "one", "constants", "alike", "rare"],
)
def test_rows_that_hardly_vary_are_drawn_as_they_are(rows: Array) -> None:
    code = code_for_range(0, 1, 8)
    moments = moments_of(rows, code)
    found = moments.drawn(4000, code, np.random.default_rng(0))[:, 0]
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.mean(axis=0), rows.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(found.std(axis=0), rows.std(axis=0), atol=0.03)

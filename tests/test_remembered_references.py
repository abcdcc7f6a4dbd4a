"""References that keep outputs: the same answers, computed once, within the limit of bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from calib.decision import Decision
from calib.graph.linear import LinearLayer
from calib.references import (
    Indices,
    RecomputedReferences,
    ReferenceBlock,
    SampleCodes,
    encode_samples,
    recompute_references,
)
from calib.remembered_references import RememberedReferences, remembering
from calib.stored_references import store_references
from tests.small_networks import classifier, samples_for

COUNT, HELD_BACK, POSITIONS = 20, 6, 4
PLENTY = 10**6


def recomputed() -> RecomputedReferences:
    graph = classifier()
    samples = encode_samples(samples_for(graph, COUNT))
    return recompute_references(
        graph,
        Decision(classes=True),
        samples,
        held_back=HELD_BACK,
        positions=POSITIONS,
        seed=5,
    )


@dataclass
class Counting:
    """Recomputed references that note which samples were computed."""

    source: RecomputedReferences = field(default_factory=recomputed)
    computed: list[int] = field(default_factory=list)

    @property
    def count(self) -> int:
        return self.source.count

    @property
    def held_back(self) -> int:
        return self.source.held_back

    @property
    def samples(self) -> SampleCodes:
        return self.source.samples

    @property
    def positions(self) -> Mapping[str, Indices]:
        return self.source.positions

    @property
    def layers(self) -> Sequence[LinearLayer]:
        return self.source.layers

    def block(self, indices: Indices, *, with_gradients: bool, with_rows: bool) -> ReferenceBlock:
        self.computed += indices.tolist()
        return self.source.block(indices, with_gradients=with_gradients, with_rows=with_rows)


def over(
    source: Counting, capacity_bytes: int = PLENTY, row_bytes: int = PLENTY
) -> RememberedReferences:
    return RememberedReferences(cast("RecomputedReferences", source), capacity_bytes, row_bytes)


def assert_same(found: ReferenceBlock, wanted: ReferenceBlock) -> None:
    np.testing.assert_array_equal(found.indices, wanted.indices)
    np.testing.assert_array_equal(found.inputs, wanted.inputs)
    np.testing.assert_allclose(found.answers, wanted.answers, rtol=1e-5, atol=1e-6)
    assert found.positions.keys() == wanted.positions.keys()
    for name, layer in wanted.layers.items():
        np.testing.assert_array_equal(found.positions[name], wanted.positions[name])
        np.testing.assert_allclose(found.layers[name].outputs, layer.outputs, rtol=1e-5, atol=1e-6)
        assert found.layers[name].rows.shape[1:] == layer.rows.shape[1:]


def test_outputs_are_computed_once_and_stay_the_same() -> None:
    source = Counting()
    remembered = over(source)
    asked = np.array([3, 1, 17])
    first = remembered.block(asked, with_rows=False)
    again = remembered.block(np.array([17, 3]), with_rows=False)
    assert source.computed == [3, 1, 17]
    assert_same(first, source.source.block(asked, with_rows=False))
    assert_same(again, source.source.block(asked[[2, 0]], with_rows=False))
    assert all(len(layer.rows) == 0 for layer in again.layers.values())


def test_what_was_computed_for_a_fit_serves_the_moment_pass() -> None:
    source = Counting()
    remembered = over(source)
    fit = np.arange(HELD_BACK, COUNT)
    clean = remembered.block(fit, with_gradients=True)
    assert all(layer.gradients is not None for layer in clean.layers.values())
    assert_same(remembered.block(fit[::2], with_rows=False), source.source.block(fit[::2]))
    assert source.computed == fit.tolist()


def test_rows_that_were_computed_to_choose_are_handed_out_once_more() -> None:
    source = Counting()
    remembered = over(source)
    one, other = np.array([8, 9]), np.array([10, 11])
    for indices in (one, other):
        remembered.block(indices, with_gradients=True)
    found = remembered.block(one)
    assert source.computed == [8, 9, 10, 11]
    wanted = source.source.block(one)
    assert_same(found, wanted)
    for name, layer in wanted.layers.items():
        np.testing.assert_allclose(found.layers[name].rows, layer.rows, rtol=1e-5, atol=1e-6)
        assert found.layers[name].gradients is None
    assert_same(remembered.block(one), wanted)
    assert source.computed == [8, 9, 10, 11, 8, 9]


def test_only_the_same_block_gets_its_rows_and_gradients_are_never_kept() -> None:
    source = Counting()
    remembered = over(source)
    indices = np.array([8, 9])
    for _ in range(2):
        found = remembered.block(indices, with_gradients=True)
        assert all(layer.gradients is not None for layer in found.layers.values())
    assert source.computed == [8, 9, 8, 9]
    turned = remembered.block(indices[::-1])
    assert all(len(layer.rows) == 2 for layer in turned.layers.values())
    assert source.computed == [8, 9, 8, 9, 9, 8]


def test_rows_beyond_their_limit_are_computed_again() -> None:
    source = Counting()
    blocks = [np.array([i]) for i in range(HELD_BACK, HELD_BACK + 3)]
    one = sum(layer.rows.nbytes for layer in source.source.block(blocks[0]).layers.values())
    remembered = over(source, row_bytes=2 * one)
    for indices in blocks:
        remembered.block(indices, with_gradients=True)
    source.computed.clear()
    for indices in blocks:
        assert_same(remembered.block(indices), source.source.block(indices))
    assert source.computed == [HELD_BACK + 2]


def test_what_does_not_fit_is_computed_again() -> None:
    source = Counting()
    one = source.source.block(np.array([0]))
    sample_bytes = one.answers.nbytes + sum(look.outputs.nbytes for look in one.layers.values())
    remembered = over(source, 3 * sample_bytes)
    everything = np.arange(COUNT)
    wanted = source.source.block(everything, with_rows=False)
    for _ in range(2):
        assert_same(remembered.block(everything, with_rows=False), wanted)
    assert source.computed == [*range(COUNT), *range(COUNT)]
    remembered.block(np.arange(3), with_rows=False)
    assert len(source.computed) == 2 * COUNT
    remembered.block(np.arange(4), with_rows=False)
    assert len(source.computed) == 2 * COUNT + 4


def test_only_what_is_computed_is_worth_remembering() -> None:
    source = recomputed()
    stored = store_references(source, source.layers, source.samples)
    assert remembering(stored) is stored
    remembered = remembering(source)
    assert (remembered.count, remembered.held_back) == (COUNT, HELD_BACK)
    assert remembered is not source

"""Mixed rows stay in the range of what was seen and show what few samples cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.gathering import gathered
from agent.runtimes.cim import CimRuntime
from calib.mixed_rows import ROWS_AN_INPUT, missing_rows, mixed_rows
from calib.packed import PackedNetwork
from calib.references import fit_indices
from device_models.array import Chip, State
from device_models.presets import preset
from tests.small_networks import classifier, packed


@given(
    seed=st.integers(0, 2**16),
    rows=st.integers(1, 20),
    groups=st.integers(1, 3),
    inputs=st.integers(1, 9),
    count=st.integers(0, 300),
)
def test_every_input_is_that_of_some_row(
    seed: int, rows: int, groups: int, inputs: int, count: int
) -> None:
    generator = np.random.default_rng(seed)
    source = generator.standard_normal((rows, groups, inputs)).astype(np.float32)
    blocks = [source[:0], *mixed_rows(source, count, generator)]
    mixed = np.concatenate(blocks)
    assert mixed.shape == (count, groups, inputs)
    assert mixed.dtype == np.float32
    assert (mixed[:, None] == source[None]).any(axis=1).all()


def test_rows_of_few_samples_span_everything_once_mixed() -> None:
    generator = np.random.default_rng(0)
    source = generator.random((6, 1, 40), np.float32)
    mixed = np.concatenate(list(mixed_rows(source, missing_rows(6, 40), generator)))[:, 0]
    assert np.linalg.matrix_rank(source[:, 0]) == 6
    assert np.linalg.matrix_rank(mixed) == 40
    np.testing.assert_allclose(mixed.mean(), source.mean(), atol=0.02)


def test_rows_are_missing_only_where_there_are_few() -> None:
    assert missing_rows(0, 10) == 10 * ROWS_AN_INPUT
    assert missing_rows(10 * ROWS_AN_INPUT - 1, 10) == 1
    assert missing_rows(10 * ROWS_AN_INPUT, 10) == missing_rows(1000, 10) == 0


def test_what_a_chip_does_to_a_layer_is_known_after_one_sample() -> None:
    """Most of what a linear array's weights deviate by shows already."""
    network = packed(classifier(groups=1), count=48, scheme="int4")
    runtime = CimRuntime(network, Chip(preset("mismatch-20"), 3), State(), np.random.default_rng(0))
    one = fit_indices(network.references)[:1]
    for name, fit in gathered(runtime, network, one):
        deviation = _deviation(runtime, network, name)
        found = fit.statistics().map_z - fit.layer.weight[0]
        assert np.linalg.norm(found - deviation) < 0.4 * np.linalg.norm(deviation), name


def test_stored_references_say_nothing_of_mixed_rows() -> None:
    network = packed(classifier(groups=1), count=48, scheme="int4", references_as="stored")
    runtime = CimRuntime(network, Chip(preset("mismatch-20"), 3), State(), np.random.default_rng(0))
    one = fit_indices(network.references)[:1]
    kept = replace(network, float_weights=None)
    for name, fit in gathered(runtime, kept, one):
        assert fit.sums.count == network.references.block(one).layers[name].rows.shape[1]


def _deviation(runtime: CimRuntime, network: PackedNetwork, name: str) -> Any:
    """What each input, driven alone, shows beyond the nominal weights: [d, m]."""
    layer = next(one for one in network.layers if one.name == name)
    code = network.activations[name]
    value = np.float32(code.step * (2**code.bits - 1 - code.zero_point))
    rows = np.eye(layer.inputs, dtype=np.float32)[:, None] * value
    idle = runtime.probe(layer, np.zeros_like(rows[:1]))
    return np.asarray((runtime.probe(layer, rows) - idle) / value - layer.weight[0])

"""Training surrogates: it lowers its loss, keeps the best, ends in time, and repeats itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

from agent.runtimes.cim import CimRuntime
from calib.adam import AdamOptions
from calib.factor_codes import rounded
from calib.factors import Factors
from calib.graph.executor import run
from calib.losses import Loss, distillation, squared_error
from calib.packed import PackedNetwork
from calib.precision import MIXED
from calib.surrogate_training import (
    Lesson,
    School,
    SurrogateTraining,
    train_surrogates,
    zero_start,
)
from calib.training_units import LayerSizes, normalised
from device_models.array import Chip, State
from device_models.presets import preset
from tests.small_networks import classifier, packed, samples_for, signal_network

Array = np.ndarray[Any, Any]
MANNER = SurrogateTraining(epochs=6, batch=8, patience=6, adam=AdamOptions(learning_rate=1e-2))
KINDS = pytest.mark.parametrize("kind", ["classifier", "signal"])


@cache
def network_of(kind: str, bits: tuple[int, ...] = MIXED) -> PackedNetwork:
    graph = {"classifier": classifier, "signal": signal_network}[kind]()
    return packed(graph, count=48, scheme="int4", rank=2, factor_bits=bits)


def school_of(network: PackedNetwork) -> School:
    chip = Chip(preset("mismatch-20"), 1)
    runtime = CimRuntime(network, chip, State(), np.random.default_rng(0))
    return School(
        network.decision_graph,
        network.layers,
        network.activations,
        runtime.main_paths(),
        partial(rounded, layers=network.layers),
    )


def start_of(network: PackedNetwork, rank: int = 2) -> Factors:
    bits = {layer.name: network.factor_bits[-rank:] * rank for layer in network.layers}
    bits = {name: chosen[:rank] for name, chosen in bits.items()}
    begin = zero_start(network.layers, bits, np.random.default_rng(2))
    return rounded(begin, network.layers)


def loss_on(network: PackedNetwork, x: Array) -> Loss:
    graph = network.references.graph  # type: ignore[attr-defined]  # these are recomputed
    return distillation(run(graph, x)[graph.output], classes=network.decision.classes)


def judge_on(network: PackedNetwork, x: Array) -> Callable[[Factors], float]:
    """The loss of what the runtime answers, independent of the graph that trains."""
    chip = CimRuntime(network, Chip(preset("mismatch-20"), 1), State(), np.random.default_rng(0))
    loss = loss_on(network, x)
    return lambda factors: loss(chip.run(x, factors, {}).answers, np.arange(len(x)))[0]


def lesson_of(network: PackedNetwork) -> Lesson:
    graph = network.decision_graph
    x, other = (samples_for(graph, 32, seed) for seed in (3, 4))
    return Lesson(x, loss_on(network, x), judge_on(network, other))


def same(one: Factors, other: Factors) -> bool:
    parts = ("gain", "offset", "a", "b")
    return all(
        np.array_equal(getattr(one[name], part), getattr(other[name], part))
        for name in one.surrogates
        for part in parts
    )


@KINDS
@pytest.mark.parametrize("bits", [(4,), (16,), (3, 6)])
def test_training_lowers_the_distillation_loss_on_its_samples(
    kind: str, bits: tuple[int, ...]
) -> None:
    network = network_of(kind, bits)
    school, begin = school_of(network), start_of(network)
    lesson = lesson_of(network)
    on_samples = judge_on(network, lesson.samples)
    lesson = replace(lesson, judge=on_samples)
    done = train_surrogates(school, begin, lesson, MANNER, np.random.default_rng(0))
    least = 0.0 if kind == "signal" else lesson.loss(_targets(network, lesson), np.arange(32))[0]
    assert on_samples(done.factors) - least < 0.7 * (on_samples(begin) - least)
    assert done.losses[-1] < done.losses[0]


def _targets(network: PackedNetwork, lesson: Lesson) -> Array:
    graph = network.references.graph  # type: ignore[attr-defined]  # these are recomputed
    return run(graph, lesson.samples)[graph.output]


@KINDS
@pytest.mark.parametrize("learning_rate", [1e-3, 1e-2, 0.3, 100.0])
def test_the_result_is_the_best_that_was_judged_and_never_worse_than_the_start(
    kind: str, learning_rate: float
) -> None:
    network = network_of(kind)
    school, begin = school_of(network), start_of(network)
    lesson = lesson_of(network)
    manner = replace(MANNER, adam=AdamOptions(learning_rate=learning_rate))
    done = train_surrogates(school, begin, lesson, manner, np.random.default_rng(0))
    assert done.judgements[0] == lesson.judge(begin)
    assert lesson.judge(done.factors) == np.nanmin(done.judgements)
    if np.nanmin(done.judgements) == done.judgements[0]:
        assert done.factors is begin
    assert same(school.stored(done.factors), done.factors)


def test_training_that_diverges_ends_with_what_it_had() -> None:
    network = network_of("signal")
    school, begin = school_of(network), start_of(network)
    lesson = lesson_of(network)
    manner = replace(MANNER, adam=AdamOptions(learning_rate=1e30))
    done = train_surrogates(school, begin, lesson, manner, np.random.default_rng(0))
    assert len(done.judgements) < 1 + MANNER.epochs
    assert lesson.judge(done.factors) <= lesson.judge(begin)
    assert np.isfinite(lesson.judge(done.factors))


def test_patience_ends_training_that_a_judge_never_likes() -> None:
    network = network_of("signal")
    school, begin = school_of(network), start_of(network)
    lesson = replace(lesson_of(network), judge=lambda factors: float(factors is not begin))
    manner = replace(MANNER, patience=2)
    done = train_surrogates(school, begin, lesson, manner, np.random.default_rng(0))
    assert done.judgements == (0.0, 1.0, 1.0)
    assert done.factors is begin


@KINDS
def test_the_same_generator_gives_the_same_factors(kind: str) -> None:
    network = network_of(kind)
    school, begin = school_of(network), start_of(network)
    lesson = lesson_of(network)
    one, again, other = (
        train_surrogates(school, begin, lesson, MANNER, np.random.default_rng(seed))
        for seed in (0, 0, 1)
    )
    assert one.judgements == again.judgements
    assert same(one.factors, again.factors)
    assert one.judgements != other.judgements


def test_a_start_from_zero_changes_nothing_and_can_learn() -> None:
    network = network_of("classifier")
    begin = start_of(network)
    for layer in network.layers:
        one = begin[layer.name]
        assert one.rank == 2
        assert set(one.bits) <= set(network.factor_bits)
        assert not one.b.any()
        assert one.a.any()
        rows = np.ones((3, layer.groups, layer.inputs), np.float32)
        main = np.ones((3, layer.outputs), np.float32)
        np.testing.assert_array_equal(one.apply(main, rows), main)


def test_normalising_keeps_every_product_and_every_grid() -> None:
    network = network_of("classifier")
    begin = start_of(network)
    layer = network.layers[0].name
    b = np.random.default_rng(0).standard_normal(begin[layer].b.shape).astype(np.float32)
    factors = school_of(network).stored(begin.replaced(layer, replace(begin[layer], b=b)))
    sizes = {one.name: LayerSizes(117.0, 0.3) for one in network.layers}
    scaled = normalised(factors, sizes)
    assert not np.array_equal(scaled[layer].a, factors[layer].a)
    np.testing.assert_array_equal(
        scaled[layer].b @ scaled[layer].a, factors[layer].b @ factors[layer].a
    )
    assert same(school_of(network).stored(scaled), scaled)


def test_the_squared_error_is_relative_to_the_targets_and_its_gradient_is_right() -> None:
    generator = np.random.default_rng(0)
    targets, answers = generator.normal(0, 3, (2, 4, 2, 3))
    loss, indices = squared_error(targets), np.arange(4)
    value, slopes = loss(answers, indices)
    assert value == pytest.approx(((answers - targets) ** 2).sum() / (targets**2).sum())
    assert loss(targets, indices)[0] == 0
    for place in np.ndindex(answers.shape):
        move = np.zeros_like(answers)
        move[place] = 1e-6
        ends = (loss(answers + move, indices)[0], loss(answers - move, indices)[0])
        assert slopes[place] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-9)


def test_distillation_is_least_at_the_teachers_answers() -> None:
    answers = np.random.default_rng(0).normal(0, 2, (5, 3))
    for classes in (True, False):
        loss = distillation(answers, classes=classes)
        value, slopes = loss(answers, np.arange(5))
        np.testing.assert_allclose(slopes, 0, atol=1e-12)
        assert loss(answers + np.array([0.1, 0, 0]), np.arange(5))[0] > value

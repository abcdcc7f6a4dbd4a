"""How many references fit a budget: never more bytes than allowed, the cheaper form on auto."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from calib.decision import Decision
from calib.errors import CalibError, SampleError
from calib.graph.linear import linear_layers
from calib.graph.model import Graph
from calib.reference_plan import (
    FEWEST_SAMPLES,
    FORMS,
    POSITIONS,
    Costs,
    ReferencePlan,
    plan_references,
    split_samples,
)
from calib.references import (
    References,
    draw_positions,
    encode_samples,
    position_bytes,
    recompute_references,
)
from calib.stored_references import StoredReferences, store_references
from tests.small_networks import chain, classifier, samples_for, signal_network

GRAPHS = {"classifier": classifier(), "signal": signal_network(), "chain": chain(3, 40)}


def costs_of(graph: Graph, *, float_weights_kept: bool = False) -> Costs:
    samples = encode_samples(samples_for(graph, 2))
    (outputs,) = linear_layers(graph)[-1].output_shape
    return Costs(linear_layers(graph), samples.bytes_per_sample, 4 * outputs, float_weights_kept)


def stored_bytes(references: StoredReferences) -> int:
    """What all arrays of stored references really take."""
    arrays = [references.answers, references.samples.codes, *references.positions.values()]
    return sum(a.nbytes for a in arrays) + sum(la.bytes for la in references.layers.values())


def made(graph: Graph, plan: ReferencePlan) -> References:
    decision = Decision(classes=True)
    samples = encode_samples(samples_for(graph, plan.samples))
    source = recompute_references(
        graph, decision, samples, held_back=plan.held_back, positions=plan.positions, seed=0
    )
    return store_references(source, source.layers, samples)


@pytest.mark.parametrize("name", GRAPHS)
@given(
    budget_bytes=st.integers(100, 60_000),
    held_back=st.integers(1, 20),
    references=st.integers(7, 40),
    form=st.sampled_from(FORMS),
)
def test_a_plan_never_exceeds_its_budget(
    name: str, budget_bytes: int, held_back: int, references: int, form: str
) -> None:
    costs = costs_of(GRAPHS[name])
    try:
        plan = plan_references(costs, form, budget_bytes, held_back, references)
    except CalibError:
        assert costs.recomputed(FEWEST_SAMPLES) > budget_bytes or form == "stored"
        return
    assert plan.bytes <= budget_bytes
    assert 1 <= plan.held_back <= held_back
    assert 1 <= plan.references <= references
    assert plan.samples >= FEWEST_SAMPLES
    assert form in {"auto", plan.form}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("budget_bytes", [12_000, 20_000, 50_000])
def test_the_bytes_of_stored_references_are_what_was_planned(name: str, budget_bytes: int) -> None:
    graph = GRAPHS[name]
    plan = plan_references(costs_of(graph), "stored", budget_bytes, 8, 24)
    references = made(graph, plan)
    assert isinstance(references, StoredReferences)
    assert stored_bytes(references) == plan.bytes


def test_the_bytes_of_recomputed_references_are_half_weights_and_samples() -> None:
    graph = classifier()
    plan = plan_references(costs_of(graph), "recomputed", 10**6, 8, 24)
    weights = sum(2 * layer.weight.size for layer in linear_layers(graph))
    assert plan.bytes == weights + encode_samples(samples_for(graph, 32)).codes.nbytes
    assert plan.positions == POSITIONS
    kept = plan_references(costs_of(graph, float_weights_kept=True), "recomputed", 10**6, 8, 24)
    assert kept.bytes == plan.bytes - weights


@pytest.mark.parametrize("name", GRAPHS)
@given(held_back=st.integers(1, 20), references=st.integers(7, 200))
def test_auto_takes_fewer_bytes_where_both_forms_fit(
    name: str, held_back: int, references: int
) -> None:
    costs = costs_of(GRAPHS[name])
    found, stored, recomputed = (
        plan_references(costs, form, 10**9, held_back, references)
        for form in ("auto", "stored", "recomputed")
    )
    assert found.bytes == min(stored.bytes, recomputed.bytes)


def test_both_forms_win_somewhere() -> None:
    many_weights, few_weights = costs_of(chain(2, 60)), costs_of(classifier())
    assert plan_references(many_weights, "auto", 10**6, 2, 8).form == "stored"
    assert plan_references(few_weights, "auto", 10**6, 32, 96).form == "recomputed"


@given(budget_bytes=st.integers(1000, 30_000))
def test_auto_finds_room_where_either_form_does(budget_bytes: int) -> None:
    costs = costs_of(chain(2, 60))
    sizes = {}
    for form in FORMS:
        try:
            sizes[form] = plan_references(costs, form, budget_bytes, 8, 24).samples
        except CalibError:
            sizes[form] = 0
    assert sizes["auto"] == max(sizes["stored"], sizes["recomputed"])


def test_positions_are_given_up_before_samples() -> None:
    costs = costs_of(classifier())
    full = costs.stored(8, 24, POSITIONS)
    plan = plan_references(costs, "stored", full // 2, 8, 24)
    assert plan.samples == 32
    assert 2 <= plan.positions < POSITIONS
    assert costs.stored(8, 24, plan.positions + 1) > full // 2


@given(held_back=st.integers(1, 30), references=st.integers(1, 30), available=st.integers(8, 100))
def test_samples_are_split_as_asked_or_a_quarter_and_three_quarters(
    held_back: int, references: int, available: int
) -> None:
    assume(held_back + references >= FEWEST_SAMPLES)
    found = split_samples(available, held_back, references)
    if available >= held_back + references:
        assert found == (held_back, references)
    else:
        assert found == (available // 4, available - available // 4)


@pytest.mark.parametrize(
    ("available", "held_back", "references", "words"),
    [
        (7, 32, 96, "7 samples are too few: at least 8 are needed, and 128 are asked for"),
        (100, 0, 96, "0 held-back samples and 96 references are asked for; give at least one"),
        (100, 32, 0, "32 held-back samples and 0 references are asked for"),
        (100, 3, 4, "3 held-back samples and 4 references .* and 8 in all"),
        (100, -1, 40, "-1 held-back samples"),
    ],
)
def test_too_few_samples_are_refused(
    available: int, held_back: int, references: int, words: str
) -> None:
    with pytest.raises(SampleError, match=words):
        split_samples(available, held_back, references)


def test_a_budget_that_nothing_fits_is_refused_with_the_least() -> None:
    costs = costs_of(classifier())
    with pytest.raises(CalibError) as caught:
        plan_references(costs, "auto", 1000, 8, 24)
    words = str(caught.value)
    assert words.startswith("references of 8 samples, auto, do not fit 0.9766 KiB; the cheapest")
    least_kib = int(words.rpartition("takes ")[2].partition(" KiB")[0])
    plan_references(costs, "auto", 1024 * least_kib, 8, 24)
    with pytest.raises(CalibError):
        plan_references(costs, "auto", 1024 * (least_kib - 1), 8, 24)


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(CalibError, match="one of auto, recomputed, stored, moments, not 'both'"):
        plan_references(costs_of(classifier()), "both", 10**6, 8, 24)


def test_a_layer_of_very_many_positions_counts_wider_numbers() -> None:
    layer = linear_layers(classifier())[0]
    assert position_bytes(layer) == 2
    wide = replace(layer, output_shape=(layer.outputs, 256, 257))
    assert position_bytes(wide) == 4
    drawn = draw_positions([wide], 1, 3, np.random.default_rng(0))[wide.name]
    assert drawn.nbytes == 3 * 4
    narrow_bytes = Costs([layer], 0, 0, float_weights_kept=True).stored(8, 8, 3)
    wide_bytes = Costs([wide], 0, 0, float_weights_kept=True).stored(8, 8, 3)
    assert wide_bytes - narrow_bytes == 16 * 3 * 2

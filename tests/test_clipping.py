"""Inputs beyond the ranges of the main path: found, and branches that read them left beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.gathering import planned
from agent.methods import fit
from agent.timed_planning import within_time
from calib.budget import Budget
from calib.clipping import MATTERS_FROM, Clipping
from calib.factor_codes import rounded
from calib.integer_graph import integer_graph
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from calib.references import encode_samples, recompute_references
from tests.fakes import RuntimeWithTimes
from tests.onnx_runtimes import on_both, residual, some_factors
from tests.small_networks import samples_for

CHOSEN = np.arange(4, 16)


def in_a_field(brightness: float) -> PackedNetwork:
    """Packed on samples, with references of others so many times as bright."""
    graph, x = residual(), samples_for(residual(), 16, seed=1)
    options = PackOptions("int4", references_as="recomputed", references=12, held_back=4)
    network = prepare(graph, x, None, options)
    assert network.float_graph is not None
    references = recompute_references(
        network.float_graph,
        network.decision,
        encode_samples(x * np.float32(brightness)),
        held_back=4,
        positions=8,
        seed=0,
    )
    return replace(network, references=references)


@given(st.floats(0.1, 10.0), st.integers(0, 2**32 - 1))
def test_what_is_clipped_is_what_lies_beyond(limit: float, seed: int) -> None:
    rows = np.random.default_rng(seed).standard_normal((50, 3)).astype(np.float32)
    clipping = Clipping((-limit, limit))
    for part in (rows[:20], rows[20:]):
        clipping.add(part)
    cut = np.abs(rows) - np.minimum(np.abs(rows), limit)
    share = float((cut.astype(np.float64) ** 2).sum() / (rows.astype(np.float64) ** 2).sum())
    np.testing.assert_allclose(clipping.lost / clipping.of, share, rtol=1e-4, atol=1e-10)
    assert clipping.matters == (clipping.lost > MATTERS_FROM * clipping.of)


def test_nothing_seen_is_nothing_clipped() -> None:
    assert not Clipping((-1.0, 1.0)).matters


def test_branches_of_clipped_layers_stay_beside_and_the_factors_say_so() -> None:
    for brightness, clipped in ((1.0, False), (5.0, True)):
        network = in_a_field(brightness)
        _, runtime, _ = on_both(residual(), scheme="int4", fold=True)
        plan = planned(runtime, network, CHOSEN, network.budget)
        first = network.layers[0].name
        assert (first in plan.clipped) == clipped
        for method in ("probe", "sequential"):
            factors = fit(method, runtime, network, CHOSEN, plan)
            flags = {name: one.beside for name, one in factors.surrogates.items()}
            wanted = {name: name in plan.clipped and bool(factors[name].rank) for name in flags}
            assert flags == wanted
            stored = rounded(factors, network.layers).surrogates
            assert {name: one.beside for name, one in stored.items()} == wanted


def test_only_what_stays_beside_has_a_node() -> None:
    network, runtime, _ = on_both(residual(), scheme="int4", fold=True)
    factors = some_factors(network, 2)
    first = network.layers[0].name
    beside = factors.replaced(first, replace(factors[first], beside=True))
    nodes = integer_graph(network, runtime._outputs, beside, fold=True).nodes
    assert [node.name for node in nodes if node.name.endswith("@both")] == [f"{first}@both"]


def test_a_limit_of_time_folds_them_all_the_same() -> None:
    network = in_a_field(5.0)
    _, runtime, _ = on_both(residual(), scheme="int4", fold=True)
    plan = planned(runtime, network, CHOSEN, network.budget)
    assert plan.clipped
    timed = RuntimeWithTimes(None, dict.fromkeys(plan.bits, 0.0))
    assert not within_time(timed, network, plan, Budget(slowdown=1.5))[0].clipped

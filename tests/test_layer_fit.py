"""All layers are solved together: one budget, metrics that compare, grouped layers without rank."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calib.allocation import FEWEST, Bits
from calib.budget import Budget
from calib.costs import BUDGET_BITS
from calib.errors import SolveError
from calib.factor_codes import component_bytes, rounded
from calib.factors import Factors
from calib.graph.linear import multiply
from calib.grouped_fit import SolvedGroups
from calib.layer_fit import (
    LayerFit,
    SolvedLayer,
    head_of,
    layer_weights,
    plan_together,
    solve_together,
    solved_layer,
)
from calib.packed import PackedNetwork
from calib.precision import MIXED, bits_of_b, lost_share
from calib.reduced_rank import unexplained
from calib.references import fit_indices
from calib.rounding import least_squares_b
from tests.small_networks import classifier, packed

Array = np.ndarray[Any, Any]


@cache
def network_of(*bits: int, groups: int = 6, form: str = "recomputed") -> PackedNetwork:
    """With these precisions to choose from; 16 bits where none is named."""
    graph, allowed = classifier(groups=groups), bits or (16,)
    return packed(graph, count=48, scheme="int4", factor_bits=allowed, references_as=form)


def filled(network: PackedNetwork, deviation: float, seed: int = 0) -> dict[str, LayerFit]:
    """Fits with clean rows, run on weights that are off by a factor each."""
    generator = np.random.default_rng(seed)
    block = network.references.block(fit_indices(network.references))
    fits = {}
    for layer in network.layers:
        fit, clean = LayerFit.of(network, layer, exact=True), block.layers[layer.name]
        off = 1 + deviation * generator.standard_normal(layer.weight.shape)
        main = multiply(clean.rows, layer.weight * off.astype(np.float32)) + layer.bias
        rows = clean.rows.reshape(-1, layer.groups * layer.inputs)
        fit.vary(rows)
        fit.sums.add(rows, main.reshape(-1, layer.outputs), clean.outputs.reshape(len(rows), -1))
        fits[layer.name] = fit
    return fits


def spent(network: PackedNetwork, factors: Factors) -> float:
    return sum(
        component_bytes(layer, bits)
        for layer in network.layers
        for bits in factors[layer.name].bits
    )


@settings(max_examples=40)  # each fits a whole network
@given(
    seed=st.integers(0, 2**16),
    bits=st.sampled_from([(16,), (8,), (4,), (3, 5), MIXED]),
    rank=st.integers(0, 12),
    groups=st.sampled_from([1, 2, 6]),
)
def test_the_budget_is_the_bytes_of_the_rank_in_sixteen_bits(
    seed: int, bits: tuple[int, ...], rank: int, groups: int
) -> None:
    network = network_of(*bits, groups=groups)
    factors = solve_together(network, filled(network, 0.2, seed), Budget(rank=rank))
    dense = [layer for layer in network.layers if layer.groups == 1]
    budget = rank * sum((layer.inputs + layer.outputs) * BUDGET_BITS / 8 for layer in dense)
    assert spent(network, factors) <= budget
    for layer in network.layers:
        surrogate = factors[layer.name]
        assert len(surrogate.bits) == surrogate.rank
        assert set(surrogate.bits) <= set(bits)
        assert surrogate.rank <= min(layer.inputs, layer.outputs // layer.groups)
        assert surrogate.a.shape == (surrogate.rank * layer.groups, layer.inputs)
        assert surrogate.b.shape == (layer.outputs, surrogate.rank)


def test_fewer_bits_buy_more_components() -> None:
    ranks = {
        bits: sum(s.rank for s in _solved(network_of(bits), 2).surrogates.values())
        for bits in (16, 8, 4, 3)
    }
    assert ranks[16] < ranks[8] < ranks[4] < ranks[3]


def test_a_choice_of_bits_is_worth_more_than_any_bits_alone() -> None:
    """What the planned components keep of what they are worth, at the gains of either plan."""
    kept = {}
    for bits in [MIXED, *((one,) for one in MIXED)]:
        network = network_of(*bits)
        plan = plan_together(network, filled(network, 0.2), Budget(rank=1))
        weights = layer_weights({name: one.metric.weight for name, one in plan.solved.items()})
        kept[bits] = sum(
            weights[name] * worth * (1 - lost_share(own))
            for name, one in plan.solved.items()
            for worth, own in zip(one.worth, plan.bits[name], strict=False)
        )
    assert kept.pop(MIXED) > max(kept.values())


def test_large_components_have_more_bits_than_small_ones() -> None:
    network = network_of(*MIXED)
    plan = plan_together(network, filled(network, 0.2), Budget(rank=2))
    mean = [np.mean(bits) for bits in plan.bits.values() if bits]
    assert len({one for bits in plan.bits.values() for one in bits}) > 1
    for name, bits in plan.bits.items():
        assert not bits or bits[0] >= bits[-1], name
    assert min(MIXED) < np.mean(mean) < max(MIXED)


def left_open(one: SolvedLayer | SolvedGroups, bits: Bits) -> float:
    """The error beside these components, what rounding loses of them included."""
    values = one.solution.values.reshape(-1, one.solution.values.shape[-1]).sum(axis=0)
    kept = sum(own * (1 - lost_share(b)) for own, b in zip(values, bits, strict=False))
    beyond = one.metric.full * unexplained(one.statistics, one.solution.gain)
    return float(values.sum() - kept + beyond.sum())


@pytest.mark.parametrize("groups", [1, 6])
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_the_gain_is_that_of_the_bits_that_were_bought(groups: int, rank: int) -> None:
    """A layer solved anew for just these leaves hardly less; without any, exactly as much."""
    network = network_of(*MIXED, groups=groups)
    fits = filled(network, 0.2)
    plan = plan_together(network, fits, Budget(rank=rank))
    for name, one in plan.solved.items():
        bits = plan.bits[name]
        again = left_open(solved_layer(network, fits[name], *head_of(one.worth, bits)), bits)
        assert left_open(one, bits) <= (1.11 if bits else 1.0001) * again, name


def test_what_is_lost_is_the_mean_of_shares_weighed_by_worth() -> None:
    worth = np.array([3.0, 1.0, 0.5])
    assert head_of(worth, ()) == (0, 0.0)
    assert head_of(worth, (16, 16)) == (2, 0.0)
    rank, lost = head_of(worth, (4, 3))
    assert rank == 2
    assert lost == pytest.approx((3 * lost_share(4) + lost_share(3)) / 4)


def _solved(network: PackedNetwork, rank: int) -> Factors:
    return solve_together(network, filled(network, 0.2), Budget(rank=rank))


@pytest.mark.parametrize("bits", [(8,), (4,), MIXED])
def test_rows_of_a_are_stored_as_they_were_fitted(bits: tuple[int, ...]) -> None:
    network = network_of(*bits)
    factors = _solved(network, 4)
    back = rounded(factors, network.layers)
    for name, surrogate in factors.surrogates.items():
        np.testing.assert_array_equal(back[name].a, surrogate.a)
        assert back[name].bits == surrogate.bits
        difference = np.abs(back[name].b - surrogate.b).max(axis=0, initial=0)
        half_steps = [0.502 / (2 ** (bits_of_b(one) - 1) - 1) for one in surrogate.bits]
        assert (difference <= half_steps * np.abs(surrogate.b).max(axis=0, initial=0)).all()


def test_b_is_fitted_to_the_rounded_a() -> None:
    network = network_of(*MIXED)
    fits = filled(network, 0.2)
    for name, surrogate in solve_together(network, fits, Budget(rank=4)).surrogates.items():
        if surrogate.rank:
            statistics = fits[name].statistics()
            gain = surrogate.gain.astype(np.float64).reshape(statistics.mean_y.shape)
            wanted = statistics.map_y - statistics.map_z * gain[..., None, :]
            a, b = (part.astype(np.float64) for part in surrogate.by_group)
            expected = least_squares_b(statistics.covariance_x, wanted, a)
            np.testing.assert_allclose(b, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("important", "ranks"), [("first", (6, 4)), ("strided", (2, 8))])
def test_rank_goes_where_the_answer_is_moved(important: str, ranks: tuple[int, int]) -> None:
    """Of 1,188 bytes: components take 57, of `depthwise` 149, of `strided` 133, of `head` 35."""
    network = network_of()
    metrics = {
        layer.name: np.eye(layer.outputs, dtype=np.float16)
        * np.float16(1 if layer.name == important else 2**-6)
        for layer in network.layers
    }
    found = _solved(replace(network, metrics=metrics), 6)
    assert (found["first"].rank, found["strided"].rank) == ranks


def test_metrics_that_are_all_zero_weigh_all_outputs_alike() -> None:
    network = network_of()
    nothing = {name: np.zeros_like(columns) for name, columns in network.metrics.items()}
    alike = {layer.name: np.eye(layer.outputs, dtype=np.float16) for layer in network.layers}
    found = _solved(replace(network, metrics=nothing), 6)
    expected = _solved(replace(network, metrics=alike), 6)
    for layer in network.layers:
        assert layer.groups > 1 or found[layer.name].rank >= FEWEST
        np.testing.assert_allclose(found[layer.name].gain, expected[layer.name].gain, rtol=1e-3)


def test_what_is_known_is_exact_only_for_clean_rows_with_float_weights() -> None:
    kept, dropped = network_of(), network_of(form="stored")
    assert kept.float_weights is not None
    assert dropped.float_weights is None
    layer = kept.layers[0]
    floats = kept.float_weights[layer.name][0].astype(np.float64)
    exact = LayerFit.of(kept, layer, exact=True)
    np.testing.assert_array_equal(exact.sums.known_y, floats)
    np.testing.assert_array_equal(exact.sums.known_z, layer.weight[0])
    for fit in (
        LayerFit.of(kept, layer, exact=False),
        LayerFit.of(dropped, dropped.layers[0], exact=True),
    ):
        np.testing.assert_array_equal(fit.sums.known_y, fit.sums.known_z)
    assert LayerFit.of(kept, layer, exact=False).inputs is None


def test_an_exact_layer_is_left_as_it_is() -> None:
    """Quantised weights that are the float ones, no deviation: nothing is to be corrected."""
    network = network_of()
    floats = {layer.name: layer.weight.astype(np.float16) for layer in network.layers}
    fits = {}
    generator = np.random.default_rng(0)
    for layer in network.layers:
        rows = generator.standard_normal((50, 1, layer.groups, layer.inputs)).astype(np.float32)
        fit = LayerFit.of(replace(network, float_weights=floats), layer, exact=False)
        right = multiply(rows, layer.weight)[:, 0] + layer.bias
        fit.sums.add(rows.reshape(50, -1), right, right)
        fits[layer.name] = fit
    for surrogate in solve_together(network, fits, Budget(rank=4)).surrogates.values():
        np.testing.assert_allclose(surrogate.gain, 1, atol=1e-5)
        np.testing.assert_allclose(surrogate.offset, 0, atol=1e-4)
        np.testing.assert_allclose(surrogate.b @ surrogate.a, 0, atol=1e-4)


def test_a_layer_without_rows_cannot_be_solved() -> None:
    network = network_of()
    layer = network.layers[0]
    fits = {layer.name: LayerFit.of(network, layer, exact=True)}
    with pytest.raises(SolveError, match="choose at least one sample"):
        solve_together(network, fits, Budget(rank=4))

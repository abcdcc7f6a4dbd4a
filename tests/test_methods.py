"""The methods on emulated chips: both repair, whatever the runtime can do; moments match."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from agent.errors import RuntimeUnavailableError
from agent.gathering import planned
from agent.measurement import judge_chip
from agent.methods import GRADIENT_METHODS, METHODS, fit, moment_pass, resolve
from agent.runtimes.base import Runtime, can_probe, is_layerwise
from agent.runtimes.cim import CimRuntime
from calib.budget import Budget
from calib.errors import SolveError
from calib.factor_codes import encode_factors, rounded
from calib.factors import Factors, no_factors
from calib.graph.model import Graph
from calib.packed import PackedNetwork
from calib.precision import MIXED
from calib.prepare import PackOptions, prepare
from calib.references import fit_indices
from device_models.array import Chip, State
from device_models.presets import preset
from tests.fakes import DeviatingRuntime, LoggedRuntime
from tests.small_networks import chain, classifier, packed, samples_for, signal_network

Array = np.ndarray[Any, Any]
KINDS = ["classifier", "dense", "grouped", "signal", "chain"]
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
OPTIONS = PackOptions(scheme="int4", held_back=16, references=48)
EVERY_METHOD = pytest.mark.parametrize("method", sorted(METHODS.keys() - GRADIENT_METHODS))


def fitted(
    method: str, runtime: Runtime, network: PackedNetwork, chosen: Array, rank: int
) -> Factors:
    plan = planned(runtime, network, chosen, Budget(rank=rank))
    return fit(method, runtime, network, chosen, plan)


@cache
def network_of(kind: str, **options: Any) -> PackedNetwork:
    graphs: dict[str, Graph] = {
        "classifier": classifier(),
        "dense": classifier(groups=1),
        "grouped": classifier(groups=2),
        "signal": signal_network(),
        "chain": chain(3, relu=True),
    }
    return packed(graphs[kind], count=64, **{"scheme": "int4", "rank": 4, **options})


def chip_of(network: PackedNetwork, device: str = "mismatch-20", seed: int = 1) -> CimRuntime:
    return CimRuntime(network, Chip(preset(device), seed), State(), np.random.default_rng(0))


def tapped(runtime: Runtime) -> LoggedRuntime:
    """The same chip, which can be run and tapped but neither probed nor stopped."""
    only_taps = LoggedRuntime(runtime, [])
    assert not can_probe(only_taps)
    assert not is_layerwise(only_taps)
    return only_taps


def chosen_of(network: PackedNetwork, count: int = 24) -> Array:
    return fit_indices(network.references)[:count]


def assert_close(one: Factors, other: Factors, tolerance: float) -> None:
    for name, surrogate in one.surrogates.items():
        for part in ("gain", "offset", "a", "b"):
            mine, theirs = getattr(surrogate, part), getattr(other[name], part)
            np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


@EVERY_KIND
@EVERY_METHOD
@pytest.mark.parametrize("form", ["recomputed", "stored"])
def test_every_method_reduces_loss_and_errors_on_held_back_samples(
    kind: str, method: str, form: str
) -> None:
    network = network_of(kind, references_as=form)
    runtime = chip_of(network)
    before = judge_chip(runtime, network, no_factors(network.layers))
    after = judge_chip(
        runtime, network, fitted(method, runtime, network, chosen_of(network), network.rank)
    )
    assert after.loss < 0.7 * before.loss
    assert after.mean_error < 0.7 * before.mean_error


@EVERY_KIND
def test_sequential_needs_no_more_than_taps(kind: str) -> None:
    network = network_of(kind)
    runtime = tapped(chip_of(network))
    before = judge_chip(runtime, network, no_factors(network.layers))
    found = fitted("auto", runtime, network, chosen_of(network), network.rank)
    after = judge_chip(runtime, network, found)
    assert after.loss < 0.9 * before.loss
    assert after.mean_error < 0.7 * before.mean_error


def test_auto_probes_where_it_can() -> None:
    network = network_of("classifier")
    runtime = chip_of(network)
    assert resolve("auto", runtime, network) == "probe"
    assert resolve("auto", tapped(runtime), network) == "sequential"
    assert resolve("sequential", runtime, network) == "sequential"


def test_a_probe_that_the_runtime_cannot_do_is_refused() -> None:
    network = network_of("classifier")
    runtime = tapped(chip_of(network))
    with pytest.raises(RuntimeUnavailableError, match="choose --method sequential") as caught:
        fitted("probe", runtime, network, chosen_of(network), 4)
    assert "\n" not in str(caught.value)
    with pytest.raises(RuntimeUnavailableError, match="choose one of auto, probe, sequential"):
        resolve("guess", runtime, network)
    with pytest.raises(RuntimeUnavailableError, match="choose --method sequential"):
        resolve("gradient", runtime, network)


@EVERY_KIND
@pytest.mark.parametrize("count", [5, 24])
def test_one_pass_through_the_layers_is_as_good_as_a_run_for_each(kind: str, count: int) -> None:
    network = network_of(kind)
    runtime, chosen = chip_of(network), chosen_of(network, count)
    factors = planned(runtime, network, chosen, Budget(rank=2)).factors()
    at_once = moment_pass(runtime, network, chosen, factors)
    one_by_one = moment_pass(tapped(runtime), network, chosen, factors)
    # Sums in another order may move an activation to the next code.
    assert_close(at_once, one_by_one, 2e-3)


@EVERY_KIND
def test_the_moment_pass_brings_channels_means_and_spreads_to_the_references(kind: str) -> None:
    network = network_of(kind)
    runtime, chosen = chip_of(network), chosen_of(network)
    nothing = no_factors(network.layers)
    matched = moment_pass(runtime, network, chosen, nothing)
    block = network.references.block(chosen)
    before, after = (runtime.run(block.inputs, f, block.positions) for f in (nothing, matched))
    for layer in network.layers:
        wanted = block.layers[layer.name].outputs
        off, left = (_off(trace.layers[layer.name].outputs, wanted) for trace in (before, after))
        assert left < 0.5 * off


def _off(seen: Array, wanted: Array) -> float:
    """How far channels' means and spreads are off, over all channels."""
    moments = [np.stack([x.mean((0, 1)), x.std((0, 1))]) for x in (seen, wanted)]
    return float(np.square(moments[0] - moments[1]).sum())


@EVERY_METHOD
@pytest.mark.parametrize("bits", [(16,), (8,), (4,), MIXED])
def test_what_is_given_back_is_what_will_be_stored(method: str, bits: tuple[int, ...]) -> None:
    network = network_of("classifier", factor_bits=bits)
    found = fitted(method, chip_of(network), network, chosen_of(network), 4)
    assert {one for s in found.surrogates.values() for one in s.bits} <= set(bits)
    back = rounded(found, network.layers)
    assert_close(back, found, 0.0)
    assert encode_factors(back, network.layers) == encode_factors(found, network.layers)


@pytest.mark.parametrize("bits", [(8,), (4,), MIXED])
def test_rounding_b_after_the_moment_pass_hardly_moves_the_matched_means(
    bits: tuple[int, ...],
) -> None:
    network = network_of("dense", factor_bits=bits)
    runtime, chosen = chip_of(network), chosen_of(network)
    found = fitted("probe", runtime, network, chosen, 4)
    block = network.references.block(chosen)
    trace = runtime.run(block.inputs, found, block.positions)
    for layer in network.layers:
        seen, wanted = trace.layers[layer.name].outputs, block.layers[layer.name].outputs
        off = np.abs(seen.mean((0, 1)) - wanted.mean((0, 1)))
        assert off.max() < 0.03 * wanted.std((0, 1)).max()


@EVERY_METHOD
def test_one_sample_is_enough_to_fit_and_none_is_an_error(method: str) -> None:
    network = network_of("classifier")
    runtime = chip_of(network)
    before = judge_chip(runtime, network, no_factors(network.layers))
    found = fitted(method, runtime, network, chosen_of(network, 1), 4)
    assert judge_chip(runtime, network, found).mean_error < before.mean_error
    with pytest.raises(SolveError, match="choose at least one sample"):
        fitted(method, runtime, network, chosen_of(network, 0), 4)


def test_a_chip_that_gives_no_numbers_has_failed() -> None:
    network = network_of("dense")
    runtime = DeviatingRuntime(network, 0.1, np.random.default_rng(0))
    runtime.weights["strided"][:] = np.nan
    with pytest.raises(SolveError, match="not finite: the chip has failed"):
        fitted("sequential", runtime, network, chosen_of(network), 4)


@EVERY_METHOD
def test_rank_zero_is_gain_and_offset_and_no_rank_is_too_high(method: str) -> None:
    network = network_of("classifier")
    runtime = chip_of(network)
    before = judge_chip(runtime, network, no_factors(network.layers)).mean_error
    errors = []
    for rank in (0, 4096):
        found = fitted(method, runtime, network, chosen_of(network), rank)
        most = {la.name: min(la.inputs, la.outputs // la.groups) for la in network.layers}
        expected = {name: full if rank else 0 for name, full in most.items()}
        assert {name: s.rank for name, s in found.surrogates.items()} == expected
        errors.append(judge_chip(runtime, network, found).mean_error)
    assert errors[1] < errors[0] < before


@EVERY_METHOD
def test_metrics_of_zero_still_give_a_repair(method: str) -> None:
    """A layer, or all of them, that did not move the answer of any reference."""
    plain = network_of("classifier")
    zeros = {name: np.zeros_like(columns) for name, columns in plain.metrics.items()}
    for metrics in (zeros, {**plain.metrics, "first": zeros["first"]}):
        network = replace(plain, metrics=metrics)
        runtime = chip_of(network)
        before = judge_chip(runtime, network, no_factors(network.layers))
        found = fitted(method, runtime, network, chosen_of(network), 4)
        assert judge_chip(runtime, network, found).mean_error < 0.7 * before.mean_error


@EVERY_METHOD
@pytest.mark.parametrize("exponent", [-30, -10, 10, 30])
def test_the_scale_of_the_inputs_hardly_matters(method: str, exponent: int) -> None:
    """By powers of two, which the first layer takes back as far as float16 weights let it."""
    graph = classifier()
    taken_back = max(-10, min(10, exponent))
    scaled = graph.constants["w1"] * np.float32(2.0**-taken_back)
    graph = replace(graph, constants={**graph.constants, "w1": scaled})
    x = samples_for(graph, 64) * np.float32(2.0**exponent)
    network = prepare(graph, x, None, OPTIONS)
    runtime = chip_of(network)
    before = judge_chip(runtime, network, no_factors(network.layers))
    found = fitted(method, runtime, network, chosen_of(network), 4)
    after = judge_chip(runtime, network, found)
    assert after.mean_error < 0.7 * before.mean_error

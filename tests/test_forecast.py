"""What can be recovered: predicted errors against real ones, noise floors against known noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agent.buffer import SampleBuffer
from agent.gathering import gathered, planned
from agent.loop import Calibration, CalibrationRequest, ClosedLoop
from agent.methods import fit
from agent.runtimes.base import LayerTrace, Positions, ProbingRuntime, Runtime, Trace
from agent.runtimes.cim import CimRuntime
from calib.budget import Budget
from calib.factors import Factors, no_factors
from calib.forecast import Forecast, LayerForecast, forecast
from calib.graph.linear import LinearLayer
from calib.layer_fit import METRIC_FLOOR, SolvedLayer
from calib.packed import PackedNetwork
from calib.precision import MIXED
from calib.read_noise import ReadNoise
from calib.reduced_rank import metric_from
from calib.references import fit_indices
from calib.worth import component_worth
from device_models.array import Chip, State
from device_models.presets import preset
from tests.fakes import DeviatingRuntime, MemoryStore
from tests.small_networks import chain, classifier, on_int8_grid, packed

SIGMA = 0.05
"""Of the read noise that the noisy runtimes add to each output of each layer."""


class NoisyProbe:
    """A probing runtime, each read of a layer off by normal noise."""

    def __init__(self, inner: ProbingRuntime, generator: np.random.Generator) -> None:
        self.inner, self.generator, self.layers = inner, generator, inner.layers

    def probe(self, layer: LinearLayer, rows: Any) -> Any:
        main = self.inner.probe(layer, rows)
        noise = self.generator.standard_normal(main.shape).astype(np.float32)
        return main + np.float32(SIGMA) * noise

    def run(self, samples: Any, factors: Factors, taps: Positions) -> Trace:
        return self.inner.run(samples, factors, taps)

    def close(self) -> None:
        self.inner.close()


class NoisyTaps:
    """A runtime that can only be tapped, the last layer's reads off by normal noise."""

    def __init__(self, inner: Runtime, generator: np.random.Generator) -> None:
        self.inner, self.generator, self.layers = inner, generator, inner.layers

    def run(self, samples: Any, factors: Factors, taps: Positions) -> Trace:
        trace = self.inner.run(samples, factors, taps)
        last = self.layers[-1].name
        if last not in trace.layers:
            return trace
        seen = trace.layers[last]
        noise = SIGMA * self.generator.standard_normal(seen.main.shape).astype(np.float32)
        noisy = LayerTrace(seen.rows, seen.main + noise, seen.outputs + noise)
        return Trace(trace.answers, {**trace.layers, last: noisy})

    def close(self) -> None:
        self.inner.close()


def ideal_network(count: int = 64) -> PackedNetwork:
    """A chain whose weights int8 holds exactly: an ideal chip only rounds activations.

    With little rank: that of whole layers would do their work in the chip's place.
    """
    return packed(on_int8_grid(chain(3, width=16)), count=count, scheme="int8", rank=1)


def chip_of(network: PackedNetwork, device: str) -> CimRuntime:
    return CimRuntime(network, Chip(preset(device), 1), State(), np.random.default_rng(0))


def told(
    network: PackedNetwork, runtime: Runtime, samples: int = 32, **request: Any
) -> tuple[Calibration, list[Forecast], MemoryStore, ClosedLoop]:
    loop = ClosedLoop(
        network,
        runtime,
        no_factors(network.layers),
        SampleBuffer(),
        lambda: 0.0,
        np.random.default_rng(0),
    )
    store, heard = MemoryStore(lambda: loop.factors), list[Forecast]()
    asked = CalibrationRequest(samples=samples, **request)
    return loop.calibrate(asked, store, heard.append), heard, store, loop


def test_an_ideal_chip_is_refused_before_anything_is_solved() -> None:
    network = ideal_network()
    found, heard, store, loop = told(network, chip_of(network, "ideal"), 48)
    assert not found.verdict.accepted
    assert found.verdict.after is found.verdict.before
    assert "the layers' own errors" in found.verdict.reason
    assert "(read noise 0): old factors kept" in found.verdict.reason
    assert found.factors is loop.factors
    assert heard == [found.forecast]
    assert store.log == []


def test_an_ideal_chip_that_can_only_be_tapped_is_refused_too() -> None:
    network = ideal_network()
    runtime = DeviatingRuntime(network, 0.0, np.random.default_rng(0))
    found, _, store, _ = told(network, runtime)
    assert not found.verdict.accepted
    assert found.forecast.before < 1e-3
    assert store.log == []
    # judged, predicted, planned from 32 samples in 4 blocks, all of which are read again
    assert runtime.runs < 20


@pytest.mark.parametrize("bits", [(16,), (4,), (3,), MIXED])
@pytest.mark.parametrize("groups", [1, 6])
def test_the_prediction_is_about_what_is_reached(groups: int, bits: tuple[int, ...]) -> None:
    """On rows that took no part, in the error that the solver minimises, rounding included."""
    network = packed(classifier(groups=groups), count=128, scheme="int4", rank=2, factor_bits=bits)
    runtime = chip_of(network, "mismatch-20")
    indices = fit_indices(network.references)
    half, other = indices[::2], indices[1::2]
    plan = planned(runtime, network, half, Budget(rank=2))
    nothing = no_factors(network.layers)
    predicted = forecast(plan, nothing)
    reached = fit("probe", runtime, network, half, plan)
    there = planned(runtime, network, other, Budget(rank=2))
    before, after = forecast(there, nothing).before, forecast(there, reached).before
    assert predicted.before == pytest.approx(before, rel=0.1)
    assert predicted.reachable == pytest.approx(after, rel=0.35)
    assert predicted.noise_floor == 0


def test_more_budget_reaches_further_and_rank_is_what_is_missing() -> None:
    network = packed(classifier(groups=1), count=64, scheme="int4", factor_bits=(16,))
    runtime = chip_of(network, "mismatch-20")
    found = [
        forecast(
            planned(runtime, network, fit_indices(network.references), Budget(rank=rank)),
            no_factors(network.layers),
        )
        for rank in (0, 1, 2, 8)
    ]
    reachable = [one.reachable for one in found]
    assert reachable == sorted(reachable, reverse=True)
    assert reachable[-1] < 0.3 * reachable[0]
    assert all(layer.rank_floor == 0 for layer in found[-1].layers.values())
    assert all(layer.rank_floor > 0 for layer in found[0].layers.values())


def test_the_read_noise_of_probes_is_found() -> None:
    """For each layer SIGMA over the root mean square of its outputs, weighed by its metric."""
    network = packed(classifier(groups=1), count=64, scheme="int8")
    runtime = NoisyProbe(chip_of(network, "ideal"), np.random.default_rng(1))
    fits = dict(gathered(runtime, network, fit_indices(network.references)))
    for name, one in fits.items():
        assert np.sqrt(one.noise.variance()) == pytest.approx(SIGMA, rel=0.25), name
        assert np.sqrt(one.noise.variance().mean()) == pytest.approx(SIGMA, rel=0.1), name


def test_the_read_noise_of_taps_is_found_and_not_counted_upstream() -> None:
    network = packed(classifier(groups=1), count=300, scheme="int8")
    inner = DeviatingRuntime(network, 0.0, np.random.default_rng(0))
    runtime = NoisyTaps(inner, np.random.default_rng(1))
    fits = dict(gathered(runtime, network, fit_indices(network.references)))
    found = [float(np.sqrt(one.noise.variance().mean())) for one in fits.values()]
    assert found[:-1] == [0.0] * (len(found) - 1)
    assert found[-1] == pytest.approx(SIGMA, rel=0.1)


def test_where_all_is_noise_nothing_is_recoverable() -> None:
    network = ideal_network(200)
    runtime = NoisyProbe(chip_of(network, "ideal"), np.random.default_rng(1))
    found, _, store, _ = told(network, runtime, 150)
    block = network.references.block(fit_indices(network.references))
    for name, layer in found.forecast.layers.items():
        full = metric_from(network.metrics[name], METRIC_FLOOR).full
        y = block.layers[name].outputs.reshape(-1, len(full)).astype(np.float64)
        floor = SIGMA * np.sqrt(np.trace(full) / np.mean(np.einsum("ni,ij,nj->n", y, full, y)))
        assert layer.noise_floor == pytest.approx(floor, rel=0.1), name
        assert layer.noise_floor <= layer.reachable <= layer.before
    assert not found.verdict.accepted
    assert "the layers' own errors" in found.verdict.reason
    assert store.log == []


def test_below_the_noise_floor_nothing_is_promised() -> None:
    network = packed(classifier(groups=1), count=128, scheme="int4", rank=8)
    runtime = NoisyProbe(chip_of(network, "mismatch-20"), np.random.default_rng(1))
    plan = planned(runtime, network, fit_indices(network.references), Budget(rank=8))
    found = forecast(plan, no_factors(network.layers))
    assert 0 < found.noise_floor < found.reachable < found.before
    for layer in found.layers.values():
        assert layer.noise_floor <= layer.reachable <= layer.before


def test_components_that_are_noise_are_worth_nothing() -> None:
    """Noise with as many outputs as degrees of freedom has one spurious component of four times."""
    network = ideal_network()
    runtime = NoisyProbe(chip_of(network, "ideal"), np.random.default_rng(1))
    plan = planned(runtime, network, fit_indices(network.references), Budget(rank=1))
    for name, one in plan.solved.items():
        assert one.solution.values[0] > 0, name
        assert component_worth(one.statistics, one.metric, one.solution).max() == 0, name
        assert plan.bits[name] == ()
        assert isinstance(one, SolvedLayer)


def test_the_sentence() -> None:
    layers = {"a": LayerForecast(0.8, 0.04, 0.0, 0.01), "b": LayerForecast(0.86, 0.06, 0.0, 0.01)}
    found = Forecast(layers)
    assert str(found) == "recoverable: layer error 0.83 to about 0.05 (read noise 0.01)"
    assert found.promising
    assert not Forecast({"a": LayerForecast(0.1, 0.0995, 0.0, 0.09)}).promising
    assert Forecast({"a": LayerForecast(np.nan, np.nan, 0.0, 0.0)}).promising


def test_half_the_mean_square_of_differences_is_the_variance() -> None:
    noise = ReadNoise(2)
    assert noise.wanting == 64
    assert noise.variance().tolist() == [0, 0]
    noise.add(np.array([[2.0, 0.0], [-2.0, 1.0]], np.float32))
    assert noise.variance().tolist() == [2.0, 0.25]
    assert noise.wanting == 62

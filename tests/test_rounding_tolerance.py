"""What rounds a little differently is as healthy; what is broken is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.buffer import SampleBuffer
from agent.drift import drift
from agent.loop import CalibrationRequest, ClosedLoop
from agent.measurement import judge_chip
from agent.runtimes.base import Runtime
from agent.runtimes.onnxruntime import OnnxRuntime
from calib.factors import Factors, no_factors
from calib.graph.model import Graph
from calib.packed import PackedNetwork
from calib.rounding_tolerance import SHARE, rounding_tolerance
from tests.fakes import MemoryStore
from tests.onnx_runtimes import NumpyIntegers, on_both, residual
from tests.small_networks import classifier, on_int8_grid

Other = Callable[[PackedNetwork, OnnxRuntime], Runtime]
OTHERS: dict[str, Other] = {
    "not fused": lambda network, runtime: OnnxRuntime(network, runtime._outputs, fuse=False),
    "NumPy": lambda network, runtime: NumpyIntegers(network, runtime._outputs),
}
NETWORKS = {"residual": residual(), "depthwise": classifier(), "grid": on_int8_grid(classifier())}


def calibrated(
    graph: Graph, scheme: str
) -> tuple[PackedNetwork, OnnxRuntime, Factors, float, float]:
    """A network after its calibration: runtime, factors, error and tolerance."""
    network, runtime, _ = on_both(graph, scheme=scheme, fold=True)
    nothing, generator = no_factors(network.layers), np.random.default_rng(0)
    loop = ClosedLoop(network, runtime, nothing, SampleBuffer(), lambda: 0.0, generator)
    loop.calibrate(CalibrationRequest(samples=16), MemoryStore(lambda: loop.factors))
    baseline = judge_chip(runtime, network, loop.factors).mean_error
    tolerance = rounding_tolerance(network, runtime._outputs)
    return network, runtime, loop.factors, baseline, tolerance


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("scheme", ["int8", "int4", "int4-tensor"])
@pytest.mark.parametrize("name", NETWORKS)
def test_other_kernels_are_as_healthy(name: str, scheme: str, other: str) -> None:
    network, runtime, factors, baseline, tolerance = calibrated(NETWORKS[name], scheme)
    there = judge_chip(OTHERS[other](network, runtime), network, factors)
    assert abs(there.mean_error**2 - baseline**2) <= 2 * tolerance * max(baseline, tolerance)
    assert drift(there.mean_error, baseline, tolerance).state == "healthy"


@pytest.mark.parametrize("scheme", ["int8", "int4"])
@pytest.mark.parametrize("name", NETWORKS)
def test_bits_that_flipped_in_one_layer_are_seen(name: str, scheme: str) -> None:
    network, runtime, factors, baseline, tolerance = calibrated(NETWORKS[name], scheme)
    layer = network.layers[1].name
    weights = network.weights[layer]
    flipped = weights.codes.copy()
    flipped.reshape(-1)[::5] ^= 2 ** (weights.bits - 2)
    broken = replace(network, weights={**network.weights, layer: replace(weights, codes=flipped)})
    found = judge_chip(OnnxRuntime(broken, runtime._outputs), network, factors)
    assert drift(found.mean_error, baseline, tolerance).state in {"drifted", "failed"}


def test_the_tolerance_is_that_of_a_share_of_outputs_off_by_a_step() -> None:
    network, runtime, _ = on_both(residual(), scheme="int8")
    generator = np.random.default_rng(0)
    found = rounding_tolerance(network, runtime._outputs)
    held = network.references.held_back
    errors = []
    for layer in network.layers:
        block = network.references.block(np.arange(held), with_rows=False)
        wanted = block.layers[layer.name].outputs.astype(np.float64)
        step = runtime._outputs[layer.name].step
        off = np.where(generator.random((400, *wanted.shape)) < SHARE, step, 0.0)
        errors.append(np.sqrt((off**2).mean() / (wanted**2).mean()))
    assert found == pytest.approx(np.mean(errors), rel=0.03)


@given(error=st.floats(1e-6, 1.0), baseline=st.floats(1e-6, 1.0), tolerance=st.floats(0, 1.0))
def test_a_tolerance_only_lowers_the_score(error: float, baseline: float, tolerance: float) -> None:
    without, within = drift(error, baseline), drift(error, baseline, tolerance)
    assert without.score is not None
    assert within.score is not None
    assert within.score <= without.score
    moved = drift(math.hypot(baseline, tolerance), baseline, tolerance)
    assert moved.score == pytest.approx(1.0)
    assert moved.state == "healthy"


def test_an_error_far_above_rounding_is_an_alarm_even_on_a_tiny_baseline() -> None:
    assert drift(2e-3, 1e-4, 2e-3).state == "healthy"
    assert drift(2e-3, 1e-4).state == "failed"
    assert drift(2e-2, 1e-4, 2e-3).state == "failed"

"""Networks on chips that are computed fast: the same accuracy, before and after calibration."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.buffer import SampleBuffer
from agent.loop import CalibrationRequest, ClosedLoop, Commit
from agent.runtimes.cim import CimRuntime
from agent.store.bundle import open_bundle
from agent.store.package import read_package
from agent.workstation.demo_bundle import DEMO_BUNDLE, read_held_out
from calib.factors import Factors, no_factors
from calib.importers import load_model
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from device_models.array import Chip, State
from device_models.presets import preset
from tests.small_networks import classifier, packed, samples_for

ROOT = Path(__file__).resolve().parents[1]
Array = np.ndarray[Any, Any]


class Nowhere:
    """A store that keeps nothing."""

    def commit(self, payload: bytes) -> Commit:
        return Commit(1, len(payload))


def runtime_of(network: PackedNetwork, *, fast: bool, seed: int = 1) -> CimRuntime:
    chip = Chip(preset("sram-bitplane"), seed)
    return CimRuntime(network, chip, State(), np.random.default_rng(seed), fast=fast)


def calibrated(network: PackedNetwork, runtime: CimRuntime) -> Factors:
    loop = ClosedLoop(
        network,
        runtime,
        no_factors(network.layers),
        SampleBuffer(),
        time.monotonic,
        np.random.default_rng(0),
    )
    loop.calibrate(CalibrationRequest(samples=32), Nowhere())
    return loop.factors


def right(runtime: CimRuntime, factors: Factors, x: Array, y: Array) -> Array:
    """1 for each sample whose class is right."""
    return np.asarray(runtime.run(x, factors, {}).answers.argmax(axis=1) == y, float)


def agree(one: Array, other: Array) -> bool:
    """Whether two accuracies on the same samples differ by no more than sampling."""
    difference = one - other
    error = max(float(difference.std()), 0.5 / np.sqrt(len(one))) / np.sqrt(len(one))
    return bool(abs(difference.mean()) <= 4 * error)


def same_accuracy(network: PackedNetwork, x: Array, y: Array, seeds: range) -> None:
    nothing = no_factors(network.layers)
    raw, mended = [], []
    for fast in (False, True):
        runtimes = [runtime_of(network, fast=fast, seed=seed) for seed in seeds]
        assert all(len(r.exact_layers) < len(network.layers) / 2 for r in runtimes)
        raw.append(np.concatenate([right(r, nothing, x, y) for r in runtimes]))
        fitted = [right(r, calibrated(network, r), x, y) for r in runtimes]
        mended.append(np.concatenate(fitted))
    assert agree(*raw)
    assert agree(*mended)
    assert mended[1].mean() > raw[1].mean()


def test_a_runtime_says_which_layers_are_computed_exactly_and_why() -> None:
    network = packed(classifier())
    fast = runtime_of(network, fast=True)
    assert set(fast.exact_layers) <= {layer.name for layer in network.layers}
    assert "typical rows; a fast form is fitted to at least 96" in fast.exact_layers["head"]
    assert runtime_of(network, fast=False).exact_layers == {}
    ideal = CimRuntime(network, Chip(preset("ideal")), State(), np.random.default_rng(0), fast=True)
    assert ideal.exact_layers == {}


def test_errors_of_a_small_network_are_as_large() -> None:
    network = packed(classifier())
    x = samples_for(classifier(), 200, seed=9)
    nothing = no_factors(network.layers)
    clean = CimRuntime(network, Chip(preset("ideal")), State(), np.random.default_rng(0))
    truth = clean.run(x, nothing, {}).answers
    exact, fast = (
        runtime_of(network, fast=fast).run(x, nothing, {}).answers - truth for fast in (False, True)
    )
    assert fast.std() == pytest.approx(exact.std(), rel=0.15)
    assert np.corrcoef(exact.ravel(), fast.ravel())[0, 1] > 0.5


@pytest.mark.slow
def test_digits_are_read_as_well_fast_as_exactly() -> None:
    bundle = open_bundle(DEMO_BUNDLE)
    network = read_package(bundle).network
    held_out = read_held_out(bundle, network.graph.input.shape[1:])
    same_accuracy(network, held_out.inputs, held_out.labels, range(4))


@pytest.mark.slow
def test_resnet8_is_as_accurate_fast_as_exactly(data_directory: Path) -> None:
    file = np.load(data_directory / "cifar10.npz")
    network = prepare(
        load_model(data_directory / "mlperf-tiny" / "resnet8_float.tflite"),
        file["train_x"][:128].astype(np.float32),
        file["train_y"][:128],
        PackOptions(scheme="int8"),
    )
    x, y = file["test_x"][-256:].astype(np.float32), file["test_y"][-256:]
    same_accuracy(network, x, y, range(1000, 1002))


@pytest.mark.slow
def test_the_benchmark_runs(data_directory: Path, tmp_path: Path) -> None:
    out = tmp_path / "fast.md"
    done = subprocess.run(
        [sys.executable, "tools/bench_fast.py", "--quick", "--out", str(out)],
        cwd=ROOT,
        env={**os.environ, "NPP_DATA": str(data_directory), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = out.read_text(encoding="utf-8")
    for head in ("ratio", "naive", "images a second"):
        assert head in report

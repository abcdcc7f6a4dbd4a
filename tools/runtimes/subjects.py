"""What is measured: networks with their data, packed, and calibrated in one way or another."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_closed_loop import CASES, Data, NoStore, float_answers, read

from agent.buffer import SampleBuffer
from agent.loop import Calibration, CalibrationRequest, ClosedLoop
from agent.runtimes.onnxruntime import OnnxRuntime
from calib.budget import Budget
from calib.factors import Factors, no_factors
from calib.graph.model import Graph
from calib.importers import load_model
from calib.output_ranges import output_codes
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from calib.schemes.activations import ActivationCode

NETWORKS = ("resnet8 nf4", "keywords int4-tensor")
"""The cases of the closed loop's benchmark whose model and data are used."""


@dataclass(frozen=True)
class Subject:
    """A float network, its data, and what it answers."""

    name: str
    graph: Graph
    data: Data
    clean: np.ndarray
    """Its classes for the test samples."""


@dataclass(frozen=True)
class PackedSubject:
    """A subject in one scheme."""

    subject: Subject
    network: PackedNetwork
    outputs: Mapping[str, ActivationCode]

    def runtime(self, *, fold: bool = True) -> OnnxRuntime:
        """A fresh runtime."""
        return OnnxRuntime(self.network, self.outputs, fold=fold)


@dataclass(frozen=True)
class Scores:
    """Shares of the test samples."""

    accuracy: float
    agreement: float
    """With the float network."""


def subjects(directory: Path, *, quick: bool) -> list[Subject]:
    """All networks; few samples if it must be quick."""
    found = []
    for case in (case for case in CASES if case.name in NETWORKS):
        model = directory / "mlperf-tiny" / case.model
        data = read(directory, case, 100 if quick else case.test_samples)
        clean = float_answers(model, data.test_x)
        found.append(Subject(case.name.split()[0], load_model(model), data, clean))
    return found


def packed(subject: Subject, scheme: str) -> PackedSubject:
    """A subject and the codes of its outputs."""
    data = subject.data
    network = prepare(subject.graph, data.pack_x, data.pack_y, PackOptions(scheme))
    return PackedSubject(subject, network, output_codes(subject.graph, network, data.pack_x))


def calibrated(
    one: PackedSubject, runtime: OnnxRuntime, method: str = "probe", budget: Budget | None = None
) -> tuple[Factors, Calibration]:
    """The factors that are active after one calibration with 32 samples."""
    nothing, generator = no_factors(one.network.layers), np.random.default_rng(0)
    loop = ClosedLoop(one.network, runtime, nothing, SampleBuffer(), time.monotonic, generator)
    request = CalibrationRequest(samples=32, method=method, budget=budget or Budget())
    done = loop.calibrate(request, NoStore())
    return loop.factors, done


def scores(subject: Subject, named: np.ndarray) -> Scores:
    """How well classes fit the labels, and the float network's."""
    right = float((named == subject.data.test_y).mean())
    return Scores(right, float((named == subject.clean).mean()))


def classes(runtime: OnnxRuntime, subject: Subject, factors: Factors) -> np.ndarray:
    """What a runtime answers for the test samples."""
    return np.asarray(runtime.run(subject.data.test_x, factors, {}).answers.argmax(axis=1))

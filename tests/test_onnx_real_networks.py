"""Real networks on onnxruntime: what quantisation costs, and what a calibration repairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.buffer import SampleBuffer
from agent.loop import CalibrationRequest, ClosedLoop, Commit
from agent.runtimes.onnxruntime import OnnxRuntime
from calib.decision import decision_graph
from calib.factors import Factors, no_factors
from calib.graph.executor import run
from calib.importers import load_model
from calib.output_ranges import output_codes
from calib.prepare import PackOptions, prepare

IMAGES = 500


class Kept:
    """Takes any factors."""

    def commit(self, payload: bytes) -> Commit:
        return Commit(1, len(payload))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheme", "method", "before", "after"),
    [
        # Agreement with the float network: at least, uncorrected (at most, where there is much to
        # repair) and corrected. On 2,000 images it was 97.5, 47.3, 97.0 and 95.0 %.
        ("int8", "probe", (0.94, 1.0), 0.94),
        ("int4", "probe", (0.2, 0.65), 0.93),
        ("int4", "sequential", (0.2, 0.65), 0.90),
    ],
)
def test_resnet8(
    scheme: str,
    method: str,
    before: tuple[float, float],
    after: float,
    data_directory: Path,
) -> None:
    graph = load_model(data_directory / "mlperf-tiny" / "resnet8_float.tflite")
    images = np.load(data_directory / "cifar10.npz")
    known = images["train_x"][:128].astype(np.float32)
    x = images["test_x"][:IMAGES].astype(np.float32)
    with np.errstate(under="ignore"):  # as outside the tests
        network = prepare(graph, known, images["train_y"][:128], PackOptions(scheme))
        clean = run(decision_graph(graph), x)[decision_graph(graph).output].argmax(axis=1)
    runtime = OnnxRuntime(network, output_codes(graph, network, known))
    nothing, generator = no_factors(network.layers), np.random.default_rng(0)
    loop = ClosedLoop(network, runtime, nothing, SampleBuffer(), lambda: 0.0, generator)

    def agreement(factors: Factors) -> float:
        return float((runtime.run(x, factors, {}).answers.argmax(axis=1) == clean).mean())

    low, high = before
    assert low <= agreement(nothing) <= high
    done = loop.calibrate(CalibrationRequest(method=method), Kept())
    assert done.verdict.accepted
    assert agreement(loop.factors) >= after

"""A network in one variant: its factors, the model that is in use, and how it is loaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.buffer import SampleBuffer
from agent.chip import chip_of
from agent.loop import CalibrationRequest, ClosedLoop, Commit
from agent.runtimes import onnx_session, tflite_interpreter
from agent.runtimes.names import ONNXRUNTIME
from agent.runtimes.onnx_bytes import onnx_model
from agent.runtimes.open import runtime_of
from agent.runtimes.output_codes import FILE_NAME, decode_output_codes
from agent.runtimes.tflite_files import checked_plan, places_in
from agent.runtimes.tflite_patch import patched
from agent.runtimes.tflite_plan import MODEL_NAME
from agent.store.bundle import open_bundle
from agent.store.package import Package, read_package
from calib.budget import Budget
from calib.factors import Factors, Surrogate, no_factors
from calib.graph.linear import LinearLayer
from calib.integer_graph import integer_graph
from device_models.array import State

Answer = Callable[[np.ndarray], np.ndarray]
RANK = 8
SAMPLES = 32


@dataclass(frozen=True)
class Prepared:
    """A variant."""

    content: bytes
    """The model in use, as a file."""

    load: Callable[[], Answer]
    """Of the model that is timed."""

    plain: Callable[[], Answer | None]
    """Before calibration; None where there is none."""

    in_use: Callable[[], Answer]
    """What answers afterwards: without factors, where they were refused."""

    facts: Mapping[str, Any]


class NoStore:
    """Keeps nothing."""

    def commit(self, payload: bytes) -> Commit:
        """Accept factors."""
        return Commit(1, len(payload))


def float_model(path: Path, suffix: str) -> Prepared:
    """The float model itself, for TFLite; written as ONNX, for onnxruntime."""
    if suffix == ".tflite":
        backend, content = tflite_interpreter.imported(), path.read_bytes()

        def load() -> Answer:
            model = tflite_interpreter.TfliteModel(backend, content, path.name)

            def answer(x: np.ndarray) -> np.ndarray:
                return np.concatenate([next(iter(model.run(one).values())) for one in _ones(x)])

            def _ones(x: np.ndarray) -> list[np.ndarray]:
                return [one.reshape(model.input_shape) for one in x]

            return answer

        version = f"{backend.name} {backend.version}"
    else:
        content, load, version = _float_onnx(path)
    facts = {"beside": 0, "folded": 0, "accepted": None, "bundle_bytes": None, "with": version}
    return Prepared(content, load, lambda: None, load, facts)


def _float_onnx(path: Path) -> tuple[bytes, Callable[[], Answer], str]:
    from calib.decision import decision_graph  # noqa: PLC0415 - a board has no importers
    from calib.importers import load_model  # noqa: PLC0415

    graph, package = decision_graph(load_model(path)), onnx_session.imported()

    def load() -> Answer:
        session = onnx_session.OnnxSession(package, graph, [graph.output], integer=False)
        return lambda x: np.concatenate([session.run(one[None])[graph.output] for one in x])

    content = onnx_model(graph, [graph.output])
    return content, load, f"onnxruntime {package.__version__}"


def prepared(given: Mapping[str, Any]) -> Prepared:
    """A bundle with factors.

    Args:
        given: `bundle`, a path; `factors`, which are `none`, `calibrated` (one calibration of ours
            here, or, where nothing promised to be gained, stand-ins at `layers`) or `stand-ins`;
            `slowdown`, a limit or null; `layers`, names or null for all.
    """
    path = Path(given["bundle"])
    package = read_package(open_bundle(path))
    chip = chip_of({"name": "ideal", "seed": 0})
    runtime = runtime_of(package, chip, State(), np.random.default_rng(0))
    nothing = no_factors(package.network.layers)
    timed = used = nothing
    accepted = None
    if given["factors"] == "calibrated":
        loop = ClosedLoop(
            package.network,
            runtime,
            nothing,
            SampleBuffer(),
            time.monotonic,
            np.random.default_rng(0),
        )
        budget = Budget(slowdown=given["slowdown"])
        done = loop.calibrate(CalibrationRequest(samples=SAMPLES, budget=budget), NoStore())
        timed, used, accepted = done.factors, loop.factors, done.verdict.accepted
    elif given["factors"] == "stand-ins":
        timed = stand_ins(package.network.layers, given["layers"])
    content, beside = in_use(package, timed)
    branched = [layer.name for layer in package.network.layers if timed[layer.name].rank]
    facts = {
        "beside": len(beside),
        "folded": len(set(branched) - beside),
        "layers": sorted(beside),
        "accepted": accepted,
        "bundle_bytes": path.stat().st_size,
    }
    return Prepared(
        content=content,
        load=lambda: runtime.loaded(timed),
        plain=lambda: runtime.loaded(nothing),
        in_use=lambda: runtime.loaded(used),
        facts=facts,
    )


def in_use(package: Package, factors: Factors) -> tuple[bytes, set[str]]:
    """The model that answers with these factors, and the layers with a branch beside them."""
    network, files = package.network, package.files
    if package.runtime == ONNXRUNTIME:
        outputs = decode_output_codes(files[FILE_NAME], [one.name for one in network.layers])
        graph = integer_graph(network, outputs, factors, fold=True)
        ends = [node.name for node in graph.nodes if node.name.endswith("@both")]
        return onnx_model(graph, [graph.output]), {name.removesuffix("@both") for name in ends}
    plan = checked_plan(network, files)
    content = patched(files[MODEL_NAME], places_in(plan, tapped=False), network, factors)
    return content, {name for name, one in plan.layers.items() if one.rank}


def stand_ins(layers: Any, names: list[str] | None) -> Factors:
    """Branches of rank 8; what is in them makes no difference to the time."""

    def surrogate(layer: LinearLayer) -> Surrogate:
        rank = min(RANK, layer.inputs, layer.outputs // layer.groups)
        return Surrogate(
            gain=np.ones(layer.outputs, np.float32),
            offset=np.zeros(layer.outputs, np.float32),
            a=np.full((layer.groups * rank, layer.inputs), 1e-3, np.float32),
            b=np.full((layer.outputs, rank), 1e-3, np.float32),
        )

    chosen = [one for one in layers if names is None or one.name in names]
    return Factors(
        {**no_factors(layers).surrogates, **{one.name: surrogate(one) for one in chosen}}
    )

"""The demo: handwritten digits on one bad chip, from installation to roll-back.

Everything happens as a user would have it happen: in a store on disk, opened anew for each step;
the restart is a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import agent
from agent.chip import describe_chip
from agent.data_file import Data
from agent.drift import Drift
from agent.errors import AgentError, InputError, NoBundleError
from agent.evaluation import evaluate
from agent.events import INSTALLATION, ROLLBACK, record
from agent.inspection import inspection_document
from agent.installation import install
from agent.loop import Calibration, CalibrationRequest
from agent.report import calibration_document, measurement_document
from agent.session import open_session
from agent.store.bundle import Bundle, open_bundle
from agent.store.package import read_package
from agent.store.store import Store
from agent.workstation.demo_bundle import DEMO_BUNDLE, read_held_out
from calib.costs import surrogate_share

CHIP, CHIP_SEED = "mismatch-40", 0
"""Digits are easy, so the chip is a bad one."""

SEEDS_TRIED = 8
"""Of the seeds below this, CHIP_SEED costs the network most."""

STEPS = 8
_PATIENCE_S = 300


@dataclass(frozen=True)
class Stage:
    """Where the demo takes place."""

    store: Store
    bundle: Bundle
    digits: Data
    """Held out."""

    tell: Callable[[int, int], None]
    """Is told how many steps are done, and of how many."""


def run_demo(
    store: Store,
    chip: str = CHIP,
    chip_seed: int = CHIP_SEED,
    bundle_file: Path = DEMO_BUNDLE,
    tell: Callable[[int, int], None] = lambda _done, _of: None,
) -> dict[str, Any]:
    """Play the whole story; returns every figure, as JSON holds them.

    Args:
        store: an empty one, or one that an earlier demo left.
        chip: a preset, or the path of a TOML file.
        chip_seed: which chip of its kind.
        bundle_file: the demo's bundle.
        tell: is told how many steps are done, and of how many.

    Raises:
        AgentError: the bundle or the store cannot be used.
        DeviceModelError: there is no such chip.
    """
    started_s = time.monotonic()
    described = describe_chip(chip, chip_seed)
    bundle = open_bundle(bundle_file)
    package = read_package(bundle)
    held_out = read_held_out(bundle, package.network.graph.input.shape[1:])
    stage = Stage(store, bundle, Data(held_out.inputs, held_out.labels.astype(np.int64)), tell)
    document = inspection_document(package)
    with store.lock(create=True):
        _check_free(store, bundle)
        tell(1, STEPS)
        install(store, bundle, package, described)
        record(store, INSTALLATION, {"model": package.model, "chip": described})
        document |= _before(stage) | _calibrated(stage)
    if document["calibration"]["accepted"]:
        document |= {"restart": _restarted(stage)}
        document |= {"rollback": _rolled_back(stage), "again": _calibrated_again(stage)}
    tell(STEPS, STEPS)
    return document | {
        "chip": described,
        "seeds_tried": SEEDS_TRIED if (chip, chip_seed) == (CHIP, CHIP_SEED) else None,
        "attribution": dict(bundle.document.get("attribution", {})),
        "bundle_bytes": len(bundle.data),
        "store": str(store.directory),
        "seconds": time.monotonic() - started_s,
    }


def _check_free(store: Store, bundle: Bundle) -> None:
    """Nobody's network is replaced by the demo's."""
    try:
        state = store.state()
    except NoBundleError:
        return
    if state.bundle_id != bundle.id:
        raise InputError(
            f"another bundle ({state.bundle_id[:12]}) is installed in {store.directory}, and the "
            "demo would replace it; name an empty directory with --store"
        )


def _before(stage: Stage) -> dict[str, Any]:
    """The chip without factors."""
    session = open_session(stage.store)
    stage.tell(2, STEPS)
    loop = session.loop
    found = evaluate(loop, stage.digits, loop.network.float_graph)
    return {
        "samples": found.samples,
        "float": found.float_accuracy,
        "uncorrected": found.uncorrected,
        "before": measurement_document(loop.measure(), Drift("unknown", None))["layers"],
    }


def _calibrated(stage: Stage) -> dict[str, Any]:
    """The closed loop, once, and how well the network answers then."""
    session = open_session(stage.store)
    stage.tell(3, STEPS)
    calibration = session.calibrate(CalibrationRequest())
    recorded = session.record(calibration)
    stage.tell(4, STEPS)
    report = calibration_document(calibration, session.loop.buffer, session.sequence)
    report["selected"] = _explained(report["selected"], calibration)
    report["other_bytes_written"] = recorded.bytes_written
    loop = session.loop
    found = evaluate(loop, stage.digits, loop.network.float_graph)
    ranks = {layer.name: calibration.factors[layer.name].rank for layer in loop.network.layers}
    return {
        "calibration": report,
        "corrected": found.corrected,
        "agreement": found.agreement,
        "after": measurement_document(loop.measure(), Drift("unknown", None))["layers"],
        "surrogate_mac_share": surrogate_share(loop.network.layers, ranks),
        "bytes_written": report["bytes_written"] + recorded.bytes_written,
        "restart": None,
        "rollback": None,
        "again": None,
    }


def _explained(selected: list[dict[str, Any]], calibration: Calibration) -> list[dict[str, Any]]:
    """Each chosen sample with the prediction that it was chosen for."""
    predicted = calibration.sensitivity
    margins = dict(zip(predicted.indices.tolist(), predicted.margins.tolist(), strict=True))
    changes = dict(zip(predicted.indices.tolist(), predicted.changes.tolist(), strict=True))
    return [
        {**one, "margin": margins[one["index"]], "predicted_change": changes[one["index"]]}
        for one in selected
    ]


def _restarted(stage: Stage) -> dict[str, Any]:
    """What a process of its own, which knows the store's path alone, finds there."""
    stage.tell(5, STEPS)
    with tempfile.TemporaryDirectory(prefix="npp-demo-") as folder:
        data = Path(folder) / "digits.npz"
        np.savez(data, x=stage.digits.x, y=np.asarray(stage.digits.y))
        found = _npp_agent("evaluate", "--data", str(data), "--store", str(stage.store.directory))
    return {"sequence": found["sequence"], "corrected": found["corrected"]}


def _npp_agent(*arguments: str) -> Mapping[str, Any]:
    """What this program prints with `--json` when another process runs it.

    Raises:
        AgentError: it fails, or does not end.
    """
    ours = str(Path(agent.__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [ours, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "agent.cli", *arguments, "--json"]
    try:
        done = subprocess.run(  # noqa: S603 - this program, with our own arguments
            command,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AgentError(f"a second process cannot be run: {error}") from error
    if done.returncode:
        raise AgentError(f"in a second process: {done.stderr.strip().removeprefix('npp-agent: ')}")
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


def _rolled_back(stage: Stage) -> dict[str, Any]:
    """Back to no factors at all."""
    stage.tell(6, STEPS)
    with stage.store.lock():
        done = stage.store.rollback(0)
        record(stage.store, ROLLBACK, {"sequence": done.after, "from_sequence": done.before})
        session = open_session(stage.store)
        found = evaluate(session.loop, stage.digits, None)
    return {
        "from_sequence": done.before,
        "sequence": session.sequence,
        "accuracy": found.corrected,
    }


def _calibrated_again(stage: Stage) -> dict[str, Any]:
    """The store is left with factors that help."""
    stage.tell(7, STEPS)
    with stage.store.lock():
        session = open_session(stage.store)
        calibration = session.calibrate(CalibrationRequest())
        session.record(calibration)
        found = evaluate(session.loop, stage.digits, None)
    commit = calibration.commit
    return {
        "accepted": calibration.verdict.accepted,
        "sequence": commit.sequence if commit is not None else session.sequence,
        "accuracy": found.corrected,
    }

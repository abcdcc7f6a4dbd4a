"""Seconds and peak memory: each method alone in a process of its own, on one chip.

The parent packs; the child reads the bundle and the samples, as a board would, and calibrates.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from bench_report import peak_megabytes

from agent.store.bundle import open_bundle
from agent.store.package import Package, package_bytes, read_package
from calib.decision import decision_graph
from calib.importers import load_model
from recovery.cases import CASES, Case
from recovery.methods import Method, methods
from recovery.ours import Ours, fit_alone
from recovery.repetition import Range
from recovery.results import Record, Results
from recovery.samples import Samples
from recovery.subject import Buffered, Material, Subject, buffered, material

TIMING = "timing"
SHORT_S, REPEATS = 2.0, 5
"""What takes less is run so many times, and the median counts."""


def time_methods(directory: Path, asked: Range, results: Results) -> Iterator[Record]:
    """Time each method on the first chip and buffer, in a process each."""
    chip, buffer = asked.chips[0], asked.buffers[0]
    for case in asked.cases:
        if case.missing is not None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            shared = buffered(material(directory, case, 1), buffer)
            bundle = package_bytes(Package(shared.network, case.name, "cim"))
            (Path(folder) / "bundle.npp").write_bytes(bundle)
            np.savez(Path(folder) / "samples.npz", x=shared.samples.x, y=shared.samples.y)
            for method in asked.methods:
                if method.missing(case) is None:
                    record = _child(Path(folder), directory, case, method, chip)
                    results.add({**record, "buffer": buffer})
                    yield {**record, "buffer": buffer}


def _child(folder: Path, directory: Path, case: Case, method: Method, chip: int) -> Record:
    given = {
        "folder": str(folder),
        "directory": str(directory),
        "case": case.name,
        "method": method.name,
        "chip": chip,
    }
    script = Path(__file__).resolve().parents[1] / "bench_recovery.py"
    command = [sys.executable, str(script), "--results", "-", "--one", json.dumps(given)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def time_one(given: Record) -> Record:
    """What the child does: one method on one chip; returns seconds and peak megabytes."""
    case = next(case for case in CASES if case.name == given["case"])
    subject = Subject(_shared(Path(given["folder"]), Path(given["directory"]), case), given["chip"])
    method = methods()[given["method"]]
    method.load()
    ready_mb = peak_megabytes()
    seconds, cpu_s = _clocked(lambda: method.run(subject))
    record = {
        "kind": TIMING,
        "case": case.name,
        "chip": given["chip"],
        "method": method.name,
        "seconds": seconds,
        "cpu_s": cpu_s,
        "ready_mb": ready_mb,
        "peak_mb": peak_megabytes(),
    }
    ours = method.run
    if isinstance(ours, Ours):
        record["fit_s"], record["fit_cpu_s"] = _clocked(lambda: fit_alone(subject, ours))
    return record


def _shared(folder: Path, directory: Path, case: Case) -> Buffered:
    network = read_package(open_bundle(folder / "bundle.npp")).network
    with np.load(folder / "samples.npz", allow_pickle=False) as file:
        samples = Samples(file["x"], file["y"])
    # The bundle's own float network, where it keeps one: a board reads no model file.
    graph = network.float_graph or load_model(directory / "mlperf-tiny" / case.model)
    return Buffered(
        Material(case, decision_graph(graph), samples, samples[:1]), 0, samples, network
    )


def _clocked(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of the first run; of the median, where runs are short."""
    found = []
    for _ in range(REPEATS):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - wall_s, time.process_time() - cpu_s))
        if found[0][0] > SHORT_S:
            return found[0]
    wall, cpu = np.median(np.array(found), axis=0)
    return float(wall), float(cpu)

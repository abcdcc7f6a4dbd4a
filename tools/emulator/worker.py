"""The process of one of our subjects; started by tools/bench_emulator.py.

python worker.py BUNDLE BATCH.npy SUBJECT
"""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

from agent.allocator import keep_freed_memory
from agent.runtimes.cim import CimRuntime
from agent.store.bundle import open_bundle
from agent.store.package import read_package
from calib.factors import no_factors
from calib.graph.executor import run
from calib.packed import PackedNetwork
from device_models.array import Chip, State
from emulator.serving import Ready, Run, SubjectMissingError, built, serve
from emulator.subjects import Subject, by_name

CHIP_SEED = 1600


def make(network: PackedNetwork, subject: Subject, x: np.ndarray) -> Ready:
    """Build a subject.

    Raises:
        SubjectMissingError: it would be the same as another one here.
    """
    versions = {"Python": platform.python_version(), "NumPy": version("numpy")}
    if subject.device is None:
        graph = network.decision_graph
        return built(lambda: lambda: run(graph, x)[graph.output], versions)
    ready = built(lambda: on_chip(network, subject, x, fast=subject.fast), versions)
    if subject.numba:
        ready.run()
        if "numba" not in sys.modules:
            raise SubjectMissingError(
                "this version computes nothing with numba, or it is not installed"
            )
        versions["numba"] = version("numba")
    if subject.fast and (ready.run() == on_chip(network, subject, x, fast=False)()).all():
        raise SubjectMissingError(
            "the fast form gives the exact one's answers: no model has one here"
        )
    return ready


def on_chip(network: PackedNetwork, subject: Subject, x: np.ndarray, *, fast: bool) -> Run:
    """Write the network into a chip; the same chip and read noise each time."""
    assert subject.device is not None
    generator = np.random.default_rng(CHIP_SEED)
    runtime = CimRuntime(network, Chip(subject.device, CHIP_SEED), State(), generator, fast=fast)
    nothing = no_factors(network.layers)
    return lambda: runtime.run(x, nothing, {}).answers


def main() -> None:
    """Serve one subject, with memory kept for the next run as every command keeps it."""
    keep_freed_memory()
    bundle, batch, name = sys.argv[1:]
    network = read_package(open_bundle(Path(bundle))).network
    x = np.load(batch, allow_pickle=False)
    serve(lambda: make(network, by_name()[name], x))


if __name__ == "__main__":
    main()

"""Benchmark of the runtime onnxruntime: latency of branches, and what a calibration repairs.

    NPP_DATA=DIR python tools/bench_runtimes.py [--quick] [--out FILE.md]

Packs MLPerf Tiny's ResNet-8 and keyword network with 96 references and 32 held-back samples.
Latency: single samples, one thread; all variants take turns in every round, so that ratios hold on
a busy machine where milliseconds do not. Accuracy: on samples that took no part, before and after
one calibration with 32 samples, all on the runtime.
"""

from __future__ import annotations

import argparse
import os

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"  # before NumPy is imported

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from bench_closed_loop import CASES, Data, NoStore, float_answers, read
from bench_report import machine, markdown_table

from agent.buffer import SampleBuffer
from agent.loop import CalibrationRequest, ClosedLoop
from agent.runtimes.onnx_session import OnnxSession, imported
from agent.runtimes.onnxruntime import OnnxRuntime
from calib.budget import Budget
from calib.decision import decision_graph
from calib.factors import Factors, no_factors
from calib.graph.model import Graph
from calib.importers import load_model
from calib.integer_graph import integer_graph
from calib.output_ranges import output_codes
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from calib.schemes.activations import ActivationCode
from calib.schemes.weights import SCHEMES

NETWORKS = ("resnet8 nf4", "keywords int4-tensor")
"""The cases of the closed loop's benchmark whose model and data are used."""

INTEGER = "integers"
"""The variant without surrogate that others are compared with."""

ROUNDS, RUNS = 21, 30
METHODS = (("probe", None), ("sequential", None), ("probe", 0))
"""Each with a rank; None: what the bundle says, which is 8."""


def packed(
    graph: Graph, data: Data, scheme: str
) -> tuple[PackedNetwork, Mapping[str, ActivationCode]]:
    """A network and the codes of its outputs."""
    network = prepare(graph, data.pack_x, data.pack_y, PackOptions(scheme))
    return network, output_codes(graph, network, data.pack_x)


def calibrated(
    network: PackedNetwork, runtime: OnnxRuntime, method: str, rank: int | None = None
) -> tuple[Factors, bool]:
    """Factors after one calibration, and whether they were accepted."""
    nothing, generator = no_factors(network.layers), np.random.default_rng(0)
    loop = ClosedLoop(network, runtime, nothing, SampleBuffer(), time.monotonic, generator)
    request = CalibrationRequest(samples=32, method=method, budget=Budget(rank))
    done = loop.calibrate(request, NoStore())
    return loop.factors, done.verdict.accepted


def accuracy_rows(
    name: str, data: Data, clean: np.ndarray, scheme: str, graph: Graph
) -> list[list[str]]:
    """Accuracy of one scheme before and after each method."""
    network, outputs = packed(graph, data, scheme)
    runtime = OnnxRuntime(network, outputs)

    def answers(factors: Factors) -> np.ndarray:
        return np.asarray(runtime.run(data.test_x, factors, {}).answers.argmax(axis=1))

    raw, rows = answers(no_factors(network.layers)), []
    for method, rank in METHODS:
        factors, accepted = calibrated(network, runtime, method, rank)
        mended = answers(factors)
        shares = [(named == data.test_y).mean() for named in (clean, raw, mended)]
        shares += [(named == clean).mean() for named in (raw, mended)]
        said = method if rank is None else f"{method}, rank {rank}"
        row = [name, scheme, said, *(f"{share:.1%}" for share in shares)]
        rows.append([*row, "yes" if accepted else "no"])
        print(f"  {rows[-1]}", file=sys.stderr, flush=True)
    return rows


def variants(graph: Graph, data: Data) -> dict[str, Callable[[], OnnxSession]]:
    """By name, what loads a network: float, integer, and integer with branches."""
    network, outputs = packed(graph, data, "int4")  # computed as int8, and always worth branches
    factors, _ = calibrated(network, OnnxRuntime(network, outputs), "probe")
    nothing, package = no_factors(network.layers), imported()
    largest = max(network.layers, key=lambda layer: layer.weight.size).name
    flat = {
        name: replace(one, a=one.a[:0], b=one.b[:, :0], bits=())
        for name, one in factors.surrogates.items()
    }
    chosen = {
        INTEGER: nothing,
        f"{INTEGER}, gains and offsets": Factors(flat),
        f"{INTEGER}, a branch at the largest layer": nothing.replaced(largest, factors[largest]),
        f"{INTEGER}, branches everywhere": factors,
    }

    def loading(made: Graph) -> Callable[[], OnnxSession]:
        return lambda: OnnxSession(package, made, [made.output])

    found = {"float": loading(decision_graph(graph))}
    for name, some in chosen.items():
        found[name] = loading(integer_graph(network, outputs, some))
    return found


def milliseconds(work: Callable[[], object], times: int) -> float:
    """Mean time of something done so many times, once more before to warm up."""
    work()
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times * 1e3


def latency_rows(name: str, graph: Graph, data: Data, rounds: int) -> list[list[str]]:
    """Median time of one sample and of loading, and the ratio to int8 in the same round."""
    loads = variants(graph, data)
    sessions = {who: load() for who, load in loads.items()}
    one, runs, loadings = data.test_x[:1], {}, {}
    for who in loads:
        runs[who], loadings[who] = np.empty(rounds), np.empty(rounds)
    for turn in range(rounds):
        for who, session in sessions.items():
            runs[who][turn] = milliseconds(lambda s=session: s.run(one), RUNS)  # type: ignore[misc]  # a lambda's default has no annotation
    for turn in range(rounds):
        for who, load in loads.items():
            loadings[who][turn] = milliseconds(load, 1)
    rows = []
    for who, times in runs.items():
        low, middle, high = np.percentile(times / runs[INTEGER], [10, 50, 90])
        ratio = f"{middle:.2f} ({low:.2f} to {high:.2f})"
        rows.append(
            [name, who, f"{np.median(times):.3f}", ratio, f"{np.median(loadings[who]):.1f}"]
        )
    return rows


def main() -> None:
    """Print the report, or write it to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few images and rounds")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    directory = Path(os.environ["NPP_DATA"])
    latencies: list[list[str]] = []
    accuracies: list[list[str]] = []
    for case in (case for case in CASES if case.name in NETWORKS):
        name, model = case.name.split()[0], directory / "mlperf-tiny" / case.model
        data = read(directory, case, 100 if given.quick else case.test_samples)
        graph, clean = load_model(model), float_answers(model, data.test_x)
        latencies += latency_rows(name, graph, data, 5 if given.quick else ROUNDS)
        for scheme in SCHEMES:
            accuracies += accuracy_rows(name, data, clean, scheme, graph)
    text = report(latencies, accuracies)
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    else:
        print(text)


def report(latencies: list[list[str]], accuracies: list[list[str]]) -> str:
    """The tables."""
    head = (
        "network",
        "variant",
        "one sample, ms",
        "of plain integers (10 % to 90 %)",
        "loading, ms",
    )
    other = (
        "network", "scheme", "method", "float", "uncorrected", "corrected",
        "agreement before", "after", "accepted",
    )  # fmt: skip
    version = imported().__version__
    return "\n\n".join(
        [
            "# The runtime onnxruntime",
            machine(f"onnxruntime {version}; packing seed 0"),
            "## Latency",
            markdown_table(head, latencies),
            "## Accuracy",
            markdown_table(other, accuracies),
            "",
        ]
    )


if __name__ == "__main__":
    main()

"""Benchmark of factor swaps: how long one takes, what it needs, and what requests notice of it.

    NPP_DATA=DIR python tools/bench_swap.py [--quick] [--runtime onnxruntime] [--out FILE.md]

MLPerf Tiny's ResNet-8 in int8 with branches of rank 8 at every layer, the most that there is to
load. One thread asks for one sample after another; the swaps are made by a second one, every
20 ms, as the service does it. Requests are timed in turns with and without swaps, so that both see
the same machine.
"""

from __future__ import annotations

import argparse
import ctypes
import os

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"  # before NumPy is imported

import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from bench_report import machine, markdown_table

from agent.chip import chip_of
from agent.runtimes.base import Float32, Runtime
from agent.runtimes.names import ONNXRUNTIME, RUNTIMES
from agent.serving import Check, Serving, check_of
from agent.session import runtime_of
from agent.store.bundle import open_bundle
from agent.store.package import Package, read_package
from calib.factors import Factors, Surrogate, no_factors
from calib.graph.linear import LinearLayer
from calib.packed import PackedNetwork
from device_models.array import State

HERE = Path(__file__).resolve().parent
PAUSE_S = 0.02
SIZE = 0.01
RANK = 8


@dataclass
class Times:
    """Milliseconds of requests and of swaps."""

    quiet: list[float] = field(default_factory=list)
    swapping: list[float] = field(default_factory=list)
    swap: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    """Of swaps while nobody asks."""

    processor: list[float] = field(default_factory=list)
    """What the thread that swaps computes, whoever else does."""


def package(data: Path, runtime: str) -> Package:
    """ResNet-8 as `npp-agent pack` makes it for a runtime."""
    model, samples = data / "mlperf-tiny" / "resnet8_float.tflite", data / "cifar10.npz"
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "network.npp"
        command = [sys.executable, "-m", "agent.cli", "pack", str(model), "--key", "train"]
        command += ["--samples", str(samples), "--runtime", runtime, "--out", str(bundle)]
        subprocess.run(command, cwd=HERE.parent, check=True, stdout=subprocess.DEVNULL)
        return read_package(open_bundle(bundle))


def factors_of(network: PackedNetwork, runtime: Runtime, seed: int) -> Factors:
    """Factors of rank 8 that change answers a little, everywhere or where the runtime has room."""
    room = getattr(runtime, "largest_ranks", {})
    generator = np.random.default_rng(seed)

    def drawn(*shape: int) -> Float32:
        return (SIZE * generator.standard_normal(shape)).astype(np.float32)

    def surrogate(layer: LinearLayer) -> Surrogate:
        rank = min(RANK, layer.inputs, layer.outputs // layer.groups, room.get(layer.name, RANK))
        return Surrogate(
            1 + drawn(layer.outputs),
            drawn(layer.outputs),
            drawn(layer.groups * rank, layer.inputs),
            drawn(layer.outputs, rank),
        )

    return Factors({layer.name: surrogate(layer) for layer in network.layers})


def resident_megabytes() -> float:
    """Resident memory now, after the C library has given back what is free (GNU only)."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def memory(runtime: Runtime, network: PackedNetwork) -> tuple[float, float, float]:
    """Resident MB before the first model is loaded, with it, and with a second beside it."""
    sample = np.zeros((1, *network.graph.input.shape[1:]), np.float32)
    first, second = (factors_of(network, runtime, seed) for seed in (1, 2))
    runtime.loaded(no_factors(network.layers))(sample)  # what is loaded once for all
    before = resident_megabytes()
    one = runtime.loaded(first)
    one(sample)
    with_one = resident_megabytes()
    other = runtime.loaded(second)
    other(sample)
    return before, with_one, resident_megabytes()


def swaps(serving: Serving, sets: list[tuple[Factors, Check]], times: Times, count: int) -> None:
    """Swap so many times, with pauses."""
    for number in range(1, count + 1):
        factors, check = sets[number % len(sets)]
        started = time.thread_time()
        done = serving.swap(factors, number, check)
        times.processor.append(1000 * (time.thread_time() - started))
        if not done.accepted:
            raise SystemExit(done.reason)
        times.swap.append(1000 * done.seconds)
        times.load.append(1000 * done.load_s)
        time.sleep(PAUSE_S)


def requests(serving: Serving, sample: Float32, into: list[float], stop: threading.Event) -> None:
    """Ask until told to stop."""
    while not stop.is_set():
        started = time.perf_counter()
        serving.infer(sample)
        into.append(1000 * (time.perf_counter() - started))


def measure(runtime: Runtime, network: PackedNetwork, rounds: int, count: int) -> Times:
    """Requests with and without swaps, in turns."""
    sets = [
        (one, check_of(runtime, network, one))
        for one in (factors_of(network, runtime, seed) for seed in (1, 2))
    ]
    sample = network.references.block(np.arange(1), with_rows=False).inputs
    serving = Serving(runtime.loaded, sets[0][0], 0)
    times = Times()
    swaps(serving, sets, Times(), 2)
    for _ in range(rounds):
        nobody = Times()
        swaps(serving, sets, nobody, count)
        times.alone += nobody.swap
        times.processor += nobody.processor
        started = time.monotonic()
        for into in (times.swapping, times.quiet):
            stop = threading.Event()
            asking = threading.Thread(target=requests, args=(serving, sample, into, stop))
            asking.start()
            if into is times.swapping:
                swaps(serving, sets, times, count)
                took = time.monotonic() - started
            else:
                time.sleep(took)
            stop.set()
            asking.join()
    return times


def text(values: list[float]) -> list[str]:
    """Median, 95 and 99 percent, largest, count."""
    shares = np.percentile(values, [50, 95, 99, 100])
    return [*(f"{value:.2f}" for value in shares), str(len(values))]


def report(data: Path, runtime_name: str, rounds: int, count: int) -> str:
    """The whole report."""
    packed = package(data, runtime_name)
    chip = chip_of({"name": "ideal", "seed": 0})
    runtime = runtime_of(packed, chip, State(), np.random.default_rng(0))
    before, with_one, with_two = memory(runtime, packed.network)
    times = measure(runtime, packed.network, rounds, count)
    rows = [
        ["processor time of a swap", *text(times.processor)],
        ["a swap while nobody asks", *text(times.alone)],
        ["a swap while requests are answered", *text(times.swap)],
        ["loading the model in that", *text(times.load)],
        ["a request while nothing is swapped", *text(times.quiet)],
        ["a request while factors are swapped", *text(times.swapping)],
    ]
    head = ["ms", "median", "95 %", "99 %", "largest", "count"]
    seeds = "factors drawn with seeds 1 and 2"
    return f"""# Swapping factors on {runtime_name}

{machine(seeds)}

ResNet-8, int8, a branch of rank {RANK} at every layer that has room for one. A second
thread swaps, with pauses of {PAUSE_S} s; the first asks for one sample after another all the while.

{markdown_table(head, rows)}

A loaded model takes {with_one - before:.1f} MB of resident memory; while a swap goes on a
second one stands beside it: {with_two - before:.1f} MB for both.
"""


def main() -> None:
    """Measure, and write a Markdown report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round of few swaps")
    parser.add_argument("--runtime", choices=RUNTIMES, default=ONNXRUNTIME)
    parser.add_argument("--out", type=Path, help="write the report here too")
    chosen = parser.parse_args()
    if "NPP_DATA" not in os.environ:
        sys.exit("set NPP_DATA to the folder of the MLPerf Tiny models and their data")
    rounds, count = (1, 20) if chosen.quick else (5, 60)
    found = report(Path(os.environ["NPP_DATA"]), chosen.runtime, rounds, count)
    print(found)
    if chosen.out:
        chosen.out.write_text(found, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Benchmark of the emulation of bit-plane arrays: what the fast form keeps, and what it saves.

    NPP_DATA=DIR python tools/bench_fast.py [--chips 3] [--images 1000] [--quick] [--out FILE.md]

Three tables: one layer at several ratios of analog spread to converter step, computed exactly, in
the fast form, and in the naive form that is wrong; the accuracy of MLPerf Tiny's ResNet-8 (8-bit
weights and inputs) on some chips, computed exactly and fast, before and after calibration; time
beside float32. One thread; ways of one table of times run in turn, the best of some rounds counts.
"""

from __future__ import annotations

import argparse
import os

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"  # before NumPy is imported

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from bench_closed_loop import NoStore, answers
from bench_report import machine, markdown_table
from fast_layer import CASES, RATIO_HEAD, ratio_row

from agent.buffer import SampleBuffer
from agent.loop import CalibrationRequest, ClosedLoop
from agent.runtimes.cim import CimRuntime
from calib.decision import decision_graph
from calib.factors import no_factors
from calib.graph.executor import run
from calib.importers import load_model
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from device_models.array import Chip, State
from device_models.contract import DeviceModel
from device_models.presets import preset
from device_models.sram.compiled import SWITCH
from device_models.sram.current_model import CurrentSram

FIRST_SEED = 1000
BATCH = 64
CHIPS: Mapping[str, CurrentSram] = {
    "`sram-bitplane`": CurrentSram(),
    "without read noise": CurrentSram(read_noise_counts=0.0),
    "64 rows": CurrentSram(rows=64),
    "A_VT of 8 mV um": CurrentSram(a_vt_mv_um=8.0),
    "6-bit converters": CurrentSram(adc_bits=6),
}
INTRODUCTION = "What the forms are, and when the fast one is refused: [emulation](../emulation.md)."
LAYER = """144 inputs as behind a ReLU, 16 outputs, 8-bit weights, static deviations alone, 4,000
rows that the fast form was not fitted to. *Ratio*: deviation of a typical column sum in steps of
its converter. *Errors*: of the exact path, in parts of the deviation of the outputs. Then, for the
fast form and for the naive one (effective weights and an independent 1/12 of a step squared): how
far mean errors are from the exact ones in deviations of sampling, root mean square over outputs;
the errors' deviation in parts of the exact one; by how much their correlation with the exact
product, and between outputs, is off (sampling alone gives 0.02)."""
Array = np.ndarray[Any, Any]


def runtime(network: PackedNetwork, model: DeviceModel, seed: int, *, fast: bool) -> CimRuntime:
    """A chip as a runtime."""
    chip = Chip(model, seed)
    return CimRuntime(network, chip, State(), np.random.default_rng(seed), fast=fast)


def accuracies(network: PackedNetwork, chip: CimRuntime, x: Array, y: Array) -> tuple[float, float]:
    """Before and after calibration."""
    nothing = no_factors(network.layers)
    loop = ClosedLoop(
        network, chip, nothing, SampleBuffer(), time.monotonic, np.random.default_rng(0)
    )
    raw = float((answers(chip, nothing, x) == y).mean())
    loop.calibrate(CalibrationRequest(samples=32), NoStore())
    return raw, float((answers(chip, loop.factors, x) == y).mean())


def accuracy_table(
    network: PackedNetwork, kinds: Mapping[str, CurrentSram], seeds: range, x: Array, y: Array
) -> str:
    """ResNet-8, exactly and fast."""
    rows = []
    for name, model in kinds.items():
        for seed in seeds:
            exact = accuracies(network, runtime(network, model, seed, fast=False), x, y)
            chip = runtime(network, model, seed, fast=True)
            fast = accuracies(network, chip, x, y)
            figures = [f"{one:.1%}" for pair in zip(exact, fast, strict=True) for one in pair]
            rows.append([name, str(seed), *figures, ", ".join(chip.exact_layers) or "none"])
            print(f"  {rows[-1]}", file=sys.stderr, flush=True)
    head = (
        "chip", "seed", "nothing, exact", "nothing, fast", "calibrated, exact", "calibrated, fast",
        "layers still computed exactly",
    )  # fmt: skip
    return markdown_table(head, rows)


def with_switch(value: str, work: Callable[[], object]) -> Callable[[], object]:
    """Work with numba or without."""

    def switched() -> object:
        os.environ[SWITCH] = value
        return work()

    return switched


def best_times(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each way; the first round, which compiles, does not count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, work in ways.items():
            started = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - started)
    return {name: min(found[1:]) for name, found in times.items()}


def time_table(network: PackedNetwork, float_graph: Any, x: Array, rounds: int) -> str:
    """One batch, beside float32; and what it takes to build a chip."""
    nothing, batch = no_factors(network.layers), x[:BATCH]
    noisy, quiet = CurrentSram(), CurrentSram(read_noise_counts=0.0)
    ways: dict[str, Callable[[], object]] = {"float32": lambda: run(float_graph, batch)}

    def add(name: str, model: DeviceModel, switch: str, *, fast: bool = False) -> None:
        chip = runtime(network, model, FIRST_SEED, fast=fast)
        ways[name] = with_switch(switch, lambda: chip.run(batch, nothing, {}))

    add("one product (`mismatch-10`)", preset("mismatch-10"), "0")
    add("exact, NumPy", noisy, "0")
    add("exact, numba", noisy, "1")
    add("exact, without read noise, NumPy", quiet, "0")
    add("exact, without read noise, numba", quiet, "1")
    add("fast, NumPy", noisy, "0", fast=True)
    add("fast, numba", noisy, "1", fast=True)
    ways["build a chip, exact"] = lambda: runtime(network, noisy, FIRST_SEED, fast=False)
    ways["build a chip, fast"] = lambda: runtime(network, noisy, FIRST_SEED, fast=True)
    found = best_times(ways, rounds)
    rows = [
        [
            name,
            f"{1000 * seconds:.0f}",
            f"{seconds / found['float32']:.1f}",
            "-" if name.startswith("build") else f"{BATCH / seconds:.0f}",
        ]
        for name, seconds in found.items()
    ]
    return markdown_table(("way", "ms", "times float32", "images a second"), rows)


def main() -> None:
    """Run everything and write a Markdown report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chips", type=int, default=3, help="of each kind")
    parser.add_argument("--images", type=int, default=1000, help="that accuracies are measured on")
    parser.add_argument("--quick", action="store_true", help="one chip, 128 images, two rounds")
    parser.add_argument("--out", type=Path, help="write the report here too")
    arguments = parser.parse_args()
    if "NPP_DATA" not in os.environ:
        sys.exit("set NPP_DATA to the folder of the MLPerf Tiny models and the CIFAR-10 data")
    directory, quick = Path(os.environ["NPP_DATA"]), arguments.quick
    file = np.load(directory / "cifar10.npz")
    model = load_model(directory / "mlperf-tiny" / "resnet8_float.tflite")
    pack_x, pack_y = file["train_x"][:128].astype(np.float32), file["train_y"][:128]
    network = prepare(model, pack_x, pack_y, PackOptions(scheme="int8"))
    images, chips = (128, 1) if quick else (arguments.images, arguments.chips)
    tests, seeds = slice(-images, None), range(FIRST_SEED, FIRST_SEED + chips)
    kinds = dict(list(CHIPS.items())[: 1 if quick else None])
    x, y = file["test_x"][tests].astype(np.float32), file["test_y"][tests]
    layer = markdown_table(RATIO_HEAD, [ratio_row(*case) for case in CASES[: 2 if quick else None]])
    network_ways = accuracy_table(network, kinds, seeds, x, y)
    times = time_table(network, decision_graph(model), x, 2 if quick else 5)
    sections = [
        "# Bit-plane arrays, exact and fast",
        machine(f"chip seeds {seeds.start} to {seeds.stop - 1}, packing seed 0"),
        INTRODUCTION,
        "## One layer\n\n" + LAYER + "\n\n" + layer,
        f"## ResNet-8, {len(x)} images\n\n" + network_ways,
        "## Time of a batch of 64\n\n" + times,
    ]
    report = "\n\n".join(sections) + "\n"
    print(report)
    if arguments.out:
        arguments.out.write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()

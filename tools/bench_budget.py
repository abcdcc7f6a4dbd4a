"""Benchmark of budgets: what so many operations beside the main path buy on a real model.

    NPP_DATA=DIR python tools/bench_budget.py [--quick] [--only NAME] [--out FILE.md]

Packs MLPerf Tiny's ResNet-8 as `bench_closed_loop` does and calibrates each chip anew for each
share of multiply-accumulates that the surrogates may take, within the bytes of rank 8. One thread.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_closed_loop import Case, Data, NoStore, answers, float_answers, read  # one thread, too
from bench_report import machine, markdown_table

from agent.buffer import SampleBuffer
from agent.loop import Calibration, CalibrationRequest, ClosedLoop
from agent.measurement import local_errors
from agent.runtimes.cim import CimRuntime
from calib.budget import Budget
from calib.factors import Factors, no_factors
from calib.importers import load_model
from calib.layer_fit import METRIC_FLOOR
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from calib.reduced_rank import metric_from
from calib.references import held_back_indices
from device_models.array import Chip, State
from device_models.presets import preset

CHIP_SEEDS = range(220, 223)
IMAGES = 1000
MODEL = "resnet8_float.tflite"
CASES = (
    Case("int4-tensor + mismatch-10", MODEL, "cifar10", "int4-tensor", "mismatch-10", IMAGES),
    Case("nf4 + mismatch-15", MODEL, "cifar10", "nf4", "mismatch-15", IMAGES),
    Case("int8 + mismatch-10", MODEL, "cifar10", "int8", "mismatch-10", IMAGES),
)
BUDGETS = {
    "gain and offset alone": Budget(rank=0),
    "0.1": Budget(mac_share=0.1),
    "0.25": Budget(mac_share=0.25),
    "0.5": Budget(mac_share=0.5),
    "1.0": Budget(mac_share=1.0),
    "no limit": Budget(),
}
HEAD = (
    "share allowed", "used", "factors, KiB", "layers with a branch", "recovery, mean", "worst",
    "agreement", "error before", "predicted", "reached",
)  # fmt: skip


def calibrated(network: PackedNetwork, runtime: CimRuntime, budget: Budget) -> Calibration:
    """One calibration of a chip without factors."""
    loop = ClosedLoop(
        network,
        runtime,
        no_factors(network.layers),
        SampleBuffer(),
        time.monotonic,
        np.random.default_rng(0),
    )
    return loop.calibrate(CalibrationRequest(samples=32, budget=budget), NoStore())


@dataclass(frozen=True)
class Subject:
    """A packed network, what it is tested on, and the float network's answers."""

    network: PackedNetwork
    device: str
    data: Data
    clean: np.ndarray


def figures(subject: Subject, budget: Budget, seed: int) -> list[float]:
    """One chip within one budget, in the order of the table."""
    network, data, clean = subject.network, subject.data, subject.clean
    generator = np.random.default_rng(seed)
    runtime = CimRuntime(network, Chip(preset(subject.device), seed), State(), generator)
    done = calibrated(network, runtime, budget)
    mended = answers(runtime, done.factors, data.test_x)
    accuracy = float((clean == data.test_y).mean())
    return [
        done.spending.mac_share,
        done.spending.bytes / 1024,
        sum(done.factors[layer.name].rank > 0 for layer in network.layers),
        float((mended == data.test_y).mean()) / accuracy,
        float((mended == clean).mean()),
        done.forecast.before,
        done.forecast.reachable,
        unseen_error(network, runtime, done.factors),
    ]


def unseen_error(network: PackedNetwork, runtime: CimRuntime, factors: Factors) -> float:
    """The error of each layer by itself on held-back samples, as the forecast has it."""
    block = network.references.block(held_back_indices(network.references))
    found = []
    for name, error in local_errors(runtime, block, factors).items():
        half = metric_from(network.metrics[name], METRIC_FLOOR).half
        size = np.linalg.norm(block.layers[name].outputs @ half)
        found.append(np.linalg.norm(error @ half) / size)
    return float(np.mean(found))


def row(subject: Subject, name: str, budget: Budget, seeds: Sequence[int]) -> list[str]:
    """One budget on all chips."""
    found = np.array([figures(subject, budget, seed) for seed in seeds], dtype=np.float64)
    used, size, branches, recovery, agreement, *errors = found.mean(axis=0)
    small = [f"{used:.3f}", f"{size:.1f}", f"{branches:.1f}"]
    good = [f"{recovery:.3f}", f"{found[:, 3].min():.3f}", f"{agreement:.3f}"]
    return [name, *small, *good, *(f"{error:.3f}" for error in errors)]


def table(directory: Path, case: Case, *, quick: bool) -> str:
    """All budgets of one case."""
    data = read(directory, case, 200 if quick else case.test_samples)
    model = directory / "mlperf-tiny" / case.model
    options = PackOptions(scheme=case.scheme)
    network = prepare(load_model(model), data.pack_x, data.pack_y, options)
    subject = Subject(network, case.device, data, float_answers(model, data.test_x))
    rows = []
    for name, budget in BUDGETS.items():
        rows.append(row(subject, name, budget, CHIP_SEEDS[: 1 if quick else None]))
        print(f"  {case.name}: {rows[-1]}", file=sys.stderr, flush=True)
    return f"## {case.name}\n\n{markdown_table(HEAD, rows)}"


EXPLANATION = f"""The surrogates of ResNet-8 may take a share of the network's multiply-accumulates,
gains included, and never more than the bytes of rank 8 in every layer with 16-bit factors;
components have 3 to 8 bits. Recovery is the corrected accuracy over the float network's, agreement
the share of images with the float network's answer, on {IMAGES} test images that took no part;
means over the chips. Errors are what each layer does wrong by itself, relative and weighed by its
output metric, the mean over the layers: *predicted* is what `calibrate` says can be reached, before
it solves anything, *reached* what the factors have on held-back samples."""


def main() -> None:
    """Run what is asked for and write a Markdown report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one chip, 200 images")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--out", type=Path, help="write the report here too")
    arguments = parser.parse_args()
    if "NPP_DATA" not in os.environ:
        sys.exit("set NPP_DATA to the folder of the MLPerf Tiny models and the CIFAR-10 data")
    directory = Path(os.environ["NPP_DATA"])
    seeds = f"chip seeds {CHIP_SEEDS.start} to {CHIP_SEEDS.stop - 1}, packing seed 0"
    tables = [
        table(directory, case, quick=arguments.quick)
        for case in CASES
        if arguments.only in case.name
    ]
    sections = ["# Budgets of operations", EXPLANATION, machine(seeds), *tables]
    report = "\n\n".join(sections) + "\n"
    print(report)
    if arguments.out:
        arguments.out.write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Benchmark of the closed loop on real models: recovery, time, memory, bytes.

    NPP_DATA=DIR python tools/bench_closed_loop.py [--quick] [--only NAME] [--out FILE.md]

Packs MLPerf Tiny's ResNet-8 and keyword network with 96 references and 32 held-back samples, writes
them to emulated chips that were used for choosing nothing, calibrates each once with 32 samples
chosen by sensitivity, and measures accuracy on samples that took no part. One thread. Recovery is
the corrected accuracy over the float network's on the same samples; agreement is the share of
samples with the float network's answer.
"""

from __future__ import annotations

import argparse
import os

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"  # before NumPy is imported

import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_report import machine, markdown_table

from agent.buffer import SampleBuffer
from agent.loop import CalibrationRequest, ClosedLoop, Commit
from agent.runtimes.cim import CimRuntime
from calib.decision import decision_graph
from calib.factors import Factors, no_factors
from calib.graph.executor import run
from calib.importers import load_model
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from device_models.array import Chip, State
from device_models.presets import preset

CHIP_SEEDS = range(1000, 1005)
"""Used for nothing but these figures."""


@dataclass(frozen=True)
class Case:
    """A model, its data, a scheme and a chip, and the figure asked for."""

    name: str
    model: str
    data: str
    scheme: str
    device: str
    test_samples: int


CASES = (
    Case(
        "resnet8 int4-tensor", "resnet8_float.tflite", "cifar10", "int4-tensor", "mismatch-10", 2000
    ),
    Case("resnet8 nf4", "resnet8_float.tflite", "cifar10", "nf4", "mismatch-15", 2000),
    Case("keywords int4-tensor", "kws_float.tflite", "kws", "int4-tensor", "mismatch-20", 300),
    Case("resnet8 int8 sram", "resnet8_float.tflite", "cifar10", "int8", "sram-bitplane", 2000),
)


@dataclass(frozen=True)
class Data:
    """Samples to pack with, and samples to test on."""

    pack_x: np.ndarray
    pack_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


class NoStore:
    """Counts the bytes of a commit and keeps nothing."""

    def commit(self, payload: bytes) -> Commit:
        """Accept factors."""
        return Commit(1, len(payload))


def read(directory: Path, case: Case, test_samples: int) -> Data:
    """The case's samples: the first 128 pack, the last ones of the test part are tested."""
    if case.data == "cifar10":
        file = np.load(directory / "cifar10.npz")
        parts = [file[key] for key in ("train_x", "train_y", "test_x", "test_y")]
    else:
        file = np.load(directory / "kws.npz")
        parts = [file["x"], file["y"], file["x"][300:], file["y"][300:]]
    x, y, test_x, test_y = parts
    tested = slice(len(test_x) - test_samples, None)
    return Data(
        x[:128].astype(np.float32), y[:128], test_x[tested].astype(np.float32), test_y[tested]
    )


def answers(runtime: CimRuntime, factors: Factors, x: np.ndarray) -> np.ndarray:
    """The class of each sample as the chip gives it."""
    return np.asarray(np.argmax(runtime.run(x, factors, {}).answers, axis=1))


def float_answers(model: Path, x: np.ndarray) -> np.ndarray:
    """The class of each sample as the float network gives it."""
    graph = decision_graph(load_model(model))
    blocks = [run(graph, x[i : i + 50])[graph.output] for i in range(0, len(x), 50)]
    return np.asarray(np.argmax(np.concatenate(blocks), axis=1))


@dataclass(frozen=True)
class Row:
    """One chip's figures."""

    uncorrected: float
    corrected: float
    agreement: float
    seconds: float
    accepted: bool
    bytes: int


def one_chip(network: PackedNetwork, case: Case, seed: int, data: Data, clean: np.ndarray) -> Row:
    """Calibrate one chip and test it."""
    chip = Chip(preset(case.device), seed)
    runtime = CimRuntime(network, chip, State(), np.random.default_rng(seed))
    nothing = no_factors(network.layers)
    loop = ClosedLoop(
        network, runtime, nothing, SampleBuffer(), time.monotonic, np.random.default_rng(0)
    )
    done = loop.calibrate(CalibrationRequest(samples=32), NoStore())
    raw = answers(runtime, nothing, data.test_x)
    mended = answers(runtime, loop.factors, data.test_x)
    return Row(
        uncorrected=float((raw == data.test_y).mean()),
        corrected=float((mended == data.test_y).mean()),
        agreement=float((mended == clean).mean()),
        seconds=done.seconds,
        accepted=done.verdict.accepted,
        bytes=done.commit.bytes_written if done.commit else 0,
    )


def run_case(directory: Path, case: Case, options: PackOptions, *, quick: bool) -> list[str]:
    """All chips of one case, as a row of the table."""
    tests = 200 if quick else case.test_samples
    seeds = list(CHIP_SEEDS)[: 2 if quick else None]
    data = read(directory, case, tests)
    model = directory / "mlperf-tiny" / case.model
    clean = float_answers(model, data.test_x)
    accuracy = float((clean == data.test_y).mean())
    network = prepare(load_model(model), data.pack_x, data.pack_y, options)
    rows = []
    for seed in seeds:
        rows.append(one_chip(network, case, seed, data, clean))
        print(f"  {case.name} chip {seed}: {rows[-1]}", file=sys.stderr, flush=True)
    recoveries = [row.corrected / accuracy for row in rows]
    return [
        case.name,
        case.device,
        f"{accuracy:.1%}",
        f"{np.mean([row.uncorrected for row in rows]):.1%}",
        f"{np.mean([row.corrected for row in rows]):.1%}",
        f"{np.mean(recoveries):.3f}",
        f"{min(recoveries):.3f}",
        f"{np.mean([row.agreement for row in rows]):.3f}",
        f"{np.median([row.seconds for row in rows]):.2f}",
        f"{max(row.bytes for row in rows) / 1024:.1f}",
        f"{sum(row.accepted for row in rows)}/{len(rows)}",
        str(len(data.test_x)),
    ]


RECOVERY_HEAD = (
    "case", "chip", "float", "uncorrected", "corrected", "recovery, mean", "worst",
    "agreement", "calibrate, s", "factors, KiB", "accepted", "images",
)  # fmt: skip


def recovery_table(directory: Path, only: str, *, quick: bool) -> str:
    """Recovery of every case on every chip."""
    rows = [
        run_case(directory, case, PackOptions(scheme=case.scheme), quick=quick)
        for case in CASES
        if only in case.name
    ]
    return markdown_table(RECOVERY_HEAD, rows)


def reference_table(directory: Path, *, quick: bool) -> str:
    """Stored and recomputed references in three budgets."""
    rows = []
    for budget in (256, 512, 1024):
        for form in ("stored", "recomputed"):
            options = PackOptions("nf4", references_as=form, budget_bytes=budget * 1024)
            case = CASES[1]
            row = run_case(directory, case, options, quick=quick)
            rows.append([str(budget), form, *row[4:8]])
    head = ("budget, KiB", "references", "corrected", "recovery, mean", "worst", "agreement")
    return markdown_table(head, rows)


def process_table(directory: Path) -> str:
    """`calibrate` and `--help` as whole processes; the size of the bundle."""
    with tempfile.TemporaryDirectory() as folder:
        bundle, store = str(Path(folder) / "resnet8.npp"), str(Path(folder) / "store")
        model = str(directory / "mlperf-tiny" / CASES[1].model)
        data = str(directory / "cifar10.npz")
        timed(
            ["pack", model, "--samples", data, "--key", "train", "--scheme", "nf4", "--out", bundle]
        )
        timed(["install", bundle, "--store", store, "--chip", "mismatch-15", "--chip-seed", "1000"])
        seconds, peak = timed(["calibrate", "--store", store, "--samples", "32"])
        size = Path(bundle).stat().st_size / 1e6
    help_s = float(np.median([timed(["--help"])[0] for _ in range(5)]))
    rows = [
        ["`calibrate`, 32 samples, nf4 + mismatch-15, whole process", f"{seconds:.2f} s"],
        ["its peak resident memory", f"{peak:.0f} MB"],
        ["`npp-agent --help`, median of 5", f"{help_s:.2f} s"],
        ["nf4 bundle with the defaults", f"{size:.2f} MB"],
    ]
    return markdown_table(("figure", "measured"), rows)


def timed(arguments: list[str]) -> tuple[float, float]:
    """Run the program; seconds, and peak resident megabytes of the largest process so far."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "agent.cli", *arguments], check=True, capture_output=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return time.monotonic() - started, peak


def main() -> None:
    """Run what is asked for and write a Markdown report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two chips, 200 images")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--out", type=Path, help="write the report here too")
    arguments = parser.parse_args()
    if "NPP_DATA" not in os.environ:
        sys.exit(
            "set NPP_DATA to the folder of the MLPerf Tiny models and the CIFAR-10 and keyword data"
        )
    directory = Path(os.environ["NPP_DATA"])
    seeds = f"chip seeds {CHIP_SEEDS.start} to {CHIP_SEEDS.stop - 1}, packing seed 0"
    sections = ["# The closed loop on emulated chips", machine(seeds)]
    if not arguments.only:
        sections.append("## One process\n\n" + process_table(directory))
    sections.append(
        "## Recovery\n\n" + recovery_table(directory, arguments.only, quick=arguments.quick)
    )
    if not arguments.only:
        references = reference_table(directory, quick=arguments.quick)
        sections.append("## References: stored or recomputed (nf4 + mismatch-15)\n\n" + references)
    report = "\n\n".join(sections) + "\n"
    print(report)
    if arguments.out:
        arguments.out.write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Benchmark of training surrogates by gradients, beside the closed form.

    NPP_DATA=DIR python tools/bench_gradient.py [--quick] [--out FILE.md]

Packs MLPerf Tiny's ResNet-8 as `bench_closed_loop.py` does and calibrates each chip with the closed
form, with gradients from the closed form, and with gradients from zero. Figures are those of the
new factors, whether or not the held-back samples accepted them, on images that took no part. One
thread.
"""

from __future__ import annotations

import argparse
import os

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"  # before NumPy is imported

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_closed_loop import CASES, Case, Data, NoStore, read
from bench_report import machine, markdown_table

from agent.buffer import SampleBuffer
from agent.loop import CalibrationRequest, ClosedLoop
from agent.runtimes.cim import CimRuntime
from calib.decision import decision_graph
from calib.factors import Factors, no_factors
from calib.graph.executor import run
from calib.importers import load_model
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from device_models.array import Chip, State
from device_models.presets import preset

CHIP_SEEDS = range(210, 213)
"""Used for nothing but these figures."""

IMAGES, QUICK_IMAGES = 1000, 200
RUNS = (("probe", 32), ("gradient", 32), ("gradient-from-zero", 32), ("gradient-from-zero", 96))
"""Methods, and how many of the 96 references are chosen."""

INTRODUCTION = """\
ResNet-8 (MLPerf Tiny, CIFAR-10), 96 references and 32 held-back samples, the bytes of rank 8,
components of 3 to 8 bits, the same in each layer whatever the method.
`probe` is the closed form, `gradient` trains its factors further by distillation,
`gradient-from-zero` is the published method: gain 1, offset 0, A random, B zero. Where 96 samples
are chosen, 72 train and 24 decide when to stop. Recovery is accuracy over the float network's,
agreement the share of images with the float network's answer, KL the divergence of the class
probabilities from the float network's in nats. A calibration is accepted where loss and layer
errors both fall on the held-back samples."""


@dataclass(frozen=True)
class Row:
    """One chip's figures."""

    recovery: float
    agreement: float
    divergence: float
    seconds: float
    accepted: bool


@dataclass(frozen=True)
class Test:
    """What chips are tested on."""

    data: Data
    clean: np.ndarray
    """The float network's logits."""

    def row(
        self, network: PackedNetwork, runtime: CimRuntime, factors: Factors
    ) -> tuple[float, float, float]:
        """Recovery, agreement and divergence."""
        found = runtime.run(self.data.test_x, factors, {}).answers
        answer, clean = found.argmax(axis=1), self.clean.argmax(axis=1)
        accuracy = float((clean == self.data.test_y).mean())
        losses = network.decision.losses(self.clean, found)
        return (
            float((answer == self.data.test_y).mean()) / accuracy,
            float((answer == clean).mean()),
            float(losses.mean()),
        )


def one_chip(
    network: PackedNetwork, case: Case, seed: int, way: tuple[str, int], test: Test
) -> Row:
    """Calibrate one chip in one way and test the new factors."""
    runtime = CimRuntime(
        network, Chip(preset(case.device), seed), State(), np.random.default_rng(seed)
    )
    nothing = no_factors(network.layers)
    loop = ClosedLoop(
        network, runtime, nothing, SampleBuffer(), time.monotonic, np.random.default_rng(0)
    )
    request = CalibrationRequest(samples=way[1], method=way[0], dry_run=True)
    done = loop.calibrate(request, NoStore())
    figures = test.row(network, runtime, done.factors)
    return Row(*figures, done.seconds, done.verdict.accepted)


def case_rows(directory: Path, case: Case, *, quick: bool) -> list[list[str]]:
    """All ways on all chips of one case, a row of the table each."""
    data = read(directory, case, QUICK_IMAGES if quick else IMAGES)
    graph = load_model(directory / "mlperf-tiny" / case.model)
    network = prepare(graph, data.pack_x, data.pack_y, PackOptions(scheme=case.scheme))
    logits = decision_graph(graph)
    blocks = [data.test_x[i : i + 50] for i in range(0, len(data.test_x), 50)]
    test = Test(data, np.concatenate([run(logits, x)[logits.output] for x in blocks]))
    table = []
    for way in RUNS[:3] if quick else RUNS:
        rows = []
        for seed in list(CHIP_SEEDS)[: 1 if quick else None]:
            rows.append(one_chip(network, case, seed, way, test))
            print(f"  {case.name} {way} chip {seed}: {rows[-1]}", file=sys.stderr, flush=True)
        table.append([f"{case.scheme} + {case.device}", way[0], str(way[1]), *summary(rows)])
    return table


def summary(rows: list[Row]) -> list[str]:
    """The figures of some chips as cells."""
    return [
        f"{np.mean([row.recovery for row in rows]):.3f}",
        f"{min(row.recovery for row in rows):.3f}",
        f"{np.mean([row.agreement for row in rows]):.3f}",
        f"{np.mean([row.divergence for row in rows]):.4f}",
        f"{np.median([row.seconds for row in rows]):.1f}",
        f"{sum(row.accepted for row in rows)}/{len(rows)}",
    ]


HEAD = (
    "case", "method", "samples", "recovery, mean", "worst", "agreement", "KL", "calibrate, s",
    "accepted",
)  # fmt: skip


def main() -> None:
    """Run what is asked for and write a Markdown report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one chip, 200 images")
    parser.add_argument("--out", type=Path, help="write the report here too")
    arguments = parser.parse_args()
    if "NPP_DATA" not in os.environ:
        sys.exit("set NPP_DATA to the folder of the MLPerf Tiny models and the CIFAR-10 data")
    directory = Path(os.environ["NPP_DATA"])
    seeds = (
        f"chip seeds {CHIP_SEEDS.start} to {CHIP_SEEDS.stop - 1}, packing seed 0; learning rates "
        "were chosen on chip seeds 200 to 202"
    )
    rows = [row for case in CASES[:2] for row in case_rows(directory, case, quick=arguments.quick)]
    sections = ["# Training by gradients", machine(seeds), INTRODUCTION, markdown_table(HEAD, rows)]
    report = "\n\n".join(sections) + "\n"
    print(report)
    if arguments.out:
        arguments.out.write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Benchmark of few samples: what a calibration reaches with 1, 2, 4, ... 64 of them.

    NPP_DATA=DIR python tools/bench_samples.py [--quick] [--only NAME] [--results FILE.jsonl]
        [--beside FILE.jsonl] [--out FILE.md]

Packs the networks as `bench_closed_loop` does, with 96 references and 32 held-back samples, and
calibrates each chip anew for each number of samples run on it, chosen by sensitivity. One thread.
What was measured is kept in the file of results, so that a run can be stopped and taken up again;
an earlier program's results can stand beside them. Last, large layers are solved alone
(`bench_large_layer`), for their time and memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from bench_closed_loop import CASES, Case, Data, NoStore, answers, float_answers, read
from bench_report import machine, markdown_table

from agent.buffer import SampleBuffer
from agent.loop import CalibrationRequest, ClosedLoop
from agent.runtimes.cim import CimRuntime
from calib.factors import no_factors
from calib.importers import load_model
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from device_models.array import Chip, State
from device_models.presets import preset

SAMPLES = (1, 2, 4, 8, 16, 32, 64)
CHIP_SEEDS = range(1300, 1303)
IMAGES = {"resnet8_float.tflite": 1000, "kws_float.tflite": 300}
NAMES = ("resnet8 int4-tensor", "resnet8 nf4", "keywords int4-tensor")
HEAD = (
    "case", "samples", "recovery, mean", "worst", "agreement, mean", "worst", "accepted",
    "calibrate, s",
)  # fmt: skip
EARLIER_HEAD = ("earlier: recovery", "agreement")
EARLIER = (
    "Earlier is the program before ridges were chosen by leaving rows out, moments were followed "
    "as far as samples agree, each component got its own bits, and layers were driven with mixed "
    "rows besides; the chips are the same."
)
LARGE_LAYERS = ((4608, 512, 16), (4608, 512, 64), (2048, 512, 64), (1536, 512, 64), (576, 64, 64))
LARGE_HEAD = (
    "inputs", "outputs", "samples on the chip", "error left on fresh rows", "seconds",
    "peak resident, MB",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One chip calibrated with so many samples."""

    case: str
    samples: int
    chip: int
    recovery: float
    agreement: float
    accepted: bool
    seconds: float


class Results:
    """Rows that were measured already, kept as JSON lines."""

    def __init__(self, path: Path | None) -> None:
        """Read what is there."""
        self._path = path
        lines = path.read_text("utf-8").splitlines() if path and path.exists() else []
        self._rows = {self._key(row): row for row in (Row(**json.loads(line)) for line in lines)}

    @staticmethod
    def _key(row: Row) -> tuple[str, int, int]:
        return row.case, row.samples, row.chip

    def get(self, case: str, samples: int, chip: int) -> Row | None:
        """A row, if it was measured."""
        return self._rows.get((case, samples, chip))

    def add(self, row: Row) -> None:
        """Keep a row."""
        self._rows[self._key(row)] = row
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")

    def of(self, case: str, samples: int) -> list[Row]:
        """All chips of one case and number of samples."""
        return [row for row in self._rows.values() if (row.case, row.samples) == (case, samples)]


@dataclass(frozen=True)
class Bench:
    """One case made ready: its packed network, its images and the float network's answers."""

    case: Case
    network: PackedNetwork
    data: Data
    clean: np.ndarray

    @classmethod
    def of(cls, directory: Path, case: Case) -> Bench:
        """Pack the case's network."""
        data = read(directory, case, case.test_samples)
        model = directory / "mlperf-tiny" / case.model
        options = PackOptions(scheme=case.scheme)
        network = prepare(load_model(model), data.pack_x, data.pack_y, options)
        return cls(case, network, data, float_answers(model, data.test_x))

    def row(self, samples: int, seed: int) -> Row:
        """Calibrate one chip with so many samples and test it."""
        chip = Chip(preset(self.case.device), seed)
        runtime = CimRuntime(self.network, chip, State(), np.random.default_rng(seed))
        loop = ClosedLoop(
            self.network,
            runtime,
            no_factors(self.network.layers),
            SampleBuffer(),
            time.monotonic,
            np.random.default_rng(0),
        )
        done = loop.calibrate(CalibrationRequest(samples=samples), NoStore())
        mended = answers(runtime, loop.factors, self.data.test_x)
        right = (self.clean == self.data.test_y).mean()
        return Row(
            case=self.case.name,
            samples=samples,
            chip=seed,
            recovery=float((mended == self.data.test_y).mean() / right),
            agreement=float((mended == self.clean).mean()),
            accepted=done.verdict.accepted,
            seconds=done.seconds,
        )


def measure(directory: Path, cases: Sequence[Case], chips: Sequence[int], results: Results) -> None:
    """Measure what is not in the results yet."""
    for case in cases:
        bench = None
        for samples in SAMPLES:
            for seed in chips:
                if results.get(case.name, samples, seed) is None:
                    bench = bench or Bench.of(directory, case)
                    results.add(bench.row(samples, seed))
                    print(results.get(case.name, samples, seed), file=sys.stderr, flush=True)


def table(cases: Sequence[Case], results: Results, earlier: Results) -> str:
    """Mean and worst of the chips, for each case and number of samples."""
    rows = []
    beside = any(earlier.of(case.name, samples) for case in cases for samples in SAMPLES)
    for case in cases:
        for samples in SAMPLES:
            found, before = results.of(case.name, samples), earlier.of(case.name, samples)
            recovery, agreement = (
                [getattr(r, k) for r in found] for k in ("recovery", "agreement")
            )
            rows.append(
                [
                    case.name,
                    str(samples),
                    f"{np.mean(recovery):.3f}",
                    f"{min(recovery):.3f}",
                    f"{np.mean(agreement):.3f}",
                    f"{min(agreement):.3f}",
                    f"{sum(row.accepted for row in found)}/{len(found)}",
                    f"{np.median([row.seconds for row in found]):.2f}",
                ]
            )
            if beside:
                rows[-1] += [
                    f"{np.mean([getattr(row, key) for row in before]):.3f}" if before else ""
                    for key in ("recovery", "agreement")
                ]
    if not beside:
        return markdown_table(HEAD, rows)
    return EARLIER + "\n\n" + markdown_table(HEAD + EARLIER_HEAD, rows)


def large_layers() -> str:
    """Each large layer solved in a process of its own."""
    rows = []
    for inputs, outputs, samples in LARGE_LAYERS:
        sizes = {"--inputs": inputs, "--outputs": outputs, "--samples": samples}
        arguments = [str(part) for pair in sizes.items() for part in pair]
        script = str(Path(__file__).parent / "bench_large_layer.py")
        done = subprocess.run([sys.executable, script, *arguments], check=True, capture_output=True)
        found = json.loads(done.stdout)
        rows.append(
            [
                f"{inputs:,}",
                str(outputs),
                str(samples),
                f"{found['error_left']:.2f}",
                f"{found['seconds']:.1f}",
                f"{found['peak_megabytes']:.0f}",
            ]
        )
    return "## Large layers, solved alone\n\n" + markdown_table(LARGE_HEAD, rows)


def main() -> None:
    """Measure what is asked for and write a Markdown report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one chip, 200 images")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--results", type=Path, help="JSON lines of what was measured already")
    parser.add_argument("--beside", type=Path, help="JSON lines of an earlier program")
    parser.add_argument("--out", type=Path, help="write the report here too")
    arguments = parser.parse_args()
    if "NPP_DATA" not in os.environ:
        sys.exit("set NPP_DATA to the folder of the MLPerf Tiny models and of their data")
    cases = [
        replace(case, test_samples=200 if arguments.quick else IMAGES[case.model])
        for case in CASES
        if case.name in NAMES and arguments.only in case.name
    ]
    chips = list(CHIP_SEEDS)[: 1 if arguments.quick else None]
    results = Results(arguments.results)
    measure(Path(os.environ["NPP_DATA"]), cases, chips, results)
    images = " or ".join(str(count) for count in sorted({case.test_samples for case in cases}))
    seeds = f"chip seeds {chips[0]} to {chips[-1]}, packing seed 0, {images} images"
    compared = table(cases, results, Results(arguments.beside))
    report = "\n\n".join(["# Few samples", machine(seeds), compared, large_layers()]) + "\n"
    print(report)
    if arguments.out:
        arguments.out.write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Benchmark of simulations: one worker against two, in wall time and memory.

    NPP_DATA=DIR python tools/bench_simulate.py [--quick] [--repeat 3] [--out FILE.md]

Simulates the same chips with one worker and with two, turn about, as processes of their own, and
compares what comes out to the byte. Times are of the whole command: the start, the float network,
which runs once, the workers' start, the chips and the summary. Memory is the largest resident set
that Linux counted for each process (VmHWM), read ten times a second.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from bench_report import machine, markdown_table

from agent.store.bundle import open_bundle
from agent.workstation.demo_bundle import DEMO_BUNDLE, read_held_out

ROOT = Path(__file__).resolve().parents[1]
WORKERS = (1, 2)
REPEAT = 3
INTERVAL_S = 0.1


@dataclass(frozen=True)
class Case:
    """A bundle with its data and the chips that are simulated."""

    name: str
    files: tuple[str, ...]
    """Bundle, and the options that name the data."""

    chip: str
    chips: int
    ages: str = "0"

    def arguments(self, workers: int) -> list[str]:
        """Of `npp-agent simulate`."""
        chips = ["--chip", self.chip, "--chips", str(self.chips), "--ages", self.ages]
        return [*self.files, *chips, "--workers", str(workers), "--json"]


@dataclass(frozen=True)
class Run:
    """One simulation."""

    wall_s: float
    parent_mib: float
    worker_mib: float
    """The largest of the workers."""

    output: bytes


def simulated(arguments: Sequence[str], folder: Path) -> Run:
    """Start a simulation, wait for it, and watch its memory.

    Raises:
        SystemExit: it fails.
    """
    begun = time.monotonic()
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        command = [sys.executable, "-m", "agent.cli", "simulate", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=err)
        peaks: dict[int, float] = {}
        while process.poll() is None:
            peaks |= dict(_peaks(process.pid))
            time.sleep(INTERVAL_S)
    wall_s = time.monotonic() - begun
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed: {(folder / 'stderr').read_text()}")
    parent_mib = peaks.pop(process.pid, 0.0)
    return Run(wall_s, parent_mib, max(peaks.values()), (folder / "stdout").read_bytes())


def _peaks(parent: int) -> Iterator[tuple[int, float]]:
    """Process ids of a process and its children, with their largest resident set so far, MiB."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            status = dict(
                line.split(":", 1) for line in (entry / "status").read_text().splitlines()
            )
        except OSError:
            continue  # it has ended meanwhile
        if "VmHWM" in status and parent in {int(entry.name), int(status["PPid"])}:
            yield int(entry.name), int(status["VmHWM"].split()[0]) / 1024


def digits(folder: Path) -> tuple[str, ...]:
    """The demo's bundle, and its held-out digits as a data file."""
    bundle = open_bundle(DEMO_BUNDLE)
    held_out = read_held_out(bundle, (1, 8, 8))
    np.savez(folder / "digits.npz", x=held_out.inputs, y=held_out.labels)
    return (str(DEMO_BUNDLE), "--data", str(folder / "digits.npz"))


def resnet(folder: Path, data: Path) -> tuple[str, ...]:
    """MLPerf Tiny's ResNet-8, packed, and its images."""
    bundle, images = folder / "resnet8.npp", str(data / "cifar10.npz")
    model = str(data / "mlperf-tiny" / "resnet8_float.tflite")
    command = [sys.executable, "-m", "agent.cli", "pack", model, "--samples", images]
    options = ["--key", "train", "--scheme", "int4-tensor", "--out", str(bundle), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, *options], check=True, env=environment, stdout=subprocess.DEVNULL)
    return (str(bundle), "--data", images, "--key", "test")


def cases(folder: Path, data: Path, *, quick: bool) -> list[Case]:
    """What is simulated."""
    images = ("--images", "50" if quick else "1000")
    return [
        Case("digits, int4-tensor", digits(folder), "mismatch-40", 4 if quick else 80),
        Case("digits, int4-tensor", digits(folder), "pcm", 2 if quick else 24, "1,1d,30d,1y"),
        Case(
            "ResNet-8, int4-tensor",
            (*resnet(folder, data), *images),
            "mismatch-10",
            2 if quick else 24,
        ),
    ]


def row(case: Case, folder: Path, repeat: int) -> list[str]:
    """One and two workers turn about, and what they take."""
    runs: dict[int, list[Run]] = {workers: [] for workers in WORKERS}
    for _ in range(repeat):
        for workers in WORKERS:
            runs[workers].append(simulated(case.arguments(workers), folder))
    if len({run.output for some in runs.values() for run in some}) > 1:
        sys.exit(f"{case.name}: the results differ between runs, and must not")
    one, two = (median(run.wall_s for run in runs[workers]) for workers in WORKERS)
    every = [run for some in runs.values() for run in some]
    return [
        case.name,
        f"`{case.chip}`",
        case.ages,
        str(case.chips),
        f"{one:.1f}",
        f"{two:.1f}",
        f"{one / two:.2f}",
        f"{case.chips / two * 60:.0f}",
        f"{max(run.worker_mib for run in every):.0f}",
        f"{max(run.parent_mib for run in every):.0f}",
    ]


HEAD = (
    "network", "chip", "ages", "chips", "one worker, s", "two workers, s", "times as fast",
    "chips a minute (two)", "worker peak, MiB", "main process peak, MiB",
)  # fmt: skip


def report(chosen: argparse.Namespace, data: Path) -> str:
    """The whole report."""
    repeat = 1 if chosen.quick else chosen.repeat
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        body = [row(case, folder, repeat) for case in cases(folder, data, quick=chosen.quick)]
    images = 50 if chosen.quick else 1000
    return f"""# Simulations with one worker and with two

{machine("chip seeds from 0")}

Whole commands, {repeat} of each turn about, medians of wall time; the summaries of all runs were
compared and are equal to the byte. Every chip is calibrated at each of its ages and answers 400
digits or {images} images up to four times an age. Memory is the largest of all runs.

{markdown_table(HEAD, body)}

Command line: `python tools/bench_simulate.py{" --quick" if chosen.quick else ""}`.
"""


def main() -> None:
    """Run what is asked for and write a Markdown report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few chips, once")
    parser.add_argument("--repeat", type=int, default=REPEAT, help="runs of each")
    parser.add_argument("--out", type=Path, help="write the report here too")
    chosen = parser.parse_args()
    if "NPP_DATA" not in os.environ:
        sys.exit("set NPP_DATA to the folder of the MLPerf Tiny models and their data")
    text = report(chosen, Path(os.environ["NPP_DATA"]))
    print(text)
    if chosen.out:
        chosen.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

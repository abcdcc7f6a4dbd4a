"""Benchmark of whole processes: seconds, memory and bytes of what a board starts.

    NPP_DATA=DIR python tools/bench_process.py [--quick] [--only NAME] [--repeat 7]
        [--results FILE.jsonl] [--tree DIR] [--out FILE.md]

Packs MLPerf Tiny's ResNet-8 and keyword network with the defaults, installs each on an emulated
chip, and starts every command again and again as a process of its own, one thread, compiled
bytecode, each calibration on a fresh copy of the store. `--results` keeps what was measured, so
that a run can be interrupted; `--tree` measures another checkout. Last, one calibration of each
case is divided into its stages (`bench_stages`), in processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from bench_report import machine, markdown_table

HERE = Path(__file__).resolve().parent
STAGES = HERE / "bench_stages.py"
CHIP_SEED = 1000
SAMPLES = (16, 32, 64)
REPEAT = 7


@dataclass(frozen=True)
class Case:
    """A model on a chip."""

    name: str
    model: str
    data: tuple[str, ...]
    scheme: str
    chip: str


RESNET, CIFAR = "resnet8_float.tflite", ("cifar10.npz", "--key", "train")
CASES = (
    Case("ResNet-8 nf4 + mismatch-15", RESNET, CIFAR, "nf4", "mismatch-15"),
    Case("ResNet-8 int4-tensor + mismatch-10", RESNET, CIFAR, "int4-tensor", "mismatch-10"),
    Case("ResNet-8 int8 + sram-bitplane", RESNET, CIFAR, "int8", "sram-bitplane"),
    Case(
        "keywords int4-tensor + mismatch-20",
        "kws_float.tflite",
        ("kws.npz",),
        "int4-tensor",
        "mismatch-20",
    ),
)
COMMANDS = ("status", "measure", *(f"calibrate --samples {count}" for count in SAMPLES))


@dataclass(frozen=True)
class Figures:
    """Medians over the runs of one command; the largest memory."""

    wall_s: float
    user_s: float
    system_s: float
    peak_mib: float
    bytes_written: int
    runs: int = 1


@dataclass(frozen=True)
class Place:
    """Where processes run: a checkout, and a folder for bytecode and stores."""

    tree: Path
    folder: Path

    def started(self, arguments: Sequence[str]) -> tuple[Figures, str]:
        """Start Python with arguments, wait, and say what it took and printed."""
        out = self.folder / "stdout.txt"
        begun = time.monotonic()
        with out.open("wb") as stdout, (self.folder / "stderr.txt").open("wb") as stderr:
            files = [(os.POSIX_SPAWN_DUP2, stdout.fileno(), 1)]
            files += [(os.POSIX_SPAWN_DUP2, stderr.fileno(), 2)]
            command = [sys.executable, *arguments]
            child = os.posix_spawn(sys.executable, command, self._variables(), file_actions=files)
            _, status, used = os.wait4(child, 0)
        wall_s = time.monotonic() - begun
        if os.waitstatus_to_exitcode(status):
            sys.exit(f"{' '.join(arguments)} failed: {(self.folder / 'stderr.txt').read_text()}")
        peak_mib = used.ru_maxrss / 1024
        text = out.read_text()
        return Figures(wall_s, used.ru_utime, used.ru_stime, peak_mib, _written(text)), text

    def agent(self, arguments: Sequence[str]) -> Figures:
        """Start `npp-agent`."""
        return self.started(["-m", "agent.cli", *arguments])[0]

    def _variables(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        bytecode = str(self.folder / "bytecode")
        threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        return {**kept, **threads, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONPATH": str(self.tree)}


def _written(text: str) -> int:
    """What a command says it wrote, factors and all else."""
    if not text.startswith("{"):
        return 0
    document = json.loads(text)
    return sum(document.get(name) or 0 for name in ("bytes_written", "other_bytes_written"))


@dataclass(frozen=True)
class Results:
    """What was measured before, kept in a file of JSON lines."""

    file: Path | None
    known: dict[tuple[str, str], Figures]

    @classmethod
    def read(cls, file: Path | None) -> Results:
        """Begin with what the file holds."""
        lines = file.read_text().splitlines() if file and file.exists() else []
        entries = [json.loads(line) for line in lines]
        return cls(file, {(e["case"], e["command"]): Figures(**e["figures"]) for e in entries})

    def keep(self, case: str, command: str, figures: Figures) -> None:
        """Add a result."""
        self.known[case, command] = figures
        if self.file:
            entry = {"case": case, "command": command, "figures": asdict(figures)}
            with self.file.open("a") as lines:
                lines.write(json.dumps(entry) + "\n")


def installed(place: Place, case: Case, data: Path) -> Path:
    """Pack and install a case; returns its store."""
    bundle, store = str(place.folder / f"{case.scheme}.npp"), place.folder / case.name
    model = str(data / "mlperf-tiny" / case.model)
    samples = [str(data / case.data[0]), *case.data[1:]]
    place.agent(["pack", model, "--samples", *samples, "--scheme", case.scheme, "--out", bundle])
    chip = ["--chip", case.chip, "--chip-seed", str(CHIP_SEED)]
    place.agent(["install", bundle, "--store", str(store), *chip])
    return store


def measured(place: Place, command: str, store: Path | None, repeat: int) -> Figures:
    """The median of several runs, after one that compiles and warms up."""
    runs = []
    for _ in range(repeat + 1):
        copy = place.folder / "store"
        shutil.rmtree(copy, ignore_errors=True)
        if store is not None:
            shutil.copytree(store, copy)
        end = [] if store is None else ["--store", str(copy), "--json"]
        runs.append(place.agent([*command.split(), *end]))
    warm = runs[1:]
    return Figures(
        wall_s=median(run.wall_s for run in warm),
        user_s=median(run.user_s for run in warm),
        system_s=median(run.system_s for run in warm),
        peak_mib=max(run.peak_mib for run in warm),
        bytes_written=max(run.bytes_written for run in warm),
        runs=len(warm),
    )


HEAD = (
    "case", "command", "wall, s", "user, s", "system, s", "peak resident, MiB", "bytes written",
    "runs",
)  # fmt: skip


def rows(place: Place, cases: Sequence[Case], results: Results, repeat: int) -> Iterator[list[str]]:
    """Every command of every case, as rows of the table."""
    data = Path(os.environ["NPP_DATA"])
    for case in cases:
        store = None
        for command in COMMANDS:
            if (case.name, command) not in results.known:
                store = store or installed(place, case, data)
                results.keep(case.name, command, measured(place, command, store, repeat))
            yield row(case.name, command, results.known[case.name, command])


def row(case: str, command: str, figures: Figures) -> list[str]:
    """One row."""
    seconds = (figures.wall_s, figures.user_s, figures.system_s)
    return [
        case,
        f"`{command}`",
        *(f"{value:.2f}" for value in seconds),
        f"{figures.peak_mib:.0f}",
        f"{figures.bytes_written}",
        f"{figures.runs}",
    ]


def stage_table(place: Place, cases: Sequence[Case]) -> str:
    """Processor milliseconds of one calibration of each case, by stage."""
    data = Path(os.environ["NPP_DATA"])
    columns: list[dict[str, float]] = []
    for case in cases:
        store = installed(place, case, data)
        tries = []
        for _ in range(3):
            copy = place.folder / "store"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(store, copy)
            arguments = [str(STAGES), str(copy), str(SAMPLES[-1])]
            tries.append(json.loads(place.started(arguments)[1])["stages"])
        columns.append(min(tries, key=lambda stages: sum(stages.values())))
    names = list(columns[0])
    body = [[name, *(f"{1000 * stages[name]:.0f}" for stages in columns)] for name in names]
    total = ["together", *(f"{1000 * sum(stages.values()):.0f}" for stages in columns)]
    return markdown_table(["stage", *(case.name for case in cases)], [*body, total])


def report(place: Place, chosen: argparse.Namespace) -> str:
    """The whole report."""
    cases = [case for case in CASES if chosen.only in case.name]
    cases = cases[:1] if chosen.quick else cases
    repeat = 2 if chosen.quick else chosen.repeat
    results = Results.read(chosen.results)
    if ("any", "--help") not in results.known:
        results.keep("any", "--help", measured(place, "--help", None, repeat))
    body = [row("any", "--help", results.known["any", "--help"])]
    body += list(rows(place, cases, results, repeat))
    seeds = f"chip seed {CHIP_SEED}, packing seed 0"
    return f"""# Commands as processes

{machine(seeds)}

Seconds are medians over runs after one that warms up; memory is the largest of them. Wall time is
that of a machine on which others compute too, here several times what a quiet one would show: user
and system time are what the process itself took, and even they grow where others fill the caches.
`import numpy` and its generators alone take {numpy_text(place)}.

{markdown_table(HEAD, body)}

## Where the time goes

Processor milliseconds of `calibrate --samples {SAMPLES[-1]}`, best of three, without the start of
Python and the imports; each stage without those inside it.

{stage_table(place, cases)}

Command line: `python tools/bench_process.py{" --quick" if chosen.quick else ""}`.
"""


def numpy_text(place: Place) -> str:
    """What NumPy takes before anything is done with it."""
    runs = [place.started(["-c", "import numpy, numpy.random"])[0] for _ in range(4)][1:]
    seconds = median(run.user_s + run.system_s for run in runs)
    return f"{seconds:.2f} s of processor time and {max(run.peak_mib for run in runs):.0f} MiB"


def main() -> None:
    """Run what is asked for and write a Markdown report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the first case, two runs")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--repeat", type=int, default=REPEAT, help="runs of each command")
    parser.add_argument("--results", type=Path, help="keep results here, and go on from them")
    parser.add_argument("--tree", type=Path, default=HERE.parent, help="the checkout to measure")
    parser.add_argument("--out", type=Path, help="write the report here too")
    chosen = parser.parse_args()
    if "NPP_DATA" not in os.environ:
        sys.exit("set NPP_DATA to the folder of the MLPerf Tiny models and their data")
    with tempfile.TemporaryDirectory() as folder:
        text = report(Place(chosen.tree, Path(folder)), chosen)
    print(text)
    if chosen.out:
        chosen.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

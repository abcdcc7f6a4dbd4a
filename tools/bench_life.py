"""Benchmark of long lives: a year of one chip untouched, on a timer and watched.

    NPP_DATA=DIR python tools/bench_life.py [--quick] [--cases NAME ...] [--results FOLDER]
        [--out FILE.md]

Runs `npp-agent simulate-life` with the scenarios of `tools/scenarios`, on the demo's digits and, if
NPP_DATA names the folder of the MLPerf Tiny models and the CIFAR-10 data, on ResNet-8. `--results`
keeps what was simulated, so that a run can be interrupted; pictures lie beside the report. One
thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_report import machine, markdown_table

from agent.workstation.demo_bundle import DEMO_BUNDLE

ROOT = Path(__file__).resolve().parents[1]
SCENARIOS = ROOT / "tools" / "scenarios"
CARE = {
    "none": "calibrated on the first day only",
    "timer": "timer",
    "policy": "watched, policy",
}
DRAWN = ("digits-troubled", "resnet8-pcm")


@dataclass(frozen=True)
class Case:
    """A bundle and a scenario."""

    name: str
    title: str
    scenario: str
    resnet: bool = False
    images: int = 100


CASES = (
    Case("digits-still", "digits, SRAM that stands still", "still"),
    Case("digits-sram", "digits, SRAM that ages, day and night", "sram"),
    Case("digits-pcm", "digits, phase-change memory", "pcm"),
    Case("digits-troubled", "digits, SRAM in trouble", "troubled"),
    Case(
        "resnet8-pcm",
        "ResNet-8, phase-change memory, 60 days",
        "pcm-sixty-days",
        resnet=True,
        images=100,
    ),
)


@dataclass(frozen=True)
class Result:
    """What came out of a case."""

    case: Case
    summary: dict[str, Any]
    seconds: float


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="five days, the digits alone")
    parser.add_argument("--cases", nargs="*", help="these alone; default: all that can be run")
    parser.add_argument("--results", type=Path, help="folder of what was simulated, gone on with")
    parser.add_argument("--out", type=Path, help="the report, and its pictures beside it")
    return parser.parse_args()


def resnet_bundle(folder: Path) -> Path:
    """ResNet-8 packed in int8, once."""
    path, data = folder / "resnet8.npp", _data()
    if not path.exists():
        model = data / "mlperf-tiny" / "resnet8_float.tflite"
        samples = ["--samples", str(data / "cifar10.npz"), "--key", "train"]
        _agent("pack", str(model), *samples, "--out", str(path), "--scheme", "int8")
    return path


def lived(case: Case, folder: Path, *, quick: bool) -> Result:
    """Simulate a case, or read what was simulated before."""
    out, kept = folder / case.name, folder / f"{case.name}.seconds"
    begun = time.monotonic()
    if not kept.exists():
        scenario = SCENARIOS / f"{case.scenario}.toml"
        if quick:
            scenario = _shortened(scenario, folder)
        bundle = resnet_bundle(folder) if case.resnet else DEMO_BUNDLE
        extra = ["--images", str(case.images)]
        if case.resnet:
            extra += ["--data", str(_data() / "cifar10.npz"), "--key", "test"]
        _agent("simulate-life", str(bundle), str(scenario), "--out", str(out), *extra)
        kept.write_text(f"{time.monotonic() - begun:.0f}", encoding="ascii")
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return Result(case, summary, float(kept.read_text(encoding="ascii")))


def report(results: list[Result], pictures: list[str]) -> str:
    """The page."""
    first = machine(f"seed {results[0].summary['seed']}, chip seed 0 in every case")
    rows = [row for one in results for row in _rows(one)]
    head = [
        "case",
        "care",
        "recovery, mean",
        "lowest",
        "longest below 0.97",
        "alarms a month",
        "calibrations accepted / refused",
        "flash a year",
    ]
    parts = [f"# Long lives\n\n{first}\n", TEXT, markdown_table(head, rows), _sentences(results)]
    parts.append(NOTES)
    parts += [f"![{name}]({name})" for name in pictures]
    return "\n\n".join(parts) + "\n"


TEXT = """`npp-agent simulate-life` with the scenarios of [tools/scenarios](../../tools/scenarios).
Recovery is accuracy over that of the float network on the same inputs; *longest below* is the time
without a break that evaluations found it below 0.97. Bytes are those that the store wrote: factors,
sample buffer and history. The timer calibrates once a day (where the chip stands still, once in ten
days), by the same loop with the same verdict: what it refuses costs buffer and history, and no
factors. PCM's model does not depend on temperature."""

NOTES = """One chip and one seed in each case. **What this does not show:** the digits keep more
than 0.97 of float on these chips even if nobody looks after them, so that their rows show what
is saved in flash and how often the watch alarms, and not that it keeps a network good. Most of
what the timer writes there is the bookkeeping of calibrations that were refused; the factors
alone are in the column of those accepted. That there was no alarm on a chip that stands still is
one year of rounds, a third of the 2,160 between false alarms that the limits are computed for;
the tests hold the limits against simulated series.

Alarms are states, and no orders: on phase-change memory every one is a drift that is there, and
it is not worth a write when it comes.

**ResNet-8** is the case that needs care, and here two aims are missed. One of 100 images is 1.3
% of its accuracy, and freshly calibrated it was found at 0.95 to 1.03 of float; so whether it
was below 0.97 for longer than the stated delay, as evaluations found it, cannot be told, and
that it stayed above is not shown. In sixty days the policy writes as much as the timer, with
which two fifths of the accuracy were lost on the first day: a chip that fades by the logarithm
of time wants nine of 21 calibrations in the first two days. A whole year of it has not been run."""


def _rows(one: Result) -> list[list[str]]:
    rows = []
    for name, care in one.summary["carers"].items():
        alarms = f"{care['alarms_per_month']:.2g}" if name == "policy" else "-"
        rows.append(
            [
                one.case.title if name == "none" else "",
                CARE[name],
                f"{care['recovery_mean']:.3f}",
                f"{care['recovery_lowest']:.3f}",
                f"{care['longest_below_h']:.3g} h",
                alarms,
                f"{care['accepted']} / {care['refused']}",
                f"{care['flash_bytes_per_year'] / 1024:,.0f} KiB",
            ]
        )
    return rows


def _sentences(results: list[Result]) -> str:
    lines = []
    for one in results:
        said, ratio = one.summary, one.summary["flash_ratio"]
        below = said["carers"]["policy"]["longest_below_h"]
        delay = said["detection_delay_h"]
        verdict = "within" if below <= delay else "beyond"
        kept = f"Below 0.97 for {below:.3g} h at most, {verdict} the stated delay of {delay:.3g} h."
        lines.append(
            f"- {one.case.title}: {said['days']:.0f} days, {said['rounds']} rounds of canaries, "
            f"{said['samples']} samples (float {said['float']:.1%}), {one.seconds:.0f} s. The "
            f"timer writes {ratio:.1f} times what the policy does. {kept}"
        )
    return "\n".join(lines)


def _shortened(scenario: Path, folder: Path) -> Path:
    lines = scenario.read_text(encoding="utf-8").splitlines()
    short = ["days = 5" if line.startswith("days") else line for line in lines]
    path = folder / scenario.name
    path.write_text("\n".join(short), encoding="utf-8")
    return path


def _data() -> Path:
    return Path(os.environ["NPP_DATA"])


def _agent(*arguments: str) -> None:
    command = [sys.executable, "-m", "agent.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, check=False)
    if done.returncode:
        sys.exit(f"npp-agent {arguments[0]} failed with exit code {done.returncode}: see above")


def main() -> None:
    """Simulate, and write the report."""
    arguments = options()
    has_data = "NPP_DATA" in os.environ and not arguments.quick
    wanted = arguments.cases or [one.name for one in CASES if has_data or not one.resnet]
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.results or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        results = []
        for case in (one for one in CASES if one.name in wanted):
            print(f"  {case.name}", file=sys.stderr, flush=True)
            results.append(lived(case, folder, quick=arguments.quick))
        pictures = {
            f"life-{one.case.name}.png": (folder / one.case.name / "life.png").read_bytes()
            for one in results
            if one.case.name in DRAWN
        }
        text = report(results, list(pictures) if arguments.out else [])
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
        for name, content in pictures.items():
            (arguments.out.parent / name).write_bytes(content)


if __name__ == "__main__":
    main()

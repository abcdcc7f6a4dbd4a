"""Benchmark of recovery: the project's methods beside what else repairs a deviating chip.

    NPP_DATA=DIR python tools/bench_recovery.py --results FILE.jsonl [--only CASE] [--methods NAMES]
    NPP_DATA=DIR python tools/bench_recovery.py --results FILE.jsonl --report [--out FILE.md]

Every method gets the same chips, samples and test images. Each repetition is written to the results
at once, so that a run can be interrupted, resumed and split. Rivals that train need PyTorch, the
extra `bench`; without it they are left out, and the report says so. One thread.
"""

from __future__ import annotations

import argparse
import json
import os

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"  # before NumPy is imported

import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from recovery.cases import BUFFERS, CASES, CHIPS
from recovery.methods import methods
from recovery.repetition import Range, run
from recovery.report import write_report
from recovery.results import Record, Results
from recovery.timing import time_methods, time_one
from recovery.tuning import tune

QUICK_IMAGES, QUICK_SAMPLES = 200, 96


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="file of JSON lines")
    parser.add_argument(
        "--only", default="", help="cases whose name contains this; several by commas"
    )
    parser.add_argument(
        "--methods", default="", help="names separated by commas, with * and ?; all of the table"
    )
    parser.add_argument("--chips", type=int, default=len(CHIPS), help="the first so many")
    parser.add_argument("--buffers", type=int, default=len(BUFFERS), help="the first so many")
    parser.add_argument("--quick", action="store_true", help="one chip, one buffer, 200 images")
    parser.add_argument("--tune", action="store_true", help="search the rivals' learning rates")
    parser.add_argument("--timing", action="store_true", help="each method in its own process")
    parser.add_argument("--report", action="store_true", help="write the report of the results")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="the report, and its picture beside it as PNG")
    return parser.parse_args()


def asked(arguments: argparse.Namespace) -> Range:
    """What is to be run.

    Raises:
        SystemExit: no case or method has such a name.
    """
    parts = arguments.only.split(",")
    cases = [case for case in CASES if any(part in case.name for part in parts)]
    if not cases:
        sys.exit(f"no case's name contains {arguments.only!r}")
    known = methods(QUICK_SAMPLES) if arguments.quick else methods()
    wanted = [method for method in known.values() if method.published]
    if arguments.methods:
        patterns = arguments.methods.split(",")
        wanted = [m for m in known.values() if any(fnmatchcase(m.name, p) for p in patterns)]
    if not wanted:
        sys.exit(f"no method is named {arguments.methods!r}; there are {', '.join(known)}")
    if arguments.quick:
        return Range(cases, CHIPS[:1], BUFFERS[:1], wanted, QUICK_IMAGES)
    return Range(cases, CHIPS[: arguments.chips], BUFFERS[: arguments.buffers], wanted)


def left_out(wanted: Range) -> Iterable[str]:
    """What cannot be run here, and why."""
    for case in wanted.cases:
        if case.missing is not None:
            yield case.missing
            continue
        whys = {why for method in wanted.methods if (why := method.missing(case)) is not None}
        for why in sorted(whys):
            names = [method.name for method in wanted.methods if method.missing(case) == why]
            yield f"{case.name}: without {', '.join(names)}, because {why}"


def show(records: Iterable[Record]) -> None:
    """Print records as they come."""
    for record in records:
        figures = {
            name: round(record[name], 3)
            for name in ("recovery", "agreement", "divergence", "seconds", "peak_mb")
            if name in record
        }
        place = f"{record['case']}, chip {record['chip']}, buffer {record['buffer']}"
        print(f"  {place}, {record['method']}: {figures}", file=sys.stderr, flush=True)


def main() -> None:
    """Run what is asked for, or write the report."""
    arguments = options()
    if arguments.one:
        print(json.dumps(time_one(arguments.one)))
        return
    results = Results(arguments.results)
    if arguments.report:
        write_report(results, arguments.out)
        return
    if "NPP_DATA" not in os.environ:
        sys.exit(
            "set NPP_DATA to the folder of the MLPerf Tiny models and the CIFAR-10 and keyword data"
        )
    directory, wanted = Path(os.environ["NPP_DATA"]), asked(arguments)
    if arguments.tune:
        show(tune(directory, results))
        return
    for sentence in left_out(wanted):
        print(sentence, file=sys.stderr)
    show(
        time_methods(directory, wanted, results)
        if arguments.timing
        else run(directory, wanted, results)
    )


if __name__ == "__main__":
    main()

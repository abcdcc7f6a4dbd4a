"""Benchmark of architectures: what a calibration does for networks that are no plain image nets.

    NPP_DATA=DIR python tools/bench_architectures.py [--quick] [--only NAME]
        [--networks build/keywords] [--results FILE.jsonl] [--out FILE.md]
        [--picture FILE.png]

A transformer, convolutions over time, with and without groups, depthwise convolutions, an
autoencoder. The keyword networks that are not MLPerf Tiny's are trained first, if they are not in
the folder of networks (`train_keyword_transformer`). One thread. What was measured is kept in the
file of results, so that a run can be stopped and taken up again.
"""

from __future__ import annotations

import argparse
import os

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"  # before NumPy is imported

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from architecture_picture import draw
from architecture_report import grouped_table, recovery_table
from architecture_subjects import PACKED, SUBJECTS, Subject
from bench_closed_loop import NoStore
from bench_report import machine
from grouped_layers import FROZEN, GAIN_AND_OFFSET, treated

from agent.buffer import SampleBuffer
from agent.loop import Calibration, CalibrationRequest, ClosedLoop
from agent.measurement import judge_chip
from agent.runtimes.cim import CimRuntime
from calib.costs import spent
from calib.factors import Factors, no_factors
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from device_models.array import Chip, State
from device_models.presets import preset

CHIP_SEEDS = range(1000, 1005)
SAMPLES = 32
MONTH_S = 30 * 86400.0
NOTHING, CALIBRATED = "nothing", "calibrated"


@dataclass(frozen=True)
class Case:
    """A network, the scheme of its weights, the chip, and how many samples are tested."""

    network: str
    scheme: str
    device: str
    tests: int = 300
    age_s: float = 0.0

    @property
    def name(self) -> str:
        """As the tables have it."""
        month = " after a month" if self.age_s == MONTH_S else ""
        return f"{self.network}: {self.scheme} + {self.device}{month}"


CASES = tuple(
    Case(network, scheme, device, 300, age_s)
    for network in ("transformer", "1-D convolutions", "1-D, 4 groups", "keywords, DS-CNN")
    for scheme, device, age_s in (
        ("int4-tensor", "mismatch-20", 0.0),
        ("nf4", "mismatch-15", 0.0),
        ("int8", "mismatch-20", 0.0),
        ("int8", "pcm", MONTH_S),
    )
) + tuple(
    Case(network, *rest, tests)
    for network, tests in (("person, MobileNet", 200), ("anomaly, autoencoder", 300))
    for rest in (("nf4", "mismatch-15"), ("int8", "mismatch-10"))
)


@dataclass(frozen=True)
class Row:
    """One chip, treated in one way; None where a figure has no meaning."""

    case: str
    chip: int
    how: str
    float_accuracy: float | None
    accuracy: float | None
    agreement: float | None
    loss: float
    """As held-back samples are judged: KL divergence in nats, or squared error over power."""

    sqnr_db: float
    """Of all outputs together: power of the clean ones over that of their errors."""

    layer_error: float
    grouped_error: float | None
    bytes: int
    mac_share: float
    accepted: bool | None
    seconds: float | None


class Results:
    """Rows that were measured already, kept as JSON lines."""

    def __init__(self, path: Path | None) -> None:
        """Read what is there."""
        self._path = path
        lines = path.read_text("utf-8").splitlines() if path and path.exists() else []
        self.rows = [Row(**json.loads(line)) for line in lines]

    def has(self, case: str, chip: int, how: str) -> bool:
        """Whether a row was measured."""
        return (case, chip, how) in {(row.case, row.chip, row.how) for row in self.rows}

    def add(self, row: Row) -> None:
        """Keep a row."""
        self.rows.append(row)
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")


def calibrated(network: PackedNetwork, runtime: CimRuntime) -> Calibration:
    """One calibration of a chip without factors."""
    loop = ClosedLoop(
        network,
        runtime,
        no_factors(network.layers),
        SampleBuffer(),
        time.monotonic,
        np.random.default_rng(0),
    )
    return loop.calibrate(CalibrationRequest(samples=SAMPLES), NoStore())


@dataclass(frozen=True)
class Trial:
    """One chip of one case."""

    case: Case
    subject: Subject
    network: PackedNetwork
    chip: int
    runtime: CimRuntime

    def row(self, how: str, factors: Factors, done: Calibration | None = None) -> Row:
        """Test the chip with factors."""
        network, subject = self.network, self.subject
        found = self.runtime.run(subject.test_x, factors, {}).answers
        bits = {layer.name: factors[layer.name].bits for layer in network.layers}
        cost = spent(network.layers, bits)
        errors = judge_chip(self.runtime, network, factors).errors
        grouped = [errors[one.name].relative_error for one in network.layers if one.groups > 1]
        macs = sum(layer.multiply_accumulates for layer in network.layers)
        error = float(np.square(found - subject.clean, dtype=np.float64).sum())
        power = float(np.square(subject.clean, dtype=np.float64).sum())
        return Row(
            case=self.case.name,
            chip=self.chip,
            how=how,
            float_accuracy=_share(subject.clean.argmax(axis=1), subject.test_y),
            accuracy=_share(found.argmax(axis=1), subject.test_y),
            agreement=_share(found.argmax(axis=1), subject.clean.argmax(axis=1))
            if network.decision.classes
            else None,
            loss=float(network.decision.losses(subject.clean, found).mean()),
            sqnr_db=float(10 * np.log10(power / error)),
            layer_error=float(np.mean([one.relative_error for one in errors.values()])),
            grouped_error=float(np.mean(grouped)) if grouped else None,
            bytes=0 if how == NOTHING else int(cost.bytes),
            mac_share=0.0 if how == NOTHING else cost.macs / macs,
            accepted=done.verdict.accepted if done else None,
            seconds=done.seconds if done else None,
        )


def _share(named: np.ndarray, wanted: np.ndarray | None) -> float | None:
    return None if wanted is None else float((named == wanted).mean())


def rows_of(trial: Trial, wanted: Sequence[str]) -> Iterator[Row]:
    """The rows of one chip, those that are wanted."""
    if NOTHING in wanted:
        yield trial.row(NOTHING, no_factors(trial.network.layers))
    done = calibrated(trial.network, trial.runtime)
    if CALIBRATED in wanted:
        yield trial.row(CALIBRATED, done.factors, done)
    chosen = np.array(sorted(one.index for one in done.chosen), np.intp)
    for how in (FROZEN, GAIN_AND_OFFSET):
        if how in wanted:
            yield trial.row(how, treated(how, trial.runtime, trial.network, chosen))


def ways(network: PackedNetwork) -> tuple[str, ...]:
    """What is done to a network's chips."""
    grouped = any(layer.groups > 1 for layer in network.layers)
    return (NOTHING, CALIBRATED, *((FROZEN, GAIN_AND_OFFSET) if grouped else ()))


def run_case(case: Case, subject: Subject, results: Results, seeds: Sequence[int]) -> None:
    """Measure all that was not measured yet."""
    options = PackOptions(scheme=case.scheme)
    network = prepare(subject.graph, subject.pack_x, subject.pack_y, options)
    for seed in seeds:
        wanted = [how for how in ways(network) if not results.has(case.name, seed, how)]
        if not wanted:
            continue
        chip = Chip(preset(case.device), seed)
        runtime = CimRuntime(network, chip, State(age_s=case.age_s), np.random.default_rng(seed))
        for row in rows_of(Trial(case, subject, network, seed, runtime), wanted):
            results.add(row)
            print(f"  {row}", file=sys.stderr, flush=True)


EXPLANATION = f"""Each network is packed with {PACKED} samples (96 references, 32 held back), its
chips are calibrated once, with {SAMPLES} samples and otherwise the defaults (budget: the bytes of
rank 8 in 16 bits), and tested on samples that took no part. Rows are means over the chips.

The three keyword networks that are not MLPerf Tiny's are trained by
`tools/train_keyword_transformer.py` in NumPy, taught by MLPerf Tiny's DS-CNN on variants of 300
words; the other 300 are tested. A transformer's main path are its products with constants:
embedding, queries, keys, values, outputs, perceptrons, classifier; the products of activations with
activations, softmax and normalisations are no arrays and stay exact.

**Inputs of the person and the anomaly network are synthetic**, as there are no real ones here:
smooth random colour images whose amplitude falls with frequency (the network sees a person in few
of them, so that agreement says little), and log-mel spectra near those that the autoencoder passes
on. For these, layer errors and the answer's SQNR are what counts; accuracy is unknown.

*Loss* is the Kullback-Leibler divergence from the float network's classes in nats, for the
autoencoder the squared error over the outputs' power. *Layer error* is relative, errors upstream
included, on the held-back samples. *Operations* are the surrogates' multiply-accumulates over the
network's."""

PICTURE = ["![Losses of all networks before and after a calibration](architectures.png)"]

GROUPED = """The layers with groups (depthwise: as many groups as channels) in three treatments, the
other layers fitted in the same way within the same budget of bytes: *frozen*, as the chip computes
them; *gain and offset*; and what calibrations do, a low-rank part in each group as well, which for
a depthwise layer is a correction of each channel's kernel."""


def main() -> None:
    """Run what is asked for and write a Markdown report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="one chip, 100 samples")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--networks", type=Path, default=Path("build/keywords"))
    parser.add_argument("--results", type=Path, help="keep rows here, and go on from them")
    parser.add_argument("--out", type=Path, help="write the report here too")
    parser.add_argument("--picture", type=Path, help="draw losses into this PNG or SVG file")
    arguments = parser.parse_args()
    if "NPP_DATA" not in os.environ:
        sys.exit("set NPP_DATA to the folder of the MLPerf Tiny models and the keyword data")
    results, subjects = Results(arguments.results), dict[str, Subject]()
    cases = [case for case in CASES if arguments.only in case.name]
    seeds = CHIP_SEEDS[: 1 if arguments.quick else None]
    for case in cases:
        if case.network not in subjects:
            tests = 100 if arguments.quick else case.tests
            directory = Path(os.environ["NPP_DATA"])
            subjects[case.network] = SUBJECTS[case.network](directory, arguments.networks, tests)
        run_case(case, subjects[case.network], results, seeds)
    about = f"chip seeds {seeds[0]} to {seeds[-1]}, packing, inputs and training seed 0"
    tested = "100" if arguments.quick else "300 (person: 200)"
    sections = [
        "# Other architectures",
        EXPLANATION,
        machine(f"{about}; {tested} test samples"),
        *PICTURE * bool(arguments.picture),
        recovery_table(results.rows, [case.name for case in cases]),
        "## Layers with groups",
        GROUPED,
        grouped_table(results.rows, [case.name for case in cases]),
    ]
    report = "\n\n".join(sections) + "\n"
    print(report)
    if arguments.out:
        arguments.out.write_text(report, encoding="utf-8")
    if arguments.picture:
        draw(results.rows, [case.name for case in cases], arguments.picture)


if __name__ == "__main__":
    main()

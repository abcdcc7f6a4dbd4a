"""What bits cost and save: uniform schemes and channelwise levels, before and after recalibration.

    NPP_DATA=DIR python tools/bench_precision.py [--only NAME ...] [--precision NAME]
                            [--tests N] [--epochs N] [--rows FILE.jsonl] [--out FILE.md]

Packs each network with 96 references and 32 held-back samples in each precision, runs it on an
ideal chip and on chips of `mismatch-10` that were used for choosing nothing, uncorrected and
calibrated once with 32 samples chosen by sensitivity, and tests on samples that took no part. Each
row is written to `--rows` when it is done, and a second run goes on from there. One thread.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"

import time
from pathlib import Path
from typing import Any

import numpy as np
from bench_report import machine, markdown_table
from precision.subjects import PRECISIONS, SUBJECTS, Precision, Subject

from agent.buffer import SampleBuffer
from agent.energy import network_energy
from agent.loop import CalibrationRequest, ClosedLoop, Commit
from agent.runtimes.cim import CimRuntime
from calib.costs import effective_bit_operations, network_bits_mean, weight_bytes
from calib.decision import decision_graph
from calib.factors import Factors, no_factors
from calib.graph.executor import run
from calib.graph.model import Graph
from calib.losses import distillation
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from calib.train.level_network import Lesson
from calib.train.level_stages import Journal
from calib.train.levels import LevelTraining
from device_models.array import Chip, State
from device_models.energy.constants import EnergyConstants
from device_models.presets import preset

CHIPS = {"ideal": (0,), "mismatch-10": (1000, 1001)}
"""By preset, the seeds; used for nothing but these figures."""

BLOCK = 50


class NoStore:
    """Counts the bytes of a commit and keeps nothing."""

    def commit(self, payload: bytes) -> Commit:
        """Accept factors."""
        return Commit(1, len(payload))


def float_answers(subject: Subject) -> np.ndarray:
    """The class of each test sample as the float network gives it."""
    return np.asarray(answers_of(subject.graph, subject.test_x).argmax(axis=1))


def answers_of(network: Graph, x: np.ndarray) -> np.ndarray:
    """What a float network answers."""
    graph = decision_graph(network)
    return np.concatenate(
        [run(graph, x[i : i + BLOCK])[graph.output] for i in range(0, len(x), BLOCK)]
    )


def packed(subject: Subject, precision: Precision, epochs: int) -> PackedNetwork:
    """The network in a precision; trained ones learn what the float network answers."""
    options = PackOptions(scheme=precision.scheme, **precision.options)
    learner = learner_of(subject, epochs) if precision.trained else None
    return prepare(subject.graph, subject.pack_x, subject.pack_y, options, learner=learner)


def learner_of(subject: Subject, epochs: int) -> LevelTraining:
    """Distillation on all samples that may train, a tenth of which judges."""
    loss = distillation(answers_of(subject.graph, subject.train_x), classes=True)
    training = len(subject.train_x) - min(len(subject.train_x) // 10, 128)

    def tell(done: int, of: int) -> None:
        print(f"  epoch {done} of {of}", file=sys.stderr, flush=True)

    journal = Journal(tell=tell, warn=print)
    return LevelTraining(Lesson(subject.train_x, loss, training, epochs), journal)


def measured(subject: Subject, precision: Precision, epochs: int) -> dict[str, Any]:
    """All figures of one network in one precision."""
    started = time.process_time()
    network = packed(subject, precision, epochs)
    pack_s = time.process_time() - started
    clean = float_answers(subject)
    ranks = {layer.name: 0 for layer in network.layers}
    uses = network_energy(network, ranks, preset("sram-bitplane"), EnergyConstants())
    found: dict[str, Any] = {
        "precision": precision.name,
        "epochs": epochs if precision.trained else 0,
        "samples": len(subject.test_y),
        "float": float((clean == subject.test_y).mean()),
        "bits_mean": network_bits_mean(network),
        "bytes": sum(weight_bytes(network, layer) for layer in network.layers),
        "float_bytes": 4 * sum(layer.weight.size for layer in network.layers),
        "ebops": effective_bit_operations(network),
        "conversions": uses.uses.conversions,
        "main_pj": uses.energy.main_pj,
        "pack_s": pack_s,
    }
    for chip, seeds in CHIPS.items():
        rows = [on_chip(subject, network, chip, seed, clean) for seed in seeds]
        for key in rows[0]:
            found[f"{chip} {key}"] = float(np.mean([row[key] for row in rows]))
    return found


def on_chip(
    subject: Subject, network: PackedNetwork, chip: str, seed: int, clean: np.ndarray
) -> dict[str, float]:
    """One chip before and after one calibration."""
    runtime = CimRuntime(network, Chip(preset(chip), seed), State(), np.random.default_rng(seed))
    nothing = no_factors(network.layers)
    loop = ClosedLoop(
        network, runtime, nothing, SampleBuffer(), time.monotonic, np.random.default_rng(0)
    )
    loop.calibrate(CalibrationRequest(samples=32), NoStore())
    found = {}
    for when, factors in (("uncorrected", nothing), ("corrected", loop.factors)):
        classes = answers(runtime, factors, subject.test_x)
        found[when] = float((classes == subject.test_y).mean())
        found[f"{when} agreement"] = float((classes == clean).mean())
    return found


def answers(runtime: CimRuntime, factors: Factors, x: np.ndarray) -> np.ndarray:
    """The class of each sample as the chip gives it."""
    return np.asarray(np.argmax(runtime.run(x, factors, {}).answers, axis=1))


HEAD = (
    "precision", "bits", "bytes", "smaller", "EBOPs, M", "conversions, k", "ideal",
    "ideal, calibrated", "mismatch-10", "mismatch-10, calibrated", "of its own healthy",
    "agreement",
)  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """One network's rows."""
    return markdown_table(HEAD, [_cells(row) for row in rows])


def _cells(row: dict[str, Any]) -> list[str]:
    healthy = row["ideal corrected"]
    return [
        row["precision"] + (f", {row['epochs']} epochs" if row["epochs"] else ""),
        f"{row['bits_mean']:.2f}",
        f"{row['bytes']:,}",
        f"{row['float_bytes'] / row['bytes']:.1f}x",
        f"{row['ebops'] / 1e6:,.1f}",
        f"{row['conversions'] / 1e3:,.0f}",
        f"{row['ideal uncorrected']:.1%}",
        f"{healthy:.1%}",
        f"{row['mismatch-10 uncorrected']:.1%}",
        f"{row['mismatch-10 corrected']:.1%}",
        f"{row['mismatch-10 corrected'] / healthy:.3f}",
        f"{row['mismatch-10 corrected agreement']:.3f}",
    ]


def main() -> None:
    """Measure what is not there yet, and write a Markdown report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=[*SUBJECTS], default=[*SUBJECTS])
    parser.add_argument("--precision", default="", help="those whose name contains this")
    parser.add_argument("--tests", type=int, default=400, help="samples to test on, at most")
    parser.add_argument("--epochs", type=int, default=30, help="of trained precisions")
    parser.add_argument("--rows", type=Path, help="rows that are done are kept here")
    parser.add_argument("--out", type=Path, help="write the report here too")
    arguments = parser.parse_args()
    data = Path(os.environ.get("NPP_DATA", "."))
    kept = arguments.rows.read_text().splitlines() if _there(arguments.rows) else []
    done = {(row["network"], row["precision"]): row for row in map(json.loads, kept)}
    for name in arguments.only:
        asked = [one for one in PRECISIONS if arguments.precision in one.name]
        waiting = [one for one in asked if (name, one.name) not in done]
        subject = SUBJECTS[name](data, arguments.tests) if waiting else None
        for precision in waiting:
            assert subject is not None, "it is there where something waits"
            row = {"network": name, **measured(subject, precision, arguments.epochs)}
            done[name, precision.name] = row
            print(json.dumps(row), file=sys.stderr, flush=True)
            if arguments.rows is not None:
                with arguments.rows.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    report = _report({key: row for key, row in done.items() if key[0] in arguments.only})
    print(report)
    if arguments.out is not None:
        arguments.out.write_text(report, encoding="utf-8")


def _there(path: Path | None) -> bool:
    return path is not None and path.exists()


def _report(done: dict[tuple[str, str], dict[str, Any]]) -> str:
    seeds = f"chip seeds {CHIPS['mismatch-10'][0]} to {CHIPS['mismatch-10'][-1]}, packing seed 0"
    sections = ["# Precisions", machine(seeds)]
    for name in dict.fromkeys(key[0] for key in done):
        rows = [row for key, row in done.items() if key[0] == name]
        first = rows[0]
        sections.append(
            f"## {name}\n\nFloat: {first['float']:.1%} of {first['samples']} samples, "
            f"{first['float_bytes']:,} bytes.\n\n{table(rows)}"
        )
    return "\n\n".join(sections) + "\n"


if __name__ == "__main__":
    main()

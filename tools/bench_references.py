"""Benchmark of references: stored, recomputed, and moments of several ranks.

    NPP_DATA=DIR python tools/bench_references.py [--quick] [--only NAME] [--form NAME]
        [--results FILE.jsonl] [--out FILE.md]

Packs each network once for each form with 96 references and 32 held-back samples, and calibrates
the same chips with 32 samples, or draws. One thread. What was measured is kept in the file of
results, so that a run can be stopped and taken up again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from bench_closed_loop import CASES, Case, Data, NoStore, answers, float_answers, read
from bench_references_report import Results, Row, section
from bench_report import machine

from agent.buffer import SampleBuffer
from agent.loop import CalibrationRequest, ClosedLoop
from agent.runtimes.cim import CimRuntime
from agent.store.package import Package, package_bytes, to_parts
from calib.drawn_references import references_from_moments
from calib.factors import no_factors
from calib.importers import load_model
from calib.packed import PackedNetwork
from calib.prepare import MOMENT_POSITIONS, PackOptions, prepare
from calib.reference_plan import POSITIONS, Costs, plan_references
from calib.references import (
    RecomputedReferences,
    SampleCodes,
    encode_samples,
    recompute_references,
)
from calib.stored_references import StoredReferences, store_references
from device_models.array import Chip, State
from device_models.presets import preset

CHIP_SEEDS = range(1000, 1003)
IMAGES = {"resnet8_float.tflite": 1000, "kws_float.tflite": 300}
NAMES = ("resnet8 int4-tensor", "resnet8 nf4", "keywords int4-tensor")
FORMS = (
    "recomputed",
    "moments, rank 16",
    "moments, rank 4",
    "moments, rank 0",
    "stored",
    "stored, bytes of moments",
)
STORED_BYTES = 1024 * 1024
HELD_BACK, REFERENCES = 32, 96
COMMAND = "NPP_DATA=DIR python tools/bench_references.py --out docs/benchmarks/references.md"


@dataclass(frozen=True)
class Asked:
    """What of the benchmark is to be measured."""

    chips: Sequence[int]
    form: str
    """Forms that begin with this."""

    quick: bool


@dataclass(frozen=True)
class Bench:
    """One case: its samples, the float network's answers, and the packed network."""

    case: Case
    data: Data
    clean: np.ndarray
    recomputed: PackedNetwork
    """Packed with recomputed references; the other forms are made of it."""

    @classmethod
    def of(cls, directory: Path, case: Case, *, quick: bool) -> Bench:
        """Read a case's data and answer its test samples."""
        data = read(directory, case, 200 if quick else IMAGES[case.model])
        model = directory / "mlperf-tiny" / case.model
        options = PackOptions(scheme=case.scheme, references_as="recomputed")
        network = prepare(load_model(model), data.pack_x, data.pack_y, options)
        return cls(case, data, float_answers(model, data.test_x), network)

    def packed(self, form: str) -> tuple[PackedNetwork, int, int]:
        """The network with references of a form, its bytes, and those made from samples."""
        network = self.recomputed
        if form.startswith("moments"):
            drawn = references_from_moments(
                self.references(MOMENT_POSITIONS),
                network.activations,
                rank=int(form.removeprefix("moments, rank ")),
                rows=POSITIONS,
                seed=network.seed,
            )
            network = replace(network, references=drawn, references_as="moments")
        elif form != "recomputed":
            network = replace(
                network,
                references=self.stored(form),
                references_as="stored",
                float_weights=None,
            )
        return network, *sizes(network)

    def stored(self, form: str) -> StoredReferences:
        """Stored references within the default budget, or the bytes of moments of rank 16."""
        network, block = self.recomputed, self.recomputed.references.block(np.arange(1))
        sample_bytes = encode_samples(self.data.pack_x).bytes_per_sample
        costs = Costs(network.layers, sample_bytes, block.answers.nbytes, float_weights_kept=False)
        limit = STORED_BYTES if form == "stored" else costs.moments(16)
        plan = plan_references(costs, "stored", limit, HELD_BACK, REFERENCES)
        source = self.references(plan.positions, plan.held_back, plan.references)
        return store_references(source, source.layers, source.samples)

    def references(
        self, positions: int, held_back: int = HELD_BACK, references: int = REFERENCES
    ) -> RecomputedReferences:
        """References of the packing samples at so many positions."""
        network, graph = self.recomputed, self.recomputed.float_graph
        assert graph is not None, "recomputed references keep float weights"
        codes = encode_samples(self.data.pack_x)
        kept = np.r_[0:held_back, HELD_BACK : HELD_BACK + references]
        samples = SampleCodes(codes.codes[kept], codes.scale, codes.offset)
        return recompute_references(
            graph,
            network.decision,
            samples,
            held_back=held_back,
            positions=positions,
            seed=network.seed,
        )

    def calibrated(self, form: str, packed: tuple[PackedNetwork, int, int], chip: int) -> Row:
        """Calibrate one chip and test it."""
        network, bundle_bytes, sample_bytes = packed
        generator = np.random.default_rng(chip)
        described = Chip(preset(self.case.device), chip)
        runtime = CimRuntime(network, described, State(), generator)
        nothing = no_factors(network.layers)
        fixed = np.random.default_rng(0)
        loop = ClosedLoop(network, runtime, nothing, SampleBuffer(), time.monotonic, fixed)
        done = loop.calibrate(CalibrationRequest(samples=32), NoStore())
        mended = answers(runtime, loop.factors, self.data.test_x)
        accuracy = float((self.clean == self.data.test_y).mean())
        return Row(
            case=self.case.name,
            form=form,
            chip=chip,
            bundle_bytes=bundle_bytes,
            samples=len(self.clean),
            accuracy=accuracy,
            sample_bytes=sample_bytes,
            recovery=float((mended == self.data.test_y).mean()) / accuracy,
            agreement=float((mended == self.clean).mean()),
            accepted=done.verdict.accepted,
            seconds=done.seconds,
        )


def sizes(network: PackedNetwork) -> tuple[int, int]:
    """Bytes of the bundle, and of the arrays in it that were made from samples."""
    package = Package(network, network.graph.name, "cim")
    _, arrays = to_parts(package)
    of_samples = {"references", "moments"}
    made = [array.nbytes for name, array in arrays.items() if name.split("/")[0] in of_samples]
    return len(package_bytes(package)), sum(made)


def measure(directory: Path, case: Case, asked: Asked, results: Results) -> None:
    """Measure what is not in the results yet."""
    bench = None
    for form in FORMS:
        missing = [chip for chip in asked.chips if not results.has(case.name, form, chip)]
        if not missing or not form.startswith(asked.form):
            continue
        bench = bench or Bench.of(directory, case, quick=asked.quick)
        packed = bench.packed(form)
        for chip in missing:
            results.add(bench.calibrated(form, packed, chip))
            print(results.rows[-1], file=sys.stderr, flush=True)


EXPLANATION = """Each network was packed once for each form of references, with 96 references and 32
held-back samples, and the same chips were calibrated with 32 samples, or draws. *Moments* keep no
sample: of each layer's inputs the means, spreads and correlations of the rank named, from which
rows are drawn on the board; they are judged layer by layer. Stored and recomputed references are
judged by whole answers, and end with the moment pass, which needs samples. *Stored, bytes of
moments* are stored references within what moments of rank 16 take together with the float16
weights that they need. Recovery is the corrected accuracy over the float network's, agreement the
share of samples with the float network's answer, on samples that took no part. *Of samples* are the
bytes of all that was made from samples. Other work ran beside: seconds tell which form is cheaper,
and no more. Forms that have not been measured yet are left out."""


def main() -> None:
    """Measure what is asked for and write a Markdown report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one chip, 200 samples")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--form", default="", help="measure only forms that begin with this")
    parser.add_argument("--results", type=Path, help="JSON lines of what was measured already")
    parser.add_argument("--out", type=Path, help="write the report here too")
    arguments = parser.parse_args()
    if "NPP_DATA" not in os.environ:
        sys.exit("set NPP_DATA to the folder of the MLPerf Tiny models and of their data")
    directory, results = Path(os.environ["NPP_DATA"]), Results(arguments.results)
    chips = list(CHIP_SEEDS)[: 1 if arguments.quick else None]
    asked = Asked(chips, arguments.form, arguments.quick)
    seeds = f"chip seeds {chips[0]} to {chips[-1]}, packing seed 0"
    sections = ["# References: stored, recomputed, or moments", EXPLANATION, machine(seeds)]
    for case in CASES:
        if case.name in NAMES and arguments.only in case.name:
            measure(directory, case, asked, results)
            known = [row for row in results.rows if row.chip in chips]
            sections.append(section(case, known, FORMS))
    sections.append(f"`{COMMAND}`")
    report = "\n\n".join(sections) + "\n"
    print(report)
    if arguments.out:
        arguments.out.write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()

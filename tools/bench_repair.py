"""Benchmark of what there is to repair where a processor computes the main path.

    NPP_DATA=DIR python tools/bench_repair.py [--quick] [--out FILE.md]

Three causes of error, each before and after one calibration with 32 of 96 references: few bits of
the weights; inputs of another domain than those that the ranges were found with (references of the
new domain, labels are not used); bits of the weights that flipped in memory. MLPerf Tiny's ResNet-8
and keyword network on onnxruntime; accuracy on samples that took no part.
"""

from __future__ import annotations

import argparse
import os

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"  # before NumPy is imported

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from bench_closed_loop import CASES, Data, NoStore, read
from bench_report import machine, markdown_table
from repair.faults import DOMAINS, Domain, flipped

from agent.buffer import SampleBuffer
from agent.loop import CalibrationRequest, ClosedLoop
from agent.runtimes.onnx_session import imported
from agent.runtimes.onnxruntime import OnnxRuntime
from calib.decision import decision_graph
from calib.factors import Factors, no_factors
from calib.graph.executor import run
from calib.graph.model import Graph
from calib.importers import load_model
from calib.output_ranges import output_codes
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from calib.references import References, encode_samples, recompute_references
from calib.schemes.weights import SCHEMES

NETWORKS = ("resnet8 nf4", "keywords int4-tensor")
"""The cases of the closed loop's benchmark whose model and data are used."""

HELD_BACK = 32
RATES = (1e-5, 1e-4, 1e-3, 1e-2)
"""Of flipped bits."""

SEEDS = 3
"""Memories of each rate."""

CELLS = ("float", "before", "after", "agreement before", "after", "accepted")


@dataclass(frozen=True)
class Subject:
    """A network and its data."""

    name: str
    kind: str
    graph: Graph
    data: Data


@dataclass(frozen=True)
class Outcome:
    """Shares of the test samples, and whether the factors were accepted."""

    clean: float
    before: float
    after: float
    agreement_before: float
    agreement_after: float
    accepted: bool

    def cells(self) -> list[str]:
        """As a row of the table ends."""
        shares = [self.clean, self.before, self.after, self.agreement_before, self.agreement_after]
        return [*(f"{share:.1%}" for share in shares), "yes" if self.accepted else "no"]


def packed(subject: Subject, scheme: str, domain: Domain) -> tuple[PackedNetwork, OnnxRuntime]:
    """A network packed on one domain, with references of the field's; and what runs it."""
    data, graph = subject.data, subject.graph
    x = domain.packed_with(data.pack_x).astype(np.float32)
    options = PackOptions(scheme, references_as="recomputed", held_back=HELD_BACK)
    network = prepare(graph, x, data.pack_y, options)
    runtime = OnnxRuntime(network, output_codes(graph, network, x[: network.references.count]))
    return replace(network, references=_of_the_field(network, domain.field(data.pack_x))), runtime


def _of_the_field(network: PackedNetwork, x: np.ndarray) -> References:
    """References that the board's own float weights make of samples of the field."""
    assert network.float_graph is not None, "recomputed references need float weights"
    return recompute_references(
        network.float_graph,
        network.decision,
        encode_samples(x),
        held_back=HELD_BACK,
        positions=network.positions_per_sample,
        seed=0,
    )


def classes(graph: Graph, x: np.ndarray) -> np.ndarray:
    """The float network's."""
    cut = decision_graph(graph)
    blocks = [run(cut, x[i : i + 50])[cut.output] for i in range(0, len(x), 50)]
    return np.asarray(np.concatenate(blocks).argmax(axis=1))


def mended(
    network: PackedNetwork, runtime: OnnxRuntime, subject: Subject, x: np.ndarray
) -> Outcome:
    """Calibrate once, and test before and after."""

    def answers(factors: Factors) -> np.ndarray:
        return np.asarray(runtime.run(x, factors, {}).answers.argmax(axis=1))

    nothing, generator = no_factors(network.layers), np.random.default_rng(0)
    loop = ClosedLoop(network, runtime, nothing, SampleBuffer(), time.monotonic, generator)
    done = loop.calibrate(CalibrationRequest(samples=32), NoStore())
    clean, before, after = classes(subject.graph, x), answers(nothing), answers(loop.factors)
    wanted = subject.data.test_y
    return Outcome(
        clean=_share(clean == wanted),
        before=_share(before == wanted),
        after=_share(after == wanted),
        agreement_before=_share(before == clean),
        agreement_after=_share(after == clean),
        accepted=done.verdict.accepted,
    )


def _share(hits: np.ndarray) -> float:
    return float(hits.mean())


def few_bits(subject: Subject) -> Iterator[list[str]]:
    """Each scheme, on inputs as packed."""
    for scheme in SCHEMES:
        network, runtime = packed(subject, scheme, DOMAINS[subject.kind][0])
        outcome = mended(network, runtime, subject, subject.data.test_x)
        yield [subject.name, scheme, *outcome.cells()]


def moved_inputs(subject: Subject) -> Iterator[list[str]]:
    """Each domain, with 8 and with 4 bits."""
    for domain in DOMAINS[subject.kind]:
        for scheme in ("int8", "int4"):
            network, runtime = packed(subject, scheme, domain)
            x = domain.field(subject.data.test_x).astype(np.float32)
            outcome = mended(network, runtime, subject, x)
            yield [subject.name, domain.name, scheme, *outcome.cells()]


def bad_memory(subject: Subject) -> Iterator[list[str]]:
    """Each rate of flipped bits: the mean of some memories."""
    domain, x = DOMAINS[subject.kind][0], subject.data.test_x
    for scheme in ("int8", "int4"):
        network, _ = packed(subject, scheme, domain)
        outputs = output_codes(subject.graph, network, subject.data.pack_x)
        for rate in RATES:
            outcomes = []
            for seed in range(SEEDS):
                broken = flipped(network, rate, np.random.default_rng(seed))
                outcomes.append(mended(network, OnnxRuntime(broken, outputs), subject, x))
            yield [subject.name, scheme, f"{rate:g}", *_means(outcomes)]


def _means(outcomes: list[Outcome]) -> list[str]:
    """The cells of a mean outcome, with the worst memory's accuracy, and how many were accepted."""
    means = [
        np.mean([getattr(one, name) for one in outcomes])
        for name in ("clean", "before", "after", "agreement_before", "agreement_after")
    ]
    cells = [f"{mean:.1%}" for mean in means]
    cells[2] += f" (worst {min(one.after for one in outcomes):.1%})"
    return [*cells, f"{sum(one.accepted for one in outcomes)} of {len(outcomes)}"]


PARTS = {
    "Few bits": (few_bits, ("network", "scheme")),
    "Inputs of another domain": (moved_inputs, ("network", "inputs in the field", "scheme")),
    "Flipped bits": (bad_memory, ("network", "scheme", "rate of flipped bits")),
}


def main() -> None:
    """Print the report, or write it to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few images")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    directory = Path(os.environ["NPP_DATA"])
    rows: dict[str, list[list[str]]] = {title: [] for title in PARTS}
    for case in (case for case in CASES if case.name in NETWORKS):
        data = read(directory, case, 100 if given.quick else case.test_samples)
        graph = load_model(directory / "mlperf-tiny" / case.model)
        subject = Subject(case.name.split()[0], case.data, graph, data)
        for title, (made, _) in PARTS.items():
            for row in made(subject):
                rows[title].append(row)
                print(f"  {row}", file=sys.stderr, flush=True)
    text = report(rows)
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    else:
        print(text)


def report(rows: dict[str, list[list[str]]]) -> str:
    """The tables."""
    said = machine(f"onnxruntime {imported().__version__}; packing seed 0")
    tables = [
        f"## {title}\n\n{markdown_table((*head, *CELLS), rows[title])}"
        for title, (_, head) in PARTS.items()
    ]
    return "\n\n".join(["# What there is to repair on a processor", said, *tables, ""])


if __name__ == "__main__":
    main()

"""One repetition: a method on a chip with a buffer, measured and written down."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from recovery.cases import Case
from recovery.methods import Method
from recovery.results import Record, Results, key_of
from recovery.scoring import score
from recovery.subject import Buffered, Material, Subject, buffered, material

RECOVERY = "recovery"


@dataclass(frozen=True)
class Range:
    """What is run."""

    cases: Sequence[Case]
    chips: Sequence[int]
    buffers: Sequence[int]
    methods: Sequence[Method]
    images: int | None = None
    """Test images, where fewer than a case has."""


def measured(subject: Subject, method: Method, kind: str = RECOVERY) -> Record:
    """Run a method and test what it makes of the chip."""
    method.load()
    started_s = time.process_time()
    outcome = method.run(subject)
    seconds = time.process_time() - started_s
    return {
        "kind": kind,
        "case": subject.case.name,
        "chip": subject.chip,
        "buffer": subject.shared.buffer,
        "method": method.name,
        "images": len(subject.shared.material.test),
        "witness": subject.witness,
        **asdict(score(subject, outcome)),
        "seconds": seconds,
        **asdict(outcome.price),
        **outcome.details,
    }


def run(directory: Path, asked: Range, results: Results) -> Iterator[Record]:
    """Run what is not in the results yet; each record is written at once.

    All chips come before the next buffer: a run that is cut short has seen many chips.
    """
    materials: dict[str, Material] = {}
    packed: dict[tuple[str, int], Buffered] = {}
    for buffer in asked.buffers:
        for chip in asked.chips:
            for case in asked.cases:
                for method in _missing(asked, results, case, chip, buffer):
                    if case.name not in materials:
                        materials[case.name] = material(directory, case, asked.images)
                    if (case.name, buffer) not in packed:
                        packed[case.name, buffer] = buffered(materials[case.name], buffer)
                    record = measured(Subject(packed[case.name, buffer], chip), method)
                    results.add(record)
                    yield record


def _missing(
    asked: Range, results: Results, case: Case, chip: int, buffer: int
) -> Iterator[Method]:
    """The methods that can be run and have not been, on one chip with one buffer."""
    if case.missing is not None:
        return
    done = results.read()
    for method in asked.methods:
        named = {"kind": RECOVERY, "case": case.name, "chip": chip, "buffer": buffer}
        if key_of({**named, "method": method.name}) not in done and not method.missing(case):
            yield method

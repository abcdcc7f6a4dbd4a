"""What a subject's process does: run one batch whenever it is told to, and say how long it took.

One line of JSON for each line that comes in. The first says that the subject is ready, or why it
is missing; `run` is answered with seconds, `stop` with the memory that the process took. Seconds
are the processor's: one thread takes as many by the clock where a machine does nothing else.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np
from bench_report import peak_megabytes
from numpy.typing import NDArray

BUILDS = 5
SHORTEST_S = 0.25
"""A batch is repeated until so much has passed; the mean counts."""

Run = Callable[[], NDArray[np.float32]]


class SubjectMissingError(Exception):
    """A subject that cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Ready:
    """A subject that has been built."""

    run: Run
    """One batch; gives the answers [n, classes]."""

    build_ms: float
    versions: Mapping[str, str]


def built(build: Callable[[], Run], versions: Mapping[str, str]) -> Ready:
    """Build a subject several times; the median counts. One at a time is in memory."""
    seconds = []
    run: Run | None = None
    for _ in range(BUILDS):
        run = None
        started = time.process_time()
        run = build()
        seconds.append(time.process_time() - started)
    assert run is not None
    return Ready(run, 1e3 * float(np.median(seconds)), versions)


def serve(make: Callable[[], Ready]) -> None:
    """Answer on what was standard output; all else that is printed goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        ready = make()
        classes = ready.run().argmax(axis=1).tolist()
    except (SubjectMissingError, ImportError) as error:
        _say(answers, {"missing": str(error)})
        return
    said = {"classes": classes, "build_ms": ready.build_ms, "versions": dict(ready.versions)}
    _say(answers, said)
    for line in sys.stdin:
        if line.strip() == "stop":
            _say(answers, {"peak_mb": peak_megabytes()})
            return
        _say(answers, {"seconds": _seconds(ready.run)})


def _seconds(run: Run) -> float:
    started, count, passed = time.process_time(), 0, 0.0
    while passed < SHORTEST_S:
        run()
        count += 1
        passed = time.process_time() - started
    return passed / count


def _say(answers: TextIO, document: Mapping[str, Any]) -> None:
    answers.write(json.dumps(document) + "\n")
    answers.flush()

"""A process that runs models on the one runtime that it was told: JSON lines in, JSON lines out.

python worker.py SAMPLES.npz

It needs of npp-agent what a board has, so that it also runs where tflite-runtime is, with its older
Python and NumPy. Asked are `load`, `time` and `reload`, see `Worker`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"  # before NumPy is imported

TOOLS = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(TOOLS.parent), str(TOOLS)]  # not our own folder: its names are not packages'

import numpy as np  # noqa: E402 - found by the path above

from runtimes.models import (  # noqa: E402 - by the path above
    Answer,
    float_model,
    prepared,
)

WARM_UP = 3


@dataclass(frozen=True)
class Loaded:
    """A model in memory."""

    answer: Answer
    load: Callable[[], Answer]


class Worker:
    """The models of one network, by the variant's name.

    Args:
        x: samples [n, ...].
        y: their classes, or none.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray | None) -> None:
        """Nothing is loaded yet."""
        self.x, self.y = x.astype(np.float32), y
        self.models: dict[str, Loaded] = {}
        self._clean: np.ndarray | None = None

    def load(self, given: dict[str, Any]) -> dict[str, Any]:
        """Load a variant of a bundle, or the float model if there is none; what it is worth.

        The float model is to be the first: the others' classes are compared with its.
        """
        path = Path(given["export"])
        made = (
            prepared(given) if given["bundle"] else float_model(Path(given["model"]), path.suffix)
        )
        path.write_bytes(made.content)
        self.models[given["name"]] = Loaded(made.load(), made.load)
        before, after = self._classes(made.plain()), self._classes(made.in_use())
        if not given["bundle"]:
            self._clean = after
        return {
            **made.facts,
            "bytes": len(made.content),
            "accuracy": [_share(before, self.y), _share(after, self.y)],
            "agreement": [_share(before, self._clean), _share(after, self._clean)],
        }

    def time(self, given: dict[str, Any]) -> dict[str, Any]:
        """Milliseconds of so many runs of one sample."""
        answer, sample = self.models[given["name"]].answer, self.x[:1]
        for _ in range(WARM_UP):
            answer(sample)
        return {"ms": [_took_ms(lambda: answer(sample)) for _ in range(given["runs"])]}

    def reload(self, given: dict[str, Any]) -> dict[str, Any]:
        """Milliseconds to load the model anew, so many times."""
        load = self.models[given["name"]].load
        return {"ms": [_took_ms(load) for _ in range(given["runs"])]}

    def _classes(self, answer: Answer | None) -> np.ndarray | None:
        """Of all samples; None: there is nobody to ask, or nothing to ask."""
        if self.y is None or answer is None:
            return None
        return np.asarray(answer(self.x).argmax(axis=1))


def _share(found: np.ndarray | None, wanted: np.ndarray | None) -> float | None:
    return None if found is None or wanted is None else float((found == wanted).mean())


def _took_ms(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def main() -> None:
    """Answer until the input ends."""
    with np.load(sys.argv[1], allow_pickle=False) as file:
        worker = Worker(file["x"], file["y"] if "y" in file.files else None)
    asked = {"load": worker.load, "time": worker.time, "reload": worker.reload}
    for line in sys.stdin:
        given = json.loads(line)
        print(json.dumps(asked[given["do"]](given)), flush=True)


if __name__ == "__main__":
    main()

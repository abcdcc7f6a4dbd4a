"""Answers as JSON lines, one for each sample.

{"number": 12, "source": "a.npy", "index": 0, "class": 3, "answer": [...], "milliseconds": 0.41,
 "factors": 2}
{"number": 13, "source": "b.npy", "error": "b.npy is empty"}
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from agent.service.sources import Frame
from agent.serving import Served


class AnswerWriter:
    """Numbers answers and writes them.

    Args:
        stream: where to.
        classes: whether answers are logits of classes.
    """

    def __init__(self, stream: TextIO, *, classes: bool) -> None:
        """Nothing has been written."""
        self.classes = classes
        self.answers = self.errors = 0
        self._stream = stream

    def write(self, frame: Frame, served: Served, seconds: float) -> None:
        """Write the answers to an input.

        Args:
            frame: the input.
            served: what was answered.
            seconds: what that took, shared by its samples.

        Raises:
            OSError: the stream is closed.
        """
        milliseconds = round(1000 * seconds / len(served.answers), 4)
        for index, answer in enumerate(served.answers):
            self.answers += 1
            document = {
                "number": self.answers + self.errors,
                "source": frame.name,
                "index": index,
                "class": _class(answer) if self.classes else None,
                "answer": list(_numbers(answer)),
                "milliseconds": milliseconds,
                "factors": served.sequence,
            }
            self._stream.write(json.dumps(document, allow_nan=False) + "\n")
        self._stream.flush()

    def refuse(self, frame: Frame, problem: str) -> None:
        """Write why an input was not answered.

        Raises:
            OSError: the stream is closed.
        """
        self.errors += 1
        document = {
            "number": self.answers + self.errors,
            "source": frame.name,
            "error": " ".join(problem.split()),
        }
        self._stream.write(json.dumps(document) + "\n")
        self._stream.flush()


def _class(answer: NDArray[np.float32]) -> int | None:
    """The largest logit's; none where that is no number."""
    return int(np.argmax(answer)) if np.isfinite(answer).all() else None


def _numbers(answer: NDArray[np.float32]) -> Iterator[float | None]:
    """The values with the nine digits that float32 needs; null where they are not finite."""
    for value in answer.ravel().tolist():
        yield float(f"{value:.9g}") if math.isfinite(value) else None

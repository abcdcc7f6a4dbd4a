"""All subjects in turn, each beside a run of the float network, again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emulator.processes import Running
from emulator.subjects import FLOAT


@dataclass(frozen=True)
class Measured:
    """What one subject took."""

    rates: Sequence[float]
    """Images a second, one for each round."""

    slower: Sequence[float]
    """How many times slower than the float network just before, one for each round."""

    build_ms: float
    peak_mb: float
    agreement: float
    """Share of the batch with the answer of `ideal`."""

    versions: Mapping[str, str]

    @property
    def rate(self) -> float:
        """Median images a second."""
        return float(np.median(self.rates))

    @property
    def factor(self) -> float:
        """Median of how many times slower."""
        return float(np.median(self.slower))


@dataclass(frozen=True)
class Line:
    """One running subject, and how many images it takes in a batch."""

    running: Running
    images: int


def alternate(lines: Mapping[str, Line], rounds: int) -> dict[str, Measured]:
    """Measure all of them; one of them is the float network, one is `ideal`.

    Args:
        lines: by name, all ready; they are stopped.
        rounds: how many.
    """
    rates: dict[str, list[float]] = {name: [] for name in lines}
    slower: dict[str, list[float]] = {name: [] for name in lines}
    for line in lines.values():
        line.running.ask("run")  # warm
    for _ in range(rounds):
        for name, line in lines.items():
            plain = _rate(lines[FLOAT])
            mine = plain if name == FLOAT else _rate(line)
            rates[name].append(mine)
            slower[name].append(plain / mine)
    ideal = lines["ideal"].running.ready["classes"]
    return {name: _measured(line, rates[name], slower[name], ideal) for name, line in lines.items()}


def _rate(line: Line) -> float:
    return line.images / float(line.running.ask("run")["seconds"])


def _measured(
    line: Line, rates: Sequence[float], slower: Sequence[float], ideal: Sequence[int]
) -> Measured:
    said: Mapping[str, Any] = line.running.ready
    same = np.equal(said["classes"], ideal[: line.images])
    return Measured(
        rates=rates,
        slower=slower,
        build_ms=float(said["build_ms"]),
        peak_mb=line.running.stop(),
        agreement=float(np.mean(same)),
        versions=said["versions"],
    )

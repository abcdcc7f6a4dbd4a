"""Measurements of cells made by the formulas of the generic memory, written down once more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device_models.fitting.cells import CellMeasurements


@dataclass(frozen=True)
class Truth:
    """What the cells are really like."""

    distribution: str = "normal"
    dependence: str = "independent"
    deviation: float = 0.02
    g_min: float = 0.0
    mean: float = 0.0
    spread: float = 0.0
    start_s: float = 20.0
    noise: float = 0.0


def measure(
    truth: Truth,
    times_s: tuple[float, ...] = (0.0,),
    cells: int = 500,
    reads: int = 1,
    levels: int = 10,
    *,
    named: bool = True,
    seed: int = 0,
) -> CellMeasurements:
    """Read all cells at some times, each several times."""
    generator = np.random.default_rng(seed)
    targets = np.resize(np.linspace(truth.g_min, 1, levels), cells)
    if truth.distribution == "normal":
        errors = generator.standard_normal(cells)
    else:
        errors = generator.uniform(-(3**0.5), 3**0.5, cells)
    shape = {
        "independent": np.ones(cells),
        "proportional": targets,
        "inverse-proportional": np.divide(1, targets, out=np.zeros(cells), where=targets > 0),
    }[truth.dependence]
    programmed = targets + truth.deviation * shape * errors
    exponents = np.abs(truth.mean + truth.spread * generator.standard_normal(cells))
    rows = []
    for time_s in times_s:
        held = programmed * ((time_s + truth.start_s) / truth.start_s) ** -exponents
        for _ in range(reads):
            seen = held + truth.noise * generator.standard_normal(cells)
            rows.append((targets, seen, np.full(cells, time_s), np.arange(cells)))
    target, seen, time, cell = (np.concatenate(column) for column in zip(*rows, strict=True))
    return CellMeasurements(target, seen, time, cell if named else None)


def write_csv(path: Path, data: CellMeasurements, g_max_us: float = 25.0) -> Path:
    """The same as a file in microsiemens."""
    lines = ["target_us,measured_us,time_s" + (",device" if data.cells is not None else "")]
    for row, (target, seen, time_s) in enumerate(
        zip(data.targets, data.measured, data.time_s, strict=True)
    ):
        cell = "" if data.cells is None else f",c{data.cells[row]}"
        lines.append(f"{target * g_max_us:.9g},{seen * g_max_us:.9g},{time_s:g}{cell}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path

"""Measure single cells of an emulated memory, as a probe station would: a CSV for fit-device.

    python tools/measure_cells.py cells.csv --device pcm

Cells are asked for evenly spaced conductances from G_min to G_max and read at several ages, by the
model's own formulas. The figures are an emulator's, and stand for measurements of a real chip.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_models.array_weights import ArrayWeights
from device_models.contract import DeviceModel, Placement, State
from device_models.memories.differential_pair import differential_pairs
from device_models.memories.generic import GenericMemory, conductances
from device_models.memories.pcm import PhaseChangeMemory
from device_models.memories.pcm_hermes import HermesMemory
from device_models.memories.phase_change import conductances as phase_change_conductances
from device_models.toml_file import find_device

LEVELS = 15
"""Of positive codes; with the idle cell there are sixteen targets."""

Floats = NDArray[np.float64]


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="pcm", help="pcm, pcm-hermes, generic-… or a TOML file")
    parser.add_argument("--cells", type=int, default=800)
    parser.add_argument("--ages-s", type=float, nargs="+", default=[0, 100, 3600, 86400])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    targets, held = measured(find_device(given.device), given.cells, given.ages_s, given.seed)
    lines = ["target_rel,measured_rel,time_s,device"]
    for age_s, row in zip(given.ages_s, held, strict=True):
        lines += [
            f"{target:.9g},{value:.9g},{age_s:g},{cell}"
            for cell, (target, value) in enumerate(zip(targets, row, strict=True))
        ]
    given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{given.out}: {len(targets)} cells at {len(given.ages_s)} ages")


def measured(
    model: DeviceModel, cells: int, ages_s: list[float], seed: int
) -> tuple[Floats, Floats]:
    """Targets [cells] and conductances [ages, cells], in parts of G_max."""
    codes = np.resize(np.arange(LEVELS + 1), cells).astype(np.int8).reshape(1, -1, 1)
    weights = ArrayWeights(codes, np.ones((1, 1, 1), np.float32), cells, 8)
    read = [_held(model, Placement(seed, State(age_s), "cells", weights, 8)) for age_s in ages_s]
    return read[0][0], np.stack([held for _, held in read])


def _held(model: DeviceModel, placement: Placement) -> tuple[Floats, Floats]:
    """Targets and conductances of the positive cells."""
    cells = differential_pairs(placement)
    if isinstance(model, GenericMemory):
        targets = cells.between(model.g_min, 1.0)
        held = conductances(model, cells, placement.state.age_s)
    elif isinstance(model, PhaseChangeMemory | HermesMemory):
        targets = cells.targets
        held = phase_change_conductances(model, cells, placement.state.age_s)
    else:
        raise SystemExit(f"measure_cells: cells of kind {model.kind} cannot be read one by one")
    return targets[cells.level[0]].ravel(), held[0].ravel().astype(np.float64)


if __name__ == "__main__":
    main()

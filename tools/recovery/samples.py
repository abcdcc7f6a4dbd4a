"""Which samples a buffer holds, and which ones test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recovery.cases import HELD_BACK, REFERENCES, Case

Float32 = NDArray[np.float32]
Labels = NDArray[np.int64]
KEYWORDS_TO_CALIBRATE = 300
"""The first samples of the keyword data; the others test."""


@dataclass(frozen=True)
class Samples:
    """Samples and their labels."""

    x: Float32
    y: Labels

    def __getitem__(self, which: slice | NDArray[np.integer]) -> Samples:
        """Some of them."""
        return Samples(self.x[which], self.y[which])

    def __len__(self) -> int:
        """How many."""
        return len(self.x)


def pool_and_test(directory: Path, case: Case) -> tuple[Samples, Samples]:
    """What buffers are drawn from, and what tests; no sample is in both.

    Args:
        directory: the folder of real models and samples.
        case: decides the data and how many test.
    """
    with np.load(directory / f"{case.data}.npz", allow_pickle=False) as file:
        if case.data == "cifar10":
            pool, test = (_samples(file[f"{part}_x"], file[f"{part}_y"]) for part in _PARTS)
        else:
            every = _samples(file["x"], file["y"])
            pool, test = every[:KEYWORDS_TO_CALIBRATE], every[KEYWORDS_TO_CALIBRATE:]
    return pool, test[: case.test_images]


_PARTS = ("train", "test")


def _samples(x: NDArray[np.generic], y: NDArray[np.generic]) -> Samples:
    return Samples(x.astype(np.float32), y.astype(np.int64))


def split(pool: Samples, buffer: int) -> tuple[Samples, Samples]:
    """One choice of samples, first those that are held back, then the references; and the rest."""
    order = np.random.default_rng([17, buffer]).permutation(len(pool))
    taken = HELD_BACK + REFERENCES
    return pool[order[:taken]], pool[order[taken:]]

"""What is simulated: everything that a chip's figures depend on, and how many chips there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from agent import __version__

NEVER, ONCE, EACH = "never", "once", "each"
RECALIBRATE = (NEVER, ONCE, EACH)
"""When a chip is calibrated: not at all, at its first age only, at each of its ages."""


class Task(NamedTuple):
    """One chip: which group's device, which seed. In the order of the results."""

    group: int
    seed: int


@dataclass(frozen=True)
class Plan:
    """What the figures of a chip depend on, besides its group and its seed."""

    bundle_id: str
    data_sha256: str
    """Of samples, labels and the float network's answers."""

    devices: tuple[str, ...]
    """TOML of the device model of each group."""

    ages_s: tuple[float, ...]
    temperature_c: float
    supply_v: float | None
    recalibrate: str
    samples: int
    """Of a calibration, as are `select` and `method`."""

    select: str
    method: str
    fast: bool

    def identity(self) -> dict[str, Any]:
        """What has to be the same for results to belong together, as JSON holds it."""
        values = asdict(self)
        values["devices"], values["ages_s"] = list(self.devices), list(self.ages_s)
        return {"npp_agent": __version__, "numpy": np.__version__, **values}


@dataclass(frozen=True)
class Lot:
    """How many chips of each group, and which."""

    groups: int
    chips: int
    first_seed: int

    def tasks(self) -> list[Task]:
        """All chips, in order."""
        seeds = range(self.first_seed, self.first_seed + self.chips)
        return [Task(group, seed) for group in range(self.groups) for seed in seeds]


def task_of(record: Mapping[str, Any]) -> Task:
    """The chip that a result is of."""
    return Task(record["group"], record["seed"])

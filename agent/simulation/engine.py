"""What an engine is: it takes chips to workers and brings back what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agent.simulation.plan import Task
from agent.simulation.workload import Workload


@dataclass(frozen=True)
class Finished:
    """A chip that was simulated."""

    record: dict[str, Any]
    """See `chip_life`."""


@dataclass(frozen=True)
class GivenUp:
    """A chip that killed its worker again and again."""

    task: Task
    reason: str


Outcome = Finished | GivenUp
Tell = Callable[[str], None]
"""Takes a sentence for the user."""

Engine = Callable[[Workload, Sequence[Task], Tell], Iterator[Outcome]]
"""From what all chips share, the chips, and whom to tell of lost workers, to outcomes in any order.

Closing the iterator ends the workers, or lets them go.
"""

MOST_LOSSES = 3
"""A chip whose worker died this often is given up."""

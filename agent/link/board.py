"""What the server wants of the agent that it stands before; it knows nothing else of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Report = Callable[[int, int], None]
"""Takes how many steps of a job are done, and of how many."""

Say = Callable[[str], None]
"""Takes a sentence that a person at the other end may want to read now."""


@dataclass(frozen=True)
class Facts:
    """The board in a few words; told at once, whatever else is going on.

    No name here is one that the smp package gives to every message: version, sequence, header.
    """

    agent: str
    """The version of npp-agent."""

    model: str | None
    """None where nothing is installed."""

    scheme: str | None
    runtime: str | None
    chip: str | None
    factors: int
    """The number of the active ones; 0 for none."""

    state: str
    """Of the last measurement: `unknown`, `healthy`, `watch`, `drifted` or `failed`."""

    score: float | None
    mean_error: float | None
    measured_s: float | None
    """Unix time of it."""

    calibrated_s: float | None
    """Unix time of the last calibration."""

    accepted: bool | None
    """How that ended."""

    temperature_c: float | None
    written_bytes: int
    """Of factors, by all calibrations that the history knows."""

    calibrations: int = 0
    """That the history knows, refused ones too."""

    rollbacks: int = 0


@dataclass(frozen=True)
class LayerRow:
    """A layer as it was measured last."""

    name: str
    error: float
    sqnr_db: float
    rank: int
    baseline: float | None
    """Its error just after the calibration of the active factors."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended: what the command of its name prints on the board."""

    document: Mapping[str, Any]
    exit_code: int = 0
    warnings: tuple[str, ...] = ()
    event: Mapping[str, Any] = field(default_factory=dict)
    """What subscribers are told; empty for nothing."""


@dataclass(frozen=True)
class Readable:
    """A file as it can be read in pieces."""

    size_bytes: int
    read: Callable[[int, int], bytes]
    """Takes offset and length."""


@dataclass(frozen=True)
class Calibrate:
    """What a client asks a calibration for; None is as the board does it by itself."""

    samples: int | None = None
    select: str | None = None
    method: str | None = None
    rank: int | None = None
    budget_bytes: int | None = None
    budget_mac_share: float | None = None
    budget_slowdown: float | None = None
    dry_run: bool = False
    conditions: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Activate:
    """An uploaded bundle that is to be installed."""

    name: str
    data: bytes


class Board(Protocol):
    """An agent with its store. What takes time gets a `report`; errors are those of `agent`."""

    def facts(self) -> Facts:
        """The board in a few words, in a few milliseconds."""
        ...

    def statistics(self) -> Mapping[str, Mapping[str, int]]:
        """Groups of whole numbers: `npp`, and the layers by name."""
        ...

    def layers(self) -> Sequence[LayerRow]:
        """As measured last; empty before the first measurement."""
        ...

    def status(self) -> Mapping[str, Any]:
        """What `status` prints."""
        ...

    def history(self, last: int | None) -> Mapping[str, Any]:
        """What `history` prints."""
        ...

    def settings(self) -> Mapping[str, str]:
        """Name and value of every setting."""
        ...

    def writable_settings(self) -> Sequence[str]:
        """The names of those that may be changed from afar."""
        ...

    def change_setting(self, name: str, value: str) -> None:
        """Change one of them, durably."""
        ...

    def file(self, name: str) -> Readable | None:
        """`bundle.npp`, `factors.bin` or `history.jsonl`; None where it is not there."""
        ...

    def measure(self, conditions: Mapping[str, float | None], report: Report, say: Say) -> Outcome:
        """Do what `measure` does."""
        ...

    def calibrate(self, request: Calibrate, report: Report, say: Say) -> Outcome:
        """Do what `calibrate` does."""
        ...

    def rollback(self, to: int | None) -> Outcome:
        """Do what `rollback` does."""
        ...

    def activate(self, request: Activate, report: Report, say: Say) -> Outcome:
        """Check a bundle, run its canaries and only then put it in the place of the old one."""
        ...

    def reset(self) -> None:
        """Begin anew, as after a restart."""
        ...

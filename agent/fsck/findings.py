"""A finding: one thing about one part of a store, and the repair that there is for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    SOUND = "sound"
    NOTE = "note"
    """Nothing is lost and everything works, but there is something to say."""
    DAMAGED = "damaged"


@dataclass(frozen=True)
class Finding:
    """One thing that was found."""

    part: str
    level: Level
    text: str
    remedy: str | None = None
    """What the repair does; None where there is none."""
    repair: Callable[[], object] | None = field(default=None, repr=False, compare=False)
    """Does it, whole or not at all at a power cut; raises StoreError where the disk refuses."""


def sound(part: str, text: str) -> Finding:
    """A part that is as it should be."""
    return Finding(part, Level.SOUND, text)


def note(
    part: str, text: str, remedy: str | None = None, repair: Callable[[], object] | None = None
) -> Finding:
    """Something worth saying."""
    return Finding(part, Level.NOTE, text, remedy, repair)


def damaged(
    part: str, text: str, remedy: str | None = None, repair: Callable[[], object] | None = None
) -> Finding:
    """Something that is lost or cannot be used."""
    return Finding(part, Level.DAMAGED, text, remedy, repair)


def is_sound(findings: Iterable[Finding]) -> bool:
    """Whether nothing is damaged."""
    return all(finding.level != Level.DAMAGED for finding in findings)

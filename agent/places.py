"""Where the store is when nobody says so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

SYSTEM_STORE = Path("/var/lib/npp-agent")


def default_store(environment: Mapping[str, str] = os.environ, system: Path = SYSTEM_STORE) -> Path:
    """`$NPP_STORE`, else the system's store if it can be written, else the user's data directory.

    The user's is `$XDG_DATA_HOME/npp-agent`, or `~/.local/share/npp-agent` (XDG Base Directory
    Specification 0.8).
    """
    if named := environment.get("NPP_STORE"):
        return Path(named)
    if can_write(system):
        return system
    data = environment.get("XDG_DATA_HOME", "")
    # The specification: a relative path there is invalid and to be ignored.
    base = Path(data) if Path(data).is_absolute() else _home(environment) / ".local" / "share"
    return base / "npp-agent"


def can_write(directory: Path) -> bool:
    """Whether files can be made in a directory, or the directory itself can be made."""
    place = directory
    while not place.exists() and place != place.parent:
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment["HOME"]) if environment.get("HOME") else Path.home()

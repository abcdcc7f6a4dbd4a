"""The places that the agent uses on a machine: the store's directory and the serial ports."""

from __future__ import annotations

import grp
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.places import can_write

Access = Callable[[Path, int], bool]
"""As `os.access`: whether this user may use a path in a mode."""

_PORTS = ("serial0", "ttyAMA*", "ttyS*", "ttyUSB*", "ttyACM*")


@dataclass(frozen=True)
class StorePlace:
    """The directory of a store, whether or not there is one yet."""

    path: str
    exists: bool
    writable: bool
    """Whether files can be made in it, or it can be made."""
    free_bytes: int | None
    mode: str | None
    """As `ls -l` shows it; None where the directory does not exist."""
    problem: str | None


@dataclass(frozen=True)
class SerialPort:
    """A serial port that exists, and whether this user may use it."""

    path: str
    usable: bool
    problem: str | None


def examine_store(directory: Path) -> StorePlace:
    """Look at a store's directory without changing anything."""
    exists = directory.is_dir()
    writable = can_write(directory)
    base = next(place for place in (directory, *directory.absolute().parents) if place.exists())
    mode = directory.stat().st_mode if exists else None
    return StorePlace(
        path=str(directory),
        exists=exists,
        writable=writable,
        free_bytes=shutil.disk_usage(base).free,
        mode=None if mode is None else stat.filemode(mode),
        problem=_store_problem(directory, writable=writable, mode=mode),
    )


def _store_problem(directory: Path, *, writable: bool, mode: int | None) -> str | None:
    if directory.exists() and mode is None:
        return f"{directory} is a file; name a directory with --store or NPP_STORE"
    if not writable:
        return (
            f"{directory} cannot be written by this user; change its owner, or name another "
            "with --store or NPP_STORE"
        )
    if mode is not None and mode & stat.S_IWOTH:
        return f"every user can write {directory}; run: chmod o-w {directory}"
    return None


def examine_ports(root: Path = Path("/"), access: Access = os.access) -> tuple[SerialPort, ...]:
    """The serial ports that exist; `root` is where `dev` and `sys` lie."""
    found = (path for pattern in _PORTS for path in sorted((root / "dev").glob(pattern)))
    return tuple(_port(path, access) for path in found if _has_hardware(path, root))


def _has_hardware(path: Path, root: Path) -> bool:
    """Whether a port is more than a name: Linux lists ttyS0 to 31, and type 0 is an empty place.

    Linux, include/uapi/linux/serial_core.h: PORT_UNKNOWN is 0.
    """
    kind = root / "sys" / "class" / "tty" / path.name / "type"
    try:
        return kind.read_text(encoding="ascii").strip() != "0"
    except OSError:
        return True


def _port(path: Path, access: Access) -> SerialPort:
    if access(path, os.R_OK | os.W_OK):
        return SerialPort(str(path), usable=True, problem=None)
    try:
        group = grp.getgrgid(path.stat().st_gid).gr_name
    except (OSError, KeyError):
        group = "dialout"
    advice = f"this user may not open it; run: sudo usermod -aG {group} $USER, and log in again"
    return SerialPort(str(path), usable=False, problem=advice)

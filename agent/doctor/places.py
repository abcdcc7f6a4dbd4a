"""The places that the agent uses on a machine: the store's directory and the serial ports."""

from __future__ import annotations

import grp
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.errors import StoreError
from agent.places import can_write
from agent.store.backings import is_image
from agent.store.disk import SYSTEM_DISK
from agent.store.image import open_image

Access = Callable[[Path, int], bool]
"""As `os.access`: whether this user may use a path in a mode."""

_PORTS = ("serial0", "ttyAMA*", "ttyS*", "ttyUSB*", "ttyACM*")


@dataclass(frozen=True)
class StorePlace:
    """The directory or image of a store, whether or not there is one yet."""

    path: str
    exists: bool
    writable: bool
    """Whether an image, or files in a directory, can be written, or it can be made."""
    free_bytes: int | None
    mode: str | None
    """As `ls -l` shows it; None where there is no such directory or image."""
    problem: str | None


@dataclass(frozen=True)
class SerialPort:
    """A serial port that exists, and whether this user may use it."""

    path: str
    usable: bool
    problem: str | None


def examine_store(store: Path) -> StorePlace:
    """Look at a store's directory or image without changing anything."""
    image = is_image(store)
    exists = store.is_dir() or (image and _not_formatted(store) is None)
    writable = os.access(store, os.W_OK) if exists and image else can_write(store)
    base = next(place for place in (store, *store.absolute().parents) if place.exists())
    mode = store.stat().st_mode if exists else None
    return StorePlace(
        path=str(store),
        exists=exists,
        writable=writable,
        free_bytes=shutil.disk_usage(base).free,
        mode=None if mode is None else stat.filemode(mode),
        problem=_store_problem(store, writable=writable, mode=mode),
    )


def _store_problem(store: Path, *, writable: bool, mode: int | None) -> str | None:
    if store.exists() and mode is None:
        return _not_formatted(store) if is_image(store) else f"{store} is no directory"
    if not writable:
        return (
            f"{store} cannot be written by this user; change its owner, or name another "
            "with --store or NPP_STORE"
        )
    if mode is not None and mode & stat.S_IWOTH:
        return f"every user can write {store}, so it is refused; run: chmod o-w {store}"
    return None


def _not_formatted(image: Path) -> str | None:
    """Why a file or device is no store; None where it is one."""
    try:
        open_image(image, SYSTEM_DISK)
    except StoreError as error:
        return str(error)
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

"""The machine and the Python that the agent runs on."""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """What a report about a problem should begin with."""

    python: str
    executable: str
    in_virtual_environment: bool
    system: str
    architecture: str
    bits: int
    """Of a pointer: 32 or 64."""
    board: str | None
    """What the device tree calls the board; None where there is no device tree."""
    processor: str | None
    cores: int
    """Those that this process may use."""
    memory_bytes: int | None
    memory_available_bytes: int | None


def examine(root: Path = Path("/")) -> Machine:
    """Look at the machine; `root` is where `proc` lies."""
    memory = _fields(root / "proc" / "meminfo")
    processor = _fields(root / "proc" / "cpuinfo")
    return Machine(
        python=platform.python_version(),
        executable=sys.executable,
        in_virtual_environment=sys.prefix != sys.base_prefix,
        system=f"{platform.system()} {platform.release()}",
        architecture=platform.machine(),
        bits=64 if sys.maxsize > 2**32 else 32,
        board=_read(root / "proc" / "device-tree" / "model").strip("\0 \n") or None,
        processor=processor.get("model name") or processor.get("Model"),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _all_cores(),
        memory_bytes=_kilobytes(memory.get("MemTotal")),
        memory_available_bytes=_kilobytes(memory.get("MemAvailable")),
    )


def _all_cores() -> int:
    return os.cpu_count() or 1


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _fields(path: Path) -> dict[str, str]:
    """The first value of each `name: value` line."""
    found: dict[str, str] = {}
    for line in _read(path).splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def _kilobytes(value: str | None) -> int | None:
    """Bytes of a field like `16384 kB`, which means KiB (proc(5))."""
    match = re.fullmatch(r"(\d+) kB", value or "")
    return int(match.group(1)) * 1024 if match else None

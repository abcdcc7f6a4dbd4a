"""What benchmarks share: the machine they ran on, Markdown tables, and the memory they took."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path


def machine(seeds: str) -> str:
    """A sentence that says where and with what a report was made."""
    name = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        names = [
            line for line in cpu_info.read_text().splitlines() if line.startswith("model name")
        ]
        name = names[0].split(":")[1].strip() if names else name
    return (
        f"Measured on {name}, {os.cpu_count()} cores shared with other work, one thread; Python "
        f"{platform.python_version()}, NumPy {version('numpy')}; {seeds}."
    )


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def peak_megabytes() -> float:
    """Largest resident memory of this process so far; `ru_maxrss` would count its parent's, too."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

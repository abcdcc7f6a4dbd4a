"""What benchmark reports share: the machine they ran on, and Markdown tables."""

from __future__ import annotations

import os
import platform
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

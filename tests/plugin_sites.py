"""Folders that look like installed packages with entry points, for processes that find them."""

from __future__ import annotations

import os
from pathlib import Path

from tests.agent_stores import ROOT, Said, npp_process


def installed(site: Path, package: str, module: str, entries: dict[str, str]) -> Path:
    """Put a package of one module into a folder as an installer would.

    Args:
        site: the folder, made if needed.
        package: its name, also the module's.
        module: the module's text.
        entries: entry points by name.
    """
    info = site / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{package}.py").write_text(module, encoding="utf-8")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (info / "entry_points.txt").write_text("[npp_agent.devices]\n" + "\n".join(lines) + "\n")
    return site


def npp_with(site: Path, *arguments: object, **environment: str) -> Said:
    """Run a command in a process that has these packages."""
    path = os.pathsep.join([str(site), str(ROOT)])
    return npp_process(*arguments, PYTHONPATH=path, **environment)
